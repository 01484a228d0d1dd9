"""Models that score tags: shapes, gradients, and experts beside each other."""

import numpy as np
import pytest
import spacy
from spacy.ml.models import build_hash_embed_cnn_tok2vec
from spacy.tokens import Doc
from thinc.api import Config, Model, set_dropout_rate

from gmb_ner.pipeline.rows import predict_rows
from gmb_ner.pipeline.taggers import create_expert_taggers, create_linear_tagger

VOCAB = spacy.blank("en").vocab
DOCS = [Doc(VOCAB, words=text.split()) for text in ("Ada saw Oslo", "", "so it is .")]


def cnn():
    return build_hash_embed_cnn_tok2vec(
        width=8,
        depth=1,
        embed_size=50,
        window_size=1,
        maxout_pieces=2,
        subword_features=False,
        pretrained_vectors=None,
    )


def initialized(model, tags=3):
    model.initialize(X=DOCS, Y=[np.zeros((len(doc), tags), dtype="f4") for doc in DOCS])
    return model


def fixed(outputs, calls):
    """An expert that always scores the same, and notes the gradients that it gets."""

    def forward(model, docs, is_train):
        def backprop(gradients):
            calls.append(gradients)
            return docs

        return outputs, backprop

    return Model("fixed", forward)


@pytest.mark.parametrize("hidden_width", [0, 5])
def test_scores_of_each_word(hidden_width):
    model = initialized(create_linear_tagger(cnn(), hidden_width))
    scores = model.predict(DOCS)
    assert [part.shape for part in scores] == [(3, 3), (0, 3), (4, 3)]
    # The last layer starts at 0, so that no tag is preferred.
    assert not any(part.any() for part in scores)
    output = model.get_ref("output")
    assert output.get_dim("nO") == 3
    assert ("relu" in output.name) == bool(hidden_width)


def test_the_number_of_tags_may_be_given():
    model = create_linear_tagger(cnn(), nO=4)
    model.initialize(X=DOCS)
    assert model.predict(DOCS)[0].shape == (3, 4)


def test_gradients_reach_the_vectors():
    tok2vec = cnn()
    model = initialized(create_linear_tagger(tok2vec, dropout=0.0))
    model.get_ref("output").layers[-1].set_param("W", np.ones((3, 8), dtype="f4"))
    scores, backprop = model.begin_update(DOCS)
    backprop([np.ones_like(part) for part in scores])
    assert any(
        layer.has_grad(name) and layer.get_grad(name).any()
        for layer in tok2vec.walk()
        for name in layer.param_names
    )


def test_dropout_is_for_training_and_can_be_set():
    model = initialized(create_linear_tagger(cnn(), dropout=0.9))
    model.get_ref("output").layers[-1].set_param("W", np.ones((3, 8), dtype="f4"))
    clean = model.predict(DOCS)[0]
    assert (model.begin_update(DOCS)[0][0] != clean).any()
    set_dropout_rate(model, 0.0)
    np.testing.assert_allclose(model.begin_update(DOCS)[0][0], clean, rtol=1e-5)


def test_experts_scores_stand_side_by_side():
    first = [np.full((len(doc), 2), 1.0, dtype="f4") for doc in DOCS]
    second = [np.full((len(doc), 2), 2.0, dtype="f4") for doc in DOCS]
    model = create_expert_taggers(fixed(first, []), fixed(second, []))
    scores = model.predict(DOCS)
    assert scores[0].tolist() == [[1, 1, 2, 2]] * 3
    assert [part.shape for part in scores] == [(3, 4), (0, 4), (4, 4)]


@pytest.mark.parametrize("transitions", [False, True])
def test_the_words_of_all_docs_in_one_array(transitions):
    linear = initialized(create_linear_tagger(cnn(), transitions=transitions))
    weights = linear.get_ref("output").layers[-1]
    weights.set_param("W", np.random.default_rng(0).normal(size=(3, 8)).astype("f4"))
    other = fixed([np.full((len(doc), 3), 2.0, dtype="f4") for doc in DOCS], [])
    for model in (linear, other, create_expert_taggers(linear, other)):
        rows = predict_rows(model, DOCS)
        np.testing.assert_allclose(rows, np.concatenate(model.predict(DOCS)), rtol=1e-5)


def test_each_expert_gets_the_gradient_of_its_own_scores():
    calls = [], []
    zeros = [np.zeros((len(doc), 2), dtype="f4") for doc in DOCS]
    model = create_expert_taggers(*(fixed(zeros, own) for own in calls))
    gradients = [np.arange(4 * len(doc), dtype="f4").reshape(len(doc), 4) for doc in DOCS]
    _, backprop = model.begin_update(DOCS)
    assert backprop(gradients) == DOCS
    for (own,), columns in zip(calls, (slice(0, 2), slice(2, 4)), strict=True):
        assert [part.tolist() for part in own] == [part[:, columns].tolist() for part in gradients]
        assert all(part.flags.c_contiguous for part in own)


def test_one_expert_is_itself():
    scores = [np.random.default_rng(0).normal(size=(len(doc), 3)).astype("f4") for doc in DOCS]
    model = create_expert_taggers(fixed(scores, []))
    for part, own in zip(model.predict(DOCS), scores, strict=True):
        assert part.tolist() == own.tolist()


def test_no_expert():
    with pytest.raises(ValueError, match=r"model\.\*\.NAME"):
        create_expert_taggers()


def test_initialize_reaches_every_expert():
    model = initialized(
        create_expert_taggers(create_linear_tagger(cnn()), create_linear_tagger(cnn(), 5))
    )
    assert [part.shape for part in model.predict(DOCS)] == [(3, 6), (0, 6), (4, 6)]


def test_experts_keep_the_order_of_the_config():
    """Not that of their names: their weights are saved by position."""
    text = """
    [model]
    @architectures = "gmb_ner.ExpertTaggers.v1"

    [model.*.zebra]
    @architectures = "gmb_ner.LexicalTagger.v1"

    [model.*.contextual]
    @architectures = "gmb_ner.LinearTagger.v1"

    [model.*.contextual.tok2vec]
    @architectures = "spacy.HashEmbedCNN.v2"
    width = 8
    depth = 1
    embed_size = 50
    window_size = 1
    maxout_pieces = 2
    subword_features = false
    pretrained_vectors = null

    [model.*.alpha]
    @architectures = "gmb_ner.LexicalTagger.v1"
    min_count = 7
    """
    config = Config().from_str(text)
    for _ in range(2):
        model = spacy.registry.resolve(config)["model"]
        first, second, third = model.layers
        assert (first.name, third.name) == ("lexical_tagger", "lexical_tagger")
        assert (first.attrs["min_count"], third.attrs["min_count"]) == (4, 7)
        assert second.has_ref("output")
        filled = spacy.registry.fill(config)
        config = Config().from_str(Config(filled).to_str())
