"""The recognizer in a pipeline: training, prediction, confidences, storage and settings."""

from importlib.metadata import entry_points
from types import SimpleNamespace

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.pipeline.functions import merge_entities
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.util import load_model_from_config, raise_error
from thinc.api import Config, fix_random_seed

from gmb_ner.pipeline.linear_ner import LinearNER
from gmb_ner.pipeline.scorer import CONFIDENCES, copy_entities

CNN = """
[model]
@architectures = "gmb_ner.LinearTagger.v1"
dropout = 0.0

[model.tok2vec]
@architectures = "spacy.HashEmbedCNN.v2"
width = 16
depth = 1
embed_size = 100
window_size = 1
maxout_pieces = 2
subword_features = true
pretrained_vectors = null
"""

LEXICAL = """
[model]
@architectures = "gmb_ner.LexicalTagger.v1"
min_count = 1
dropout = 0.0
learn_rate = 0.1
"""

EXPERTS = """
[model]
@architectures = "gmb_ner.ExpertTaggers.v1"

[model.*.contextual]
@architectures = "gmb_ner.LinearTagger.v1"
dropout = 0.0

[model.*.contextual.tok2vec]
@architectures = "spacy.HashEmbedCNN.v2"
width = 16
depth = 1
embed_size = 100
window_size = 1
maxout_pieces = 2
subword_features = true
pretrained_vectors = null

[model.*.alphabetical]
@architectures = "gmb_ner.LexicalTagger.v1"
min_count = 1
dropout = 0.2
learn_rate = 0.1
"""

MODELS = {"cnn": CNN, "lexical": LEXICAL, "experts": EXPERTS}

# Words, and their entities by first and last token.
SENTENCES = [
    ("Ada Lin saw Oslo .", [(0, 2, "per"), (3, 4, "geo")]),
    ("In New York it rained on Monday", [(1, 3, "geo"), (6, 7, "tim")]),
    ("Nobody came", []),
    ("Lin met Ada", [(0, 1, "per"), (2, 3, "per")]),
    ("From Oslo to New York", [(1, 2, "geo"), (3, 5, "geo")]),
]
LABELS = ("geo", "per", "tim")
TAGS = ["O", "B-geo", "I-geo", "B-per", "I-per", "B-tim", "I-tim"]


def blank(model="lexical", name="ner", **settings):
    nlp = spacy.blank("en")
    config = {"model": Config().from_str(MODELS[model])["model"], **settings}
    nlp.add_pipe("linear_ner", name=name, config=config)
    return nlp


def example(nlp, text, ents):
    words = text.split()
    reference = Doc(nlp.vocab, words=words)
    reference.ents = [Span(reference, start, end, label=label) for start, end, label in ents]
    return Example(Doc(nlp.vocab, words=words), reference)


def examples(nlp, sentences=SENTENCES):
    return [example(nlp, *sentence) for sentence in sentences]


def trained(nlp, steps=30, sentences=SENTENCES):
    fix_random_seed(0)
    data = examples(nlp, sentences)
    optimizer = nlp.initialize(lambda: data)
    optimizer.learn_rate = 0.02
    for _ in range(steps):
        nlp.update(data, sgd=optimizer, drop=0.0)
    return nlp


def fresh(nlp, *texts):
    return [Doc(nlp.vocab, words=text.split()) for text in texts]


def entities(doc):
    return [(ent.start, ent.end, ent.label_) for ent in doc.ents]


def predictions(nlp):
    """Entities and confidences of the training sentences."""
    docs = nlp.pipe(fresh(nlp, *(text for text, _ in SENTENCES)))
    return [(entities(doc), [ent._.confidence for ent in doc.ents]) for doc in docs]


def gold():
    return [ents for _, ents in SENTENCES]


def weights(nlp, name="ner"):
    return nlp.get_pipe(name).model.to_bytes()


@pytest.fixture(scope="module")
def lexical():
    return trained(blank())


@pytest.fixture(scope="module", params=MODELS)
def pipeline(request):
    """A pipeline that knows its training data, of each kind of model."""
    return trained(blank(request.param))


@pytest.fixture(scope="module")
def scored():
    """A model whose tag scores are set below: `scored(nlp, log odds a word)`."""

    def fix(rows, **settings):
        nlp = blank(**settings)
        nlp.initialize(lambda: examples(nlp))
        nlp.get_pipe("ner").tag_scores = lambda docs: np.tile(rows, (len(docs), 1)).astype("f4")
        return nlp

    return fix


# Training


