"""A sparse linear model: which features it knows, how it learns, what is saved."""

import copy
import pickle
from collections import Counter

import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from spacy.tokens import Doc
from thinc.api import Adam

from gmb_ner.pipeline.lexical import TEMPLATES, LexicalFeatures, keys_of
from gmb_ner.pipeline.lexical_tagger import (
    KeyIndex,
    SparseLinear,
    create_lexical_tagger,
    sum_by_row,
)
from gmb_ner.pipeline.losses import log_softmax

VOCAB = spacy.blank("en").vocab
TEXTS = ["Ada saw Oslo .", "Ada saw the Nile .", "the Nile saw Oslo", ""]


def docs_of(*texts):
    return [Doc(VOCAB, words=text.split()) for text in texts]


DOCS = docs_of(*TEXTS)


def tagger(docs=DOCS, tags=3, **settings):
    settings = {"min_count": 1, "dropout": 0.0, **settings}
    model = create_lexical_tagger(**settings)
    model.attrs["count_features"](model, [docs])
    model.initialize(X=docs, Y=[np.zeros((len(doc), tags), dtype="f4") for doc in docs])
    return model


def random_tagger(**settings):
    """One whose weights are random, but that of unknown features."""
    model = tagger(**settings)
    weights = model.shims[0].weights
    weights[:-1] = np.random.default_rng(0).normal(size=weights[:-1].shape)
    return model


def learn(model, docs, gold):
    """One step on cross-entropy, by the sum over tokens."""
    scores, backprop = model.begin_update(docs)
    backprop([gradient_of(part, own) for part, own in zip(scores, gold, strict=True)])
    model.finish_update(Adam())


def gradient_of(scores, gold):
    return np.exp(log_softmax(scores)) - np.eye(scores.shape[1], dtype="f4")[gold]


def equal(first, second, **tolerance):
    assert [part.shape for part in first] == [part.shape for part in second]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, **(tolerance or {"rtol": 0, "atol": 0}))


@pytest.mark.parametrize("min_count", [1, 2, 3, 4, 100])
def test_the_features_seen_often_enough_are_known(min_count):
    counts = Counter(keys_of(LexicalFeatures()(DOCS)).ravel().tolist())
    expected = sorted(key for key, count in counts.items() if count >= min_count)
    assert tagger(min_count=min_count).shims[0].keys.tolist() == expected


def test_features_are_counted_over_batches():
    model = create_lexical_tagger(min_count=2)
    model.attrs["count_features"](model, ([doc] for doc in DOCS))
    assert model.shims[0].keys.tolist() == tagger(min_count=2).shims[0].keys.tolist()


def test_no_docs_no_features():
    model = create_lexical_tagger()
    model.attrs["count_features"](model, [])
    model.initialize(Y=[np.zeros((0, 3), dtype="f4")])
    equal(model.predict(DOCS), [np.zeros((len(doc), 3)) for doc in DOCS])
    learn(model, DOCS, [[0] * len(doc) for doc in DOCS])
    equal(model.predict(DOCS), [np.zeros((len(doc), 3)) for doc in DOCS])


def test_scores_are_sums_of_weights():
    model = random_tagger()
    table = model.shims[0]
    rows = np.searchsorted(table.keys, keys_of(LexicalFeatures()(DOCS[:1])))
    (scores,) = model.predict(DOCS[:1])
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, table.weights[rows].sum(axis=1), rtol=1e-5)


def test_unknown_features_score_nothing():
    model = random_tagger(docs=docs_of("a b c d e f g"))
    (scores,) = model.predict(docs_of("Xy-1 " * 7))
    assert scores[3].tolist() == [0, 0, 0]
    assert scores[0].all()  # what is known there is that a sentence starts


def test_they_score_nothing_after_training_either():
    model = tagger(min_count=2)
    for _ in range(3):
        learn(model, DOCS, [[1] * len(doc) for doc in DOCS])
    assert model.shims[0].weights[:-1].any() and not model.shims[0].weights[-1].any()


def test_batches_and_empty_docs():
    model = random_tagger()
    equal(model.predict(DOCS), [model.predict([doc])[0] for doc in DOCS], rtol=1e-5, atol=1e-6)
    assert [part.shape for part in model.predict(docs_of("", ""))] == [(0, 3), (0, 3)]


