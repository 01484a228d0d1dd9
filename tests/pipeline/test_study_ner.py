"""Study A: its sequences of word pieces, its labels, its mistake."""

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example

from gmb_ner.pipeline.losses import log_softmax
from gmb_ner.pipeline.study_ner import CONTINUED, END, START, read_pieces, score_pieces

TEXT = "ada lin visited oslo xy ."
TAGS = ["B-per", "I-per", "O", "B-geo", "O", "O"]


def make(tiny_bert, window=12, **settings):
    model = {
        "@architectures": "gmb_ner.StudyTagger.v1",
        "width": 32,
        "encoder": {
            "@architectures": "gmb_ner.TransformerModel.v1",
            **{"name": str(tiny_bert), "window": window, "context": 0},
        },
    }
    nlp = spacy.blank("en")
    nlp.add_pipe("study_ner", name="ner", config={"model": model, **settings})
    optimizer = nlp.initialize(lambda: examples(nlp))
    return nlp, optimizer


def examples(nlp):
    words = TEXT.split()
    reference = Doc(nlp.vocab, words=words, ents=TAGS)
    return [Example(Doc(nlp.vocab, words=words), reference)]


def test_pieces_and_their_labels(tiny_bert):
    nlp, _ = make(tiny_bert)
    ner = nlp.get_pipe("ner")
    (example,) = examples(nlp)
    features, kinds, first = read_pieces(ner.model, [example.predicted])
    # [CLS] ada lin visited oslo x ##y . [SEP], and padding up to the window
    assert features.shape == (1, 12, 32)
    assert kinds.tolist() == [[START, -1, -1, -1, -1, -1, CONTINUED, -1, END, -2, -2, -2]]
    assert first.tolist() == [1, 2, 3, 4, 5, 7]
    assert not features[0, 9:].any() and features[0, :9].any(axis=1).all()
    tags = {tag: i for i, tag in enumerate(ner.tags)}
    named = [tags[tag] for tag in TAGS]
    pieces = [len(tags) + START, *named[:5], len(tags) + CONTINUED, named[5], len(tags) + END]
    assert ner._targets([example], kinds, first).tolist() == [*pieces, 0, 0, 0]
    ner.padding_in_loss = False
    assert ner._targets([example], kinds, first).tolist() == [*pieces, -1, -1, -1]
    scores, _ = score_pieces(ner.model, features, is_train=False)
    assert scores.shape == (1, 12, len(tags) + 3)


def test_a_longer_doc_is_read_in_several_sequences(tiny_bert):
    nlp, _ = make(tiny_bert, window=6)
    doc = nlp.make_doc("ada visited oslo on monday . the nile rose .")
    features, _, first = read_pieces(nlp.get_pipe("ner").model, [doc])
    windows, places = np.divmod(first, 6)
    assert len(features) == windows[-1] + 1 == 3
    assert len(set(first)) == len(doc) and sorted(first) == first.tolist()
    assert places.min() == 1 and places.max() == 4  # between [CLS] and [SEP]
    assert nlp.get_pipe("ner").tag_scores([doc]).shape == (10, 5)


@pytest.mark.parametrize("padding", [True, False])
def test_it_learns_and_leaves_the_encoder_as_it_was(tiny_bert, tmp_path, padding):
    nlp, optimizer = make(tiny_bert, padding_in_loss=padding)
    encoder = nlp.get_pipe("ner").model.layers[0].transformer
    before = {name: values.clone() for name, values in encoder.state_dict().items()}
    optimizer.learn_rate = 0.05
    for _ in range(60):
        losses = nlp.update(examples(nlp), sgd=optimizer)
    assert losses["ner"] < 0.3
    assert all(bool((before[name] == now).all()) for name, now in encoder.state_dict().items())
    assert nlp.evaluate(examples(nlp))["ents_f"] == 1
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert loaded.get_pipe("ner").padding_in_loss is padding
    ours, kept = (
        pipeline.get_pipe("ner").tag_scores([pipeline.make_doc(TEXT)]) for pipeline in (nlp, loaded)
    )
    np.testing.assert_array_equal(ours, kept)


def test_its_mistake_is_a_mean_over_pieces_and_padding(tiny_bert):
    nlp, _ = make(tiny_bert)
    ner = nlp.get_pipe("ner")
    (example,) = examples(nlp)
    features, kinds, first = read_pieces(ner.model, [example.predicted])
    scores, _ = score_pieces(ner.model, features, is_train=False)
    targets = ner._targets([example], kinds, first)
    losses = -log_softmax(scores[0])[np.arange(12), targets]
    assert ner.update([example])["ner"] == pytest.approx(losses.mean(), rel=1e-5)
    ner.padding_in_loss = False
    assert ner.update([example])["ner"] == pytest.approx(losses[:9].mean(), rel=1e-5)


def test_nothing_to_learn_from(tiny_bert):
    nlp, optimizer = make(tiny_bert)
    empty = Doc(nlp.vocab)
    assert nlp.get_pipe("ner").update([Example(empty, empty.copy())], sgd=optimizer) == {"ner": 0.0}
    assert nlp.get_pipe("ner").update([]) == {"ner": 0.0}