@pytest.mark.parametrize("loss", ["cross_entropy", "crf"])
@pytest.mark.parametrize("model", MODELS)
def test_sentences_are_learned(model, loss):
    nlp = trained(blank(model, loss=loss))
    assert [ents for ents, _ in predictions(nlp)] == gold()
    assert nlp.evaluate(examples(nlp))["ents_f"] == 1


def test_the_loss_falls_and_is_in_nats_a_known_token(lexical):
    nlp = blank()
    data = examples(nlp)
    nlp.initialize(lambda: data)
    losses = nlp.update(data, losses={})
    assert losses == {"ner": pytest.approx(np.log(len(TAGS)))}
    after = lexical.update(examples(lexical), losses={}, sgd=None)
    assert 0 < after["ner"] < 0.1


def test_the_losses_of_experts_add_up():
    nlp = blank("experts")
    data = examples(nlp)
    nlp.initialize(lambda: data)
    assert nlp.update(data)["ner"] == pytest.approx(2 * np.log(len(TAGS)))


@pytest.mark.parametrize("loss", ["cross_entropy", "crf"])
def test_each_expert_learns_from_its_own_loss(loss):
    nlp = blank("experts", loss=loss)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    ner, rng = nlp.get_pipe("ner"), np.random.default_rng(0)
    scores = [rng.normal(size=(len(eg.predicted), 14)).astype("f4") for eg in data]
    changed = [part + np.repeat([0, 1], 7) * rng.normal(size=part.shape) for part in scores]
    first, second = (ner.get_loss(data, parts)[1] for parts in (scores, changed))
    for before, after in zip(first, second, strict=True):
        np.testing.assert_allclose(before[:, :7], after[:, :7], atol=1e-7)
        assert not np.allclose(before[:, 7:], after[:, 7:], atol=1e-3)
    alone = [np.ascontiguousarray(part[:, :7]) for part in scores]
    for part, whole in zip(ner.get_loss(data, alone)[1], first, strict=True):
        np.testing.assert_allclose(part, whole[:, :7], atol=1e-7)


def test_a_loss_for_each_expert():
    pairs = {loss: blank("experts", loss=loss) for loss in ("cross_entropy", "crf")}
    pairs["both"] = blank("experts", loss=["cross_entropy", "crf"])
    data = examples(pairs["both"])
    for nlp in pairs.values():
        nlp.initialize(lambda: data)
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=(len(eg.predicted), 2 * len(TAGS))).astype("f") for eg in data]
    gradients = {}
    for name, nlp in pairs.items():
        _, gradients[name] = nlp.get_pipe("ner").get_loss(data, scores)
    for both, first, second in zip(
        gradients["both"], gradients["cross_entropy"], gradients["crf"], strict=True
    ):
        np.testing.assert_array_equal(both[:, : len(TAGS)], first[:, : len(TAGS)])
        np.testing.assert_array_equal(both[:, len(TAGS) :], second[:, len(TAGS) :])


def test_as_many_losses_as_experts():
    nlp = blank("experts", loss=["crf", "crf", "crf"])
    nlp.initialize(lambda: examples(nlp))
    with pytest.raises(ValueError, match="ner has 2 experts and 3 losses: give one loss for all"):
        nlp.update(examples(nlp))


@pytest.mark.parametrize("loss", ["cross_entropy", "crf"])
def test_docs_without_annotation_weigh_nothing(loss):
    nlp = blank(loss=loss)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    unknown = Example(*fresh(nlp, "Ada is in Oslo", "Ada is in Oslo"))
    ner, rng = nlp.get_pipe("ner"), np.random.default_rng(0)
    scores = [rng.normal(size=(len(eg.predicted), 7)).astype("f4") for eg in [*data, unknown]]
    loss, gradient = ner.get_loss([*data, unknown], scores)
    expected, own = ner.get_loss(data, scores[:-1])
    assert loss == pytest.approx(expected)
    assert not gradient[-1].any()
    for mixed, alone in zip(gradient[:-1], own, strict=True):
        np.testing.assert_allclose(mixed, alone, atol=1e-7)


def test_tokens_without_annotation_weigh_nothing():
    """With loss crf their neighbours tell something of them; see test_losses."""
    nlp = blank()
    nlp.initialize(lambda: examples(nlp))
    eg = example(nlp, "Ada Lin saw Oslo .", [(0, 2, "per")])
    eg.reference.set_ents(eg.reference.ents, missing=[eg.reference[2:4]], default="outside")
    scores = np.random.default_rng(0).normal(size=(5, 7)).astype("f4")
    _, (gradient,) = nlp.get_pipe("ner").get_loss([eg], [scores])
    assert gradient.any(axis=1).tolist() == [True, True, False, False, True]