def test_a_toy_task_is_learned():
    """The tag is 1 after "saw", 2 for the Nile, 0 elsewhere."""
    gold = [[0, 0, 1, 0], [0, 0, 1, 2, 0], [0, 2, 0, 1], []]
    np.random.seed(0)
    model = tagger(dropout=0.5, learn_rate=0.1)
    for _ in range(30):
        learn(model, DOCS, gold)
    assert [part.argmax(axis=1).tolist() for part in model.predict(DOCS)] == gold
    (scores,) = model.predict(docs_of("Bob saw Bergen"))
    assert scores.argmax(axis=1).tolist() == [0, 0, 1]


def test_a_first_step_is_of_the_learning_rate():
    """Adagrad divides by the root of the summed squares, of which there is one."""
    model = tagger(tags=2, learn_rate=0.25)
    _, backprop = model.begin_update(docs_of("Ada"))
    backprop([np.array([[3.0, -0.5]], dtype="f4")])
    model.finish_update(Adam())
    table = model.shims[0]
    rows = table.rows(docs_of("Ada")).by_word()
    known = rows[rows < len(table.keys)]
    assert 0 < len(known) < len(TEMPLATES)
    np.testing.assert_allclose(table.weights[known], [[-0.25, 0.25]] * len(known), rtol=1e-6)
    assert not np.delete(table.weights, known, axis=0).any()


def test_batches_whose_gradients_are_accumulated_are_one_step():
    gold = [[0, 0, 1, 0], [0, 0, 1, 2, 0], [0, 2, 0, 1], []]
    joint, apart = random_tagger(), random_tagger()
    for _ in range(2):
        learn(joint, DOCS, gold)
        for part in (slice(0, 1), slice(1, 4)):
            scores, backprop = apart.begin_update(DOCS[part])
            backprop([gradient_of(*pair) for pair in zip(scores, gold[part], strict=True)])
        apart.finish_update(Adam())
    np.testing.assert_allclose(apart.shims[0].weights, joint.shims[0].weights, atol=1e-5)


def test_a_step_without_gradients_changes_nothing():
    model = random_tagger()
    before = model.shims[0].weights.copy()
    model.finish_update(Adam())
    assert (model.shims[0].weights == before).all()


def test_dropout_is_for_training_and_keeps_the_expectation():
    np.random.seed(0)
    model = random_tagger(dropout=0.5)
    (expected,) = model.predict(DOCS[:1])
    equal(model.predict(DOCS[:1]), [expected])
    samples = np.stack([model.begin_update(DOCS[:1])[0][0] for _ in range(2000)])
    assert samples.std(axis=0).min() > 1
    np.testing.assert_allclose(samples.mean(axis=0), expected, atol=1)


def test_a_feature_that_was_dropped_learns_nothing():
    model = tagger(dropout=1 - 1e-9)
    learn(model, DOCS, [[1] * len(doc) for doc in DOCS])
    assert not model.shims[0].weights.any()


def test_saved_and_loaded():
    model = random_tagger()
    loaded = create_lexical_tagger().from_bytes(model.to_bytes())
    assert loaded.get_dim("nO") == 3
    equal(loaded.predict(DOCS), model.predict(DOCS), atol=1e-1, rtol=1e-2)
    np.testing.assert_allclose(loaded.shims[0].weights, model.shims[0].weights, rtol=1e-3)
    assert loaded.to_bytes() == model.to_bytes()


def test_half_the_bytes_are_saved():
    model = random_tagger()
    table = model.shims[0]
    payload = table.keys.nbytes + table.weights.nbytes // 2
    assert payload < len(model.to_bytes()) < payload + 1000


def test_a_loaded_model_goes_on_learning():
    model = create_lexical_tagger(dropout=0.0).from_bytes(tagger().to_bytes())
    gold = [[0, 0, 1, 0], [0, 0, 1, 2, 0], [0, 2, 0, 1], []]
    for _ in range(10):
        learn(model, DOCS, gold)
    assert [part.argmax(axis=1).tolist() for part in model.predict(DOCS)] == gold


def test_a_copy_is_exact_and_apart():
    model = random_tagger()
    copy = model.copy()
    equal(copy.predict(DOCS), model.predict(DOCS))
    before = model.predict(DOCS)
    learn(copy, DOCS, [[1] * len(doc) for doc in DOCS])
    equal(model.predict(DOCS), before)


