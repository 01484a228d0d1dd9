"""Words' vectors for listeners are those of spacy-transformers, whatever Docs come together."""

import pickle

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy_transformers.data_classes import TransformerData
from spacy_transformers.layers import trfs2arrays
from thinc.api import Model, chain, reduce_first, reduce_mean

from gmb_ner.pipeline.listener import SharedTransformerData, pool_words
from gmb_ner.pipeline.rows import predict_rows
from gmb_ner.pipeline.transformer import create_transformer_listener, create_transformer_model

WORDS = ["Ada", "Lin", "visited", "Nairobi", ",", "\n", "where", "the", "Nile", "does", "not", "."]
LENGTHS = [3, 0, 13, 1, 40, 0]
POOLING = {"first": reduce_first, "mean": reduce_mean}


@pytest.fixture(scope="module")
def model(tiny_bert):
    created = create_transformer_model(str(tiny_bert), window=16, context=2, precision="float32")
    created.initialize()
    return created


@pytest.fixture
def docs():
    vocab = spacy.blank("en").vocab
    return [Doc(vocab, words=(WORDS * 4)[:length]) for length in LENGTHS]


def both(pooling, grad_factor=1.0):
    return [layer(POOLING[pooling](), grad_factor) for layer in (pool_words, trfs2arrays)]


def assert_equal(some, others):
    assert [part.shape for part in some] == [part.shape for part in others]
    for a, b in zip(some, others, strict=True):
        np.testing.assert_array_equal(a, b)


def gradients_for(vectors):
    rng = np.random.default_rng(0)
    return [rng.normal(size=part.shape).astype("f4") for part in vectors]


@pytest.mark.parametrize("grad_factor", [1.0, 0.5])
@pytest.mark.parametrize("pooling", POOLING)
def test_vectors_and_gradients_are_those_of_each_doc_alone(model, docs, pooling, grad_factor):
    parts = model.predict(docs).doc_data
    results = [layer.begin_update(parts) for layer in both(pooling, grad_factor)]
    (vectors, backprop), (expected, expected_backprop) = results
    assert [len(part) for part in vectors] == LENGTHS
    assert_equal(vectors, expected)
    gradients = gradients_for(vectors)
    tensors = [
        [part.model_output.last_hidden_state for part in way([*gradients])]
        for way in (backprop, expected_backprop)
    ]
    assert len(tensors[0]) == len([length for length in LENGTHS if length])
    assert_equal(*tensors)


def test_docs_in_another_order_than_they_were_read(model, docs):
    """The transformer sorts Docs by length and its listeners do not."""
    parts = model.predict(docs).doc_data[::-1]
    ours, theirs = both("first")
    assert_equal(ours.predict(parts), theirs.predict(parts))


def test_docs_of_several_batches_and_some_of_a_batch(model, docs):
    parts = [*model.predict(docs).doc_data[2:], *model.predict(docs[:4]).doc_data]
    parts = parts[::2] + parts[1::2]
    ours, theirs = both("mean")
    results = [layer.begin_update(parts) for layer in (ours, theirs)]
    assert_equal(results[0][0], results[1][0])
    gradients = gradients_for(results[0][0])
    assert_equal(
        *(
            [part.model_output.last_hidden_state for part in backprop([*gradients])]
            for _, backprop in results
        )
    )


def test_docs_read_by_another_transformer(model, docs):
    parts = [
        *model.predict(docs).doc_data,
        TransformerData.zeros(2, model.get_dim("nO")),
    ]
    ours, theirs = both("first")
    assert_equal(ours.predict(parts), theirs.predict(parts))


def test_no_docs_and_no_words(model):
    empty = [TransformerData.empty(), TransformerData.empty()]
    assert [part.shape for part in pool_words(reduce_first(), 1.0).predict(empty)] == [(0, 0)] * 2
    assert pool_words(reduce_first(), 1.0).predict([]) == []


@pytest.mark.parametrize("pooling", POOLING)
def test_all_words_in_one_array(model, docs, pooling):
    listener = create_transformer_listener(POOLING[pooling]())
    parts = [
        *model.predict(docs).doc_data[2:],
        *model.predict(docs[:2]).doc_data,
    ]
    other = TransformerData.zeros(2, model.get_dim("nO"))
    for batch in (
        model.predict(docs).doc_data,  # read together,
        model.predict(docs).doc_data[::-1],  # in another order than they were read,
        parts,  # in two batches,
        [*parts, other],  # and by another transformer
        [],
    ):
        words = [Doc(docs[0].vocab, words=["w"] * len(part.align.lengths)) for part in batch]
        heard = Model("heard", lambda model, X, is_train, batch=batch: (batch, None))
        chained = chain(heard, listener.layers[1])
        chained.attrs.update(listener.attrs)
        each = trfs2arrays(POOLING[pooling](), 1.0).predict(batch) if batch else []
        expected = np.concatenate([part for part in each if len(part)] or [np.zeros((0, 0))])
        rows = predict_rows(chained, words)
        np.testing.assert_array_equal(rows.reshape(expected.shape), expected)


def test_a_stored_part_leaves_the_other_docs_behind(model, docs):
    part = model.predict(docs).doc_data[0]
    assert isinstance(part, SharedTransformerData)
    stored = pickle.loads(pickle.dumps(part))
    assert type(stored) is TransformerData
    assert len(pickle.dumps(part)) < part.shared.hidden.nbytes
    assert_equal([stored.model_output.last_hidden_state], [part.model_output.last_hidden_state])
    assert_equal(*([layer.predict([one])[0] for one in (stored, part)] for layer in both("first")))