def test_misaligned_tokens_weigh_nothing():
    nlp = blank()
    nlp.initialize(lambda: examples(nlp))
    reference = Doc(nlp.vocab, words=["In", "Oslo", "-based", "firms"], spaces=[1, 0, 1, 1])
    reference.ents = [Span(reference, 1, 2, label="geo")]
    eg = Example(Doc(nlp.vocab, words=["In", "Oslo-based", "firms"]), reference)
    scores = np.random.default_rng(0).normal(size=(3, 7)).astype("f4")
    _, (gradient,) = nlp.get_pipe("ner").get_loss([eg], [scores])
    assert gradient.any(axis=1).tolist() == [True, False, True]


@pytest.mark.parametrize("loss", ["cross_entropy", "crf"])
@pytest.mark.parametrize("model", MODELS)
def test_an_update_with_nothing_known(model, loss):
    nlp = blank(model, loss=loss)
    data = examples(nlp)
    optimizer = nlp.initialize(lambda: data)
    before = predictions(nlp)
    unknown = [Example(*fresh(nlp, text, text)) for text, _ in SENTENCES]
    assert nlp.update(unknown, sgd=optimizer)["ner"] == 0
    assert predictions(nlp) == before
    empty = [Example(*fresh(nlp, "", ""))]
    assert nlp.update(empty, sgd=optimizer)["ner"] == 0
    nlp.update([*empty, *data], sgd=optimizer)


def test_no_examples(lexical):
    assert lexical.get_pipe("ner").get_loss([], []) == (0.0, [])


def test_class_weights_decide_where_two_labels_compete():
    """The same word, once of each label: the weightier one wins."""
    sentences = [("we saw Washington", [(2, 3, label)]) for label in ("geo", "per")]
    for heavy in ("geo", "per"):
        nlp = trained(blank(class_weights={heavy: 3.0}), 150, sentences=sentences)
        (doc,) = nlp.pipe(fresh(nlp, "we saw Washington"))
        assert entities(doc) == [(2, 3, heavy)]
        assert doc.ents[0]._.confidence == pytest.approx(0.75, abs=0.05)


def test_a_label_of_weight_zero_is_not_learned():
    nlp = trained(blank(class_weights={"per": 0.0}))
    found = {label for ents, _ in predictions(nlp) for _, _, label in ents}
    assert "per" not in found and "geo" in found


def test_label_smoothing_keeps_confidences_down():
    plain, smooth = (trained(blank(label_smoothing=share), 100) for share in (0.0, 0.3))
    assert [ents for ents, _ in predictions(smooth)] == gold()
    (certain, *_), (careful, *_) = (predictions(nlp)[3][1] for nlp in (plain, smooth))
    # Of 7 tags, each gets 0.3 / 7, and the right one 0.7 beside.
    assert certain > 0.95 > careful > 0.6


def test_rehearsal_is_refused(lexical):
    with pytest.raises(NotImplementedError, match="ner cannot rehearse: mix examples"):
        lexical.get_pipe("ner").rehearse(examples(lexical))


def test_a_frozen_component_is_left_alone(pipeline):
    other = pipeline.add_pipe("linear_ner", name="other", config={"model": lexical_config()})
    try:
        data = examples(pipeline)
        other.initialize(lambda: data)
        before = weights(pipeline), weights(pipeline, "other")
        pipeline.update(data, sgd=pipeline.create_optimizer(), exclude=["ner"])
        assert weights(pipeline) == before[0] and weights(pipeline, "other") != before[1]
        with pipeline.select_pipes(disable=["ner"]):
            pipeline.update(data, sgd=pipeline.create_optimizer())
        assert weights(pipeline) == before[0]
    finally:
        pipeline.remove_pipe("other")


def lexical_config():
    return Config().from_str(LEXICAL)["model"]


# Labels and initialization


def test_labels_come_from_the_data():
    nlp = blank()
    nlp.initialize(lambda: examples(nlp))
    ner = nlp.get_pipe("ner")
    assert ner.labels == LABELS and ner.label_data == list(LABELS) and ner.tags == TAGS
    assert nlp.pipe_labels == {"ner": list(LABELS)}


def test_labels_may_be_given():
    nlp = blank()
    nlp.config["initialize"]["components"]["ner"] = {"labels": ["per", "org"]}
    nlp.initialize(lambda: examples(nlp))
    ner = nlp.get_pipe("ner")
    assert ner.labels == ("per", "org")
    assert ner.model.predict(fresh(nlp, "a b"))[0].shape == (2, 5)
    nlp.update(examples(nlp), sgd=nlp.create_optimizer())  # labels that it does not know