def test_initialize_forgets_what_was_learned():
    model = tagger()
    gold = [[1] * len(doc) for doc in DOCS]
    learn(model, DOCS, gold)
    once = model.shims[0].weights.copy()
    model.initialize()
    assert not model.shims[0].weights.any()
    learn(model, DOCS, gold)
    np.testing.assert_array_equal(model.shims[0].weights, once)


@given(
    st.integers(0, 12).flatmap(
        lambda n: st.tuples(
            hnp.arrays("i8", n, elements=st.integers(0, 4)),
            hnp.arrays("f8", (n, 3), elements=st.integers(-9, 9)),
        )
    )
)
def test_sum_by_row(pair):
    rows, values = pair
    expected = np.zeros((5, 3))
    np.add.at(expected, rows, values)
    distinct, sums = sum_by_row(rows, values)
    assert distinct.tolist() == sorted(set(rows.tolist()))
    assert sums.tolist() == expected[distinct].tolist()


def test_keys_are_found_as_by_binary_search():
    draw = np.random.default_rng(0)
    for size in (0, 1, 2, 3, 1000, 4096):
        keys = np.unique(draw.integers(0, 2**32, size, dtype=np.uint32))
        wanted = np.concatenate([keys, draw.integers(0, 2**32, 500, dtype=np.uint32)])
        wanted = np.append(wanted, np.array([0, 2**32 - 1], dtype=np.uint32))
        known = {key: i for i, key in enumerate(keys.tolist())}
        expected = [known.get(key, len(keys)) for key in wanted.tolist()]
        assert KeyIndex(keys).find(wanted).tolist() == expected


@given(hnp.arrays(np.uint32, st.integers(0, 9), elements=st.integers(0, 9), unique=True))
def test_keys_that_lie_close_are_found(keys):
    keys = np.sort(keys)
    wanted = np.arange(12, dtype=np.uint32)
    known = {key: i for i, key in enumerate(keys.tolist())}
    expected = [known.get(key, len(keys)) for key in wanted.tolist()]
    assert KeyIndex(keys).find(wanted).tolist() == expected


def test_a_gpu_reads_the_weights_of_now():
    model = random_tagger(learn_rate=1.0)
    table = model.shims[0]
    changes = [
        lambda: learn(model, DOCS, [np.zeros(len(doc), dtype="i8") for doc in DOCS]),
        lambda: table.from_bytes(random_tagger(min_count=2).shims[0].to_bytes()),
        lambda: table.reset(3),
    ]
    for change in changes:
        before = table.on_gpu(np).score(DOCS)
        assert table.on_gpu(np) is table.on_gpu(np)
        unchanged = table.on_gpu(np)
        change()
        equal([unchanged.score(DOCS)], [before])
        after = table.on_gpu(np).score(DOCS)
        assert np.abs(after - before).max() > 0.01
        equal([after], [table.score(DOCS)], rtol=1e-5, atol=1e-5)


def test_what_is_on_a_gpu_is_not_copied():
    table = random_tagger().shims[0]
    table.on_gpu(np)
    for copied in (copy.deepcopy(table), pickle.loads(pickle.dumps(table))):
        equal([copied.score(DOCS)], [table.score(DOCS)])
        assert copied.on_gpu(np) is not table.on_gpu(np)


def test_weights_of_8_bits():
    table = random_tagger().shims[0]
    small = table.quantized()
    assert small.weights.dtype == np.int8 and not small.weights[-1].any()
    exact = table.score(DOCS)
    # Half a step of each of a word's features.
    bound = len(TEMPLATES) * np.abs(table.weights).max(axis=0) / 127 / 2
    assert (np.abs(small.score(DOCS) - exact) <= bound + 1e-6).all()
    again = SparseLinear(0.0).from_bytes(small.to_bytes())
    equal([again.score(DOCS)], [small.score(DOCS)])


def test_features_of_hardly_any_weight_are_left_out():
    table = random_tagger().shims[0]
    table.weights[1:-1] *= 1e-4
    table.weights[0] = 1
    small = table.quantized()
    assert small.keys.tolist() == table.keys[:1].tolist()
    assert small.weights.tolist() == [[127] * 3, [0] * 3]


def test_a_table_without_features_has_no_weights_of_8_bits():
    model = create_lexical_tagger()
    model.attrs["count_features"](model, [])
    model.initialize(Y=[np.zeros((0, 3), dtype="f4")])
    equal([model.shims[0].quantized().score(DOCS[:1])], [np.zeros((4, 3))])