def test_labels_may_be_added_before_initialize_only():
    nlp = blank()
    ner = nlp.get_pipe("ner")
    assert [ner.add_label("org"), ner.add_label("org")] == [1, 0]
    nlp.initialize(lambda: examples(nlp))
    assert ner.labels == ("org", *LABELS)
    assert ner.add_label("geo") == 0
    with pytest.raises(ValueError, match="ner knows org, geo, per, tim and cannot learn 'art'"):
        ner.add_label("art")
    with pytest.raises(ValueError, match="E187"):
        ner.add_label(7)


@pytest.mark.parametrize("ents", [None, ["O", "O"]])
def test_no_label_at_all(ents):
    nlp = blank()
    words = ["Nobody", "came"]
    eg = Example(Doc(nlp.vocab, words=words), Doc(nlp.vocab, words=words, ents=ents))
    with pytest.raises(ValueError, match="E143"):
        nlp.initialize(lambda: [eg])


def test_prediction_before_initialize():
    nlp = blank()
    ner = nlp.get_pipe("ner")
    ner.add_label("geo")
    with pytest.raises(ValueError, match="E109"):
        nlp("Oslo")
    with pytest.raises(ValueError, match="E109"):
        ner.calibrate(examples(nlp))


def test_initialize_again_starts_anew():
    nlp = trained(blank())
    nlp.get_pipe("ner").cfg["temperature"] = 2.0
    nlp.initialize(lambda: examples(nlp))
    assert [ents for ents, _ in predictions(nlp)] == [[]] * len(SENTENCES)
    assert nlp.get_pipe("ner").temperature == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "hinge"}, "loss is 'hinge': choose one of cross_entropy, crf"),
        ({"label_smoothing": 1.0}, r"label_smoothing is a share in \[0, 1\), not 1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"threshold": 1.5}, r"threshold is a confidence in \[0, 1\], not 1.5"),
        ({"threshold": float("nan")}, "threshold"),
        ({"class_weights": {"geo": -1.0}}, "class_weights are 0 or more; that of geo is -1.0"),
        ({"class_weights": {"geo": float("nan")}}, "class_weights"),
        ({"loss": "crf", "label_smoothing": 0.1}, "belong to loss cross_entropy"),
        ({"loss": "crf", "class_weights": {"geo": 2.0}}, "belong to loss cross_entropy"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        blank(**settings)


@pytest.mark.parametrize("threshold", [5, -1, "0.5", float("nan"), None])
def test_a_threshold_that_makes_no_sense_is_refused_when_it_is_set(threshold):
    component = blank().get_pipe("ner")
    with pytest.raises(ValueError, match=r"threshold is a confidence in \[0, 1\], not "):
        component.threshold = threshold
    component.threshold = 1
    assert component.threshold == 1


# Prediction


def test_docs_of_all_lengths(pipeline):
    texts = ["", "Oslo", "", "Ada Lin saw Oslo .", "x " * 300]
    docs = list(pipeline.pipe(fresh(pipeline, *texts)))
    assert [len(doc) for doc in docs] == [0, 1, 0, 5, 300]
    assert entities(docs[0]) == [] and entities(docs[3]) == gold()[0]
    for text, doc in zip(texts, docs, strict=True):
        (alone,) = pipeline.pipe(fresh(pipeline, text))
        assert entities(alone) == entities(doc)
        scores = doc.spans[CONFIDENCES].attrs["scores"]
        np.testing.assert_allclose(scores, alone.spans[CONFIDENCES].attrs["scores"], atol=1e-5)


@pytest.mark.parametrize("texts", [[], [""], ["", "", ""]])
def test_nothing_to_predict(pipeline, texts):
    docs = fresh(pipeline, *texts)
    ner = pipeline.get_pipe("ner")
    assert ner.predict(docs) == [[] for _ in texts]
    ner.set_annotations(docs, ner.predict(docs))
    assert [entities(doc) for doc in docs] == [[] for _ in texts]
    assert all(len(doc.spans[CONFIDENCES]) == 0 for doc in docs)


def test_ten_thousand_words(lexical):
    (doc,) = lexical.pipe(fresh(lexical, "Ada Lin saw Oslo . " * 2000))
    assert entities(doc)[-2:] == [(9995, 9997, "per"), (9998, 9999, "geo")]
    assert len(doc.ents) == 4000 and doc.ents[-1]._.confidence > 0.5


def test_every_token_is_annotated(lexical):
    (doc,) = lexical.pipe(fresh(lexical, "Ada Lin saw Oslo ."))
    assert [token.ent_iob_ for token in doc] == ["B", "I", "O", "B", "O"]
    assert doc.has_annotation("ENT_IOB")


def test_prediction_changes_no_doc(lexical):
    docs = fresh(lexical, "Ada Lin saw Oslo .")
    ((first, *_),) = lexical.get_pipe("ner").predict(docs)
    assert first[0].text == "Ada Lin" and 0 <= first[1] <= 1
    assert not docs[0].has_annotation("ENT_IOB") and CONFIDENCES not in docs[0].spans


def test_confidences_are_posteriors(scored):
    """One word, geo at odds of 3 to 1; I tags cannot start."""
    rows = np.log([[1, 3, 99, 1e-9, 99, 1e-9, 99]])
    nlp = scored(rows)
    (doc,) = nlp.pipe(fresh(nlp, "Oslo"))
    assert entities(doc) == [(0, 1, "geo")]
    assert doc.ents[0]._.confidence == pytest.approx(0.75)


def test_a_temperature_flattens_them(scored):
    nlp = scored(np.log([[1, 9, 99, 1e-30, 99, 1e-30, 99]]))
    nlp.get_pipe("ner").cfg["temperature"] = 2.0
    (doc,) = nlp.pipe(fresh(nlp, "Oslo"))
    assert doc.ents[0]._.confidence == pytest.approx(0.75)


@pytest.mark.parametrize(("threshold", "found"), [(0.0, 1), (0.74, 1), (0.76, 0), (1.0, 0)])
def test_a_threshold(scored, threshold, found):
    rows = np.log([[1, 3, 99, 1e-9, 99, 1e-9, 99]])
    later = scored(rows)
    later.get_pipe("ner").threshold = threshold
    for nlp in (scored(rows, threshold=threshold), later):
        (doc,) = nlp.pipe(fresh(nlp, "Oslo"))
        assert len(doc.ents) == found == len(doc.spans[CONFIDENCES].attrs["scores"])
        assert doc[0].ent_iob_ == ("B" if found else "O")


def test_a_bias_chooses_labels_more_readily_and_leaves_confidences_alone(scored):
    tiny = 1e-30
    rows = np.log([[6, 3, tiny, 1, tiny, tiny, tiny]])
    for bias, found in (
        ({}, []),
        ({"geo": np.log(1.9)}, []),
        ({"geo": np.log(2.1)}, [("geo", 0.3)]),
        ({"geo": np.log(2.1), "per": np.log(6.4)}, [("per", 0.1)]),
    ):
        nlp = scored(rows, label_bias={label: float(value) for label, value in bias.items()})
        (doc,) = nlp.pipe(fresh(nlp, "Oslo"))
        assert [(ent.label_, ent._.confidence) for ent in doc.ents] == [
            (label, pytest.approx(confidence)) for label, confidence in found
        ]


def test_a_bias_is_in_nats_after_the_temperature(scored):
    rows = np.log([[16, 4, 1e-30, 1e-30, 1e-30, 1e-30, 1e-30]])
    nlp = scored(rows, label_bias={"geo": float(np.log(3))})
    (before,) = nlp.pipe(fresh(nlp, "Oslo"))
    # At 2 the odds of four to one become two to one.
    nlp.get_pipe("ner").cfg["temperature"] = 2.0
    (after,) = nlp.pipe(fresh(nlp, "Oslo"))
    assert (len(before.ents), len(after.ents)) == (0, 1)
    assert after.ents[0]._.confidence == pytest.approx(1 / 3)


def test_a_bias_counts_on_every_word_of_an_entity(scored):
    tiny = 1e-30
    rows = np.log([[1, 1.5, tiny, 1.5, tiny, tiny, tiny], [1, tiny, 0.8, tiny, 0.9, tiny, tiny]])
    # On the second word 0.8 falls behind O, which has 1, and 1.3 * 0.8 does not.
    for bias, found in ((1.2, [(0, 1, "geo")]), (1.3, [(0, 2, "geo")])):
        nlp = scored(rows, label_bias={"geo": float(np.log(bias))})
        (doc,) = nlp.pipe(fresh(nlp, "Port Louis"))
        assert entities(doc) == found


def test_confidences_stand_in_a_span_group(pipeline):
    for doc in pipeline.pipe(fresh(pipeline, *(text for text, _ in SENTENCES))):
        group = doc.spans[CONFIDENCES]
        assert group.name == CONFIDENCES == "ner"
        assert list(group) == list(doc.ents)
        scores = group.attrs["scores"]
        assert scores.dtype == np.float64 and scores.shape == (len(doc.ents),)
        assert ((scores > 0) & (scores <= 1)).all()
        assert [ent._.confidence for ent in doc.ents] == scores.tolist()


def test_other_spans_have_no_confidence(lexical):
    (doc,) = lexical.pipe(fresh(lexical, "Ada Lin saw Oslo ."))
    assert doc[0:2]._.confidence is None  # no label
    assert Span(doc, 0, 1, label="per")._.confidence is None
    assert Span(doc, 0, 2, label="geo")._.confidence is None
    assert Span(doc, 0, 2, label="per")._.confidence == doc.ents[0]._.confidence
    (plain,) = fresh(lexical, "Ada Lin")
    assert plain[0:1]._.confidence is None
    plain.spans[CONFIDENCES] = [Span(plain, 0, 1, label="per")]
    assert Span(plain, 0, 1, label="per")._.confidence is None


def test_confidences_survive_the_storage_of_docs(lexical):
    (doc,) = lexical.pipe(fresh(lexical, "Ada Lin saw Oslo ."))
    vocab = spacy.blank("en").vocab
    stored = DocBin(store_user_data=True, docs=[doc]).to_bytes()
    for copy in (
        Doc(vocab).from_bytes(doc.to_bytes()),
        next(DocBin().from_bytes(stored).get_docs(vocab)),
        doc.copy(),
    ):
        assert entities(copy) == entities(doc) == gold()[0]
        assert [e._.confidence for e in copy.ents] == [e._.confidence for e in doc.ents]


def test_earlier_entities_stay_and_have_no_confidence(lexical):
    (doc,) = fresh(lexical, "Ada Lin saw Oslo .")
    doc.ents = [Span(doc, 1, 3, label="art", kb_id="Q1")]
    doc = lexical.get_pipe("ner")(doc)
    assert entities(doc) == [(1, 3, "art"), (3, 4, "geo")]
    assert doc.ents[0].kb_id_ == "Q1" and doc.ents[0]._.confidence is None
    assert doc.ents[1]._.confidence is not None
    assert [span.label_ for span in doc.spans[CONFIDENCES]] == ["geo"]


def test_a_second_call_changes_nothing(lexical):
    (doc,) = lexical.pipe(fresh(lexical, "Ada Lin saw Oslo ."))
    before = [
        (*entity, span._.confidence) for entity, span in zip(entities(doc), doc.ents, strict=True)
    ]
    doc = lexical.get_pipe("ner")(doc)
    after = [
        (*entity, span._.confidence) for entity, span in zip(entities(doc), doc.ents, strict=True)
    ]
    assert after == before and None not in after[0]


@pytest.mark.parametrize("text", ["Ada Lin saw Oslo .", "In Oslo Ada Lin saw Oslo ."])
def test_confidences_stay_where_tokens_are_merged(lexical, text):
    (doc,) = lexical.pipe(fresh(lexical, text))
    before = [(ent.text, ent.label_, ent._.confidence) for ent in doc.ents]
    merge_entities(doc)
    assert [(ent.text, ent.label_, ent._.confidence) for ent in doc.ents] == before
    copy = copy_entities(doc)
    assert [(ent.text, ent.label_, ent._.confidence) for ent in copy.ents] == before
    with doc.retokenize() as retokenizer:  # into which an entity does not fit any more
        retokenizer.merge(doc[-3:])
    copy = copy_entities(doc)
    assert [span.text for span in copy.spans[CONFIDENCES]] == [text for text, _, _ in before[:-1]]


@pytest.mark.parametrize("setting", ["class_weights", "label_bias"])
def test_settings_of_unknown_labels_are_told(setting):
    message = f"{setting} of ner names elf, and its labels are geo, "
    with pytest.warns(UserWarning, match=message):
        trained(blank(**{setting: {"elf": 2.0}}))


def test_blocked_tokens_stay_without_entity(lexical):
    """As spaCy's `ner` leaves them."""
    (doc,) = fresh(lexical, "Ada Lin saw Oslo .")
    doc.set_ents([], blocked=[doc[1:2]])
    doc = lexical.get_pipe("ner")(doc)
    assert entities(doc) == [(3, 4, "geo")]
    assert (doc[1].ent_iob_, doc[1].ent_type_) == ("B", "")
    assert doc[0].ent_iob_ == "O"


def test_several_processes(pipeline):
    docs = fresh(pipeline, *(text for text, _ in SENTENCES * 3))
    found = [
        (entities(doc), [ent._.confidence for ent in doc.ents])
        for doc in pipeline.pipe(docs, n_process=2, batch_size=5)
    ]
    assert found == predictions(pipeline) * 3


# Calibration


def recorded(ner, monkeypatch, on_gpu, failing=()):
    """The steps of `ner.pipe` from now on; those named in `failing` raise."""
    steps = []

    def step(kind, docs):
        steps.append(f"{kind} {docs[0][0]}")
        if steps[-1] in failing:
            raise ValueError(steps[-1])

    def begin(docs):
        step("begin", docs)
        return lambda: step("finish", docs) or [[] for _ in docs]

    monkeypatch.setattr(ner, "begin", begin)
    monkeypatch.setattr(ner.model, "ops", SimpleNamespace(xp=None if on_gpu else np))
    return steps


@pytest.mark.parametrize(
    ("on_gpu", "expected"),
    [
        (False, ["begin a", "finish a", "begin b", "finish b", "begin c", "finish c"]),
        (True, ["begin a", "begin b", "finish a", "begin c", "finish b", "finish c"]),
    ],
)
def test_a_gpu_works_on_a_batch_while_the_next_one_is_prepared(
    lexical, monkeypatch, on_gpu, expected
):
    ner = lexical.get_pipe("ner")
    steps = recorded(ner, monkeypatch, on_gpu)
    docs = fresh(lexical, "a", "a", "b", "b", "c")
    assert list(ner.pipe(docs, batch_size=2)) == docs
    assert steps == expected


def test_docs_one_by_one_wait_for_no_other(lexical, monkeypatch):
    ner = lexical.get_pipe("ner")
    recorded(ner, monkeypatch, on_gpu=True)
    docs = fresh(lexical, "a", "b", "c")
    given = []

    def stream():
        for doc in docs:
            given.append(doc)
            yield doc

    for doc in ner.pipe(stream(), batch_size=1):
        assert given[-1] is doc


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("failing", ["begin b", "finish b"])
def test_a_batch_that_fails_leaves_the_others_in_order(lexical, monkeypatch, on_gpu, failing):
    ner = lexical.get_pipe("ner")
    recorded(ner, monkeypatch, on_gpu, failing={failing})
    docs = fresh(lexical, "a", "a", "b", "b", "b", "b", "c")
    errors = []
    monkeypatch.setattr(ner, "get_error_handler", lambda: lambda *args: errors.append(args))
    assert [doc[0].text for doc in ner.pipe(docs, batch_size=2)] == ["a", "a", "c"]
    assert [(name, [doc[0].text for doc in failed]) for name, _, failed, _ in errors] == [
        ("ner", ["b", "b"]),
        ("ner", ["b", "b"]),
    ]
    monkeypatch.setattr(ner, "get_error_handler", lambda: raise_error)
    with pytest.raises(ValueError, match=failing):
        list(ner.pipe(docs, batch_size=2))


@pytest.mark.parametrize("on_gpu", [False, True])
def test_docs_before_an_error_of_the_stream_are_annotated(lexical, monkeypatch, on_gpu):
    ner = lexical.get_pipe("ner")
    recorded(ner, monkeypatch, on_gpu)
    docs = fresh(lexical, "a", "a", "b", "b")

    def stream():
        yield from docs
        raise OSError("no more")

    got = []
    with pytest.raises(OSError, match="no more"):
        for doc in ner.pipe(stream(), batch_size=2):
            got.append(doc)
    assert got == docs


def test_calibration_sets_the_temperature_and_it_is_saved(lexical, tmp_path):
    nlp = trained(blank(), 100)
    data = examples(nlp)
    for wrong in data[:2]:  # certain of these, and wrong
        wrong.reference.ents = []
    ner = nlp.get_pipe("ner")
    assert ner.temperature == 1
    before = predictions(nlp)
    temperature = ner.calibrate(data, batch_size=2)
    assert 1 < temperature < 10 and ner.temperature == temperature
    after = predictions(nlp)
    assert [ents for ents, _ in after] == [ents for ents, _ in before]
    assert all(max(new) < min(old) for (_, old), (_, new) in zip(before, after, strict=True) if old)
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert loaded.get_pipe("ner").temperature == temperature


@pytest.mark.parametrize("known", [True, False])
def test_calibration_without_examples(known):
    nlp = trained(blank(), 1)
    unknown = [Example(*fresh(nlp, "Oslo", "Oslo")), Example(*fresh(nlp, "", ""))]
    assert nlp.get_pipe("ner").calibrate(unknown if known else []) == 1


# Storage and assembly


def assert_like(first, second):
    for (ents, own), (expected, theirs) in zip(
        predictions(first), predictions(second), strict=True
    ):
        assert ents == expected
        # Lexical weights are saved with 11 bits.
        np.testing.assert_allclose(own, theirs, atol=2e-3)


def test_on_disk(pipeline, tmp_path):
    pipeline.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert loaded.get_pipe("ner").labels == LABELS
    assert_like(loaded, pipeline)
    once = predictions(loaded)
    loaded.to_disk(tmp_path / "again")
    assert predictions(spacy.load(tmp_path / "again")) == once


def test_in_bytes(pipeline):
    loaded = load_model_from_config(pipeline.config).from_bytes(pipeline.to_bytes())
    assert_like(loaded, pipeline)
    ner = pipeline.get_pipe("ner")
    own = load_model_from_config(pipeline.config)
    own.get_pipe("ner").from_bytes(ner.to_bytes())
    assert_like(own, pipeline)


def test_the_component_alone_on_disk(pipeline, tmp_path):
    pipeline.get_pipe("ner").to_disk(tmp_path)
    own = load_model_from_config(pipeline.config)
    own.get_pipe("ner").from_disk(tmp_path)
    assert_like(own, pipeline)


def test_settings_may_be_overridden_when_loading(lexical, tmp_path):
    lexical.to_disk(tmp_path)
    loaded = spacy.load(tmp_path, config={"components": {"ner": {"threshold": 1.0}}})
    assert loaded.get_pipe("ner").threshold == 1
    assert [ents for ents, _ in predictions(loaded)] == [[]] * len(SENTENCES)


def test_a_loaded_pipeline_goes_on_learning(pipeline, tmp_path):
    pipeline.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    optimizer = loaded.resume_training()
    extra = ("Ada Lin saw Bergen .", [(0, 2, "per"), (3, 4, "geo")])
    data = examples(loaded, [*SENTENCES, extra])
    for _ in range(20):
        loaded.update(data, sgd=optimizer)
    assert loaded.evaluate(data)["ents_f"] == 1


def test_the_config_keeps_its_experts():
    """As `spacy init fill-config` and `to_disk` write it, order included."""
    settings = {"class_weights": {"geo": 2.0}, "label_bias": {"tim": 0.5}}
    nlp = blank("experts", threshold=0.25, **settings)
    text = nlp.config.to_str()
    again = load_model_from_config(Config().from_str(text), auto_fill=True)
    assert again.config.to_str() == Config().from_str(text).interpolate().to_str()
    ner = again.get_pipe("ner")
    assert isinstance(ner, LinearNER)
    assert (ner.threshold, ner.class_weights) == (0.25, settings["class_weights"])
    assert ner.label_bias == settings["label_bias"]
    contextual, alphabetical = ner.model.layers
    assert contextual.has_ref("output") and alphabetical.name == "lexical_tagger"


def test_the_default_config():
    nlp = spacy.blank("en")
    nlp.add_pipe("linear_ner")
    assert nlp.pipe_names == ["linear_ner"]
    nlp.initialize(lambda: examples(nlp))
    nlp.update(examples(nlp))
    assert nlp("Ada saw Oslo").has_annotation("ENT_IOB")
    weights = nlp.config["training"]["score_weights"]
    assert weights == {} or weights["ents_f"] == 1


def test_another_pipeline_takes_the_component_over(pipeline):
    other = spacy.blank("en")
    other.add_pipe("ner", source=pipeline)
    assert_like(other, pipeline)
    other.add_pipe("ner", name="second", source=pipeline)
    assert other.get_pipe("second").labels == LABELS
    assert other.config["components"]["ner"]["factory"] == "linear_ner"


def test_it_stands_where_the_stock_component_did():
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("ner")
    nlp.replace_pipe("ner", "linear_ner", config={"model": lexical_config()})
    assert nlp.pipe_names == ["sentencizer", "ner"]
    trained(nlp)
    assert [ents for ents, _ in predictions(nlp)] == gold()


def test_it_listens_to_a_shared_encoder(tmp_path):
    nlp = spacy.blank("en")
    cnn = Config().from_str(CNN)["model"]["tok2vec"]
    nlp.add_pipe("tok2vec", config={"model": cnn})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 16}
    model = {"@architectures": "gmb_ner.LinearTagger.v1", "tok2vec": listener, "dropout": 0.0}
    nlp.add_pipe("linear_ner", name="ner", config={"model": model})
    trained(nlp, 60)
    assert [ents for ents, _ in predictions(nlp)] == gold()
    nlp.to_disk(tmp_path)
    assert_like(spacy.load(tmp_path), nlp)


def test_runs_with_one_seed_are_equal():
    assert weights(trained(blank("experts"), 3)) == weights(trained(blank("experts"), 3))


@pytest.mark.parametrize(
    "group", ["architectures", "factories", "readers", "scorers", "displacy_colors"]
)
def test_every_registered_name_is_there(group):
    names = [
        point
        for point in entry_points(group=f"spacy_{group}")
        if point.value.startswith("gmb_ner.")
    ]
    assert names
    for point in names:
        assert point.load()
        if group == "factories":
            assert Language.has_factory(point.name)
        else:
            assert spacy.registry.get(group, point.name) is point.load()
