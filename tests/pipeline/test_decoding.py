"""Decoding and posteriors, against the enumeration of all valid sequences."""

from functools import lru_cache
from itertools import product
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from spacy.training.iob_utils import iob_to_biluo, tags_to_entities

from gmb_ner.pipeline import decoding
from gmb_ner.pipeline.decoding import (
    constraints,
    decode_spans,
    forward_backward,
    span_probabilities,
    tag_marginals,
    tag_names,
    transition_marginals,
    viterbi,
)

# NumPy's warnings (-inf - -inf, log of 0, overflow) would be the first sign of a NaN.
pytestmark = pytest.mark.filterwarnings("error")

Array = Any
TOLERANCE = {"rtol": 1e-8, "atol": 1e-8}


class Batch(NamedTuple):
    scores: Array
    lengths: Array
    start: Array
    transition: Array


@st.composite
def batches(draw: st.DrawFn, impossible: bool = True) -> Batch:
    """Up to 3 sequences of up to 6 tokens and 3 labels, with learned and extreme scores."""
    labels = draw(st.integers(1, 3))
    lengths = np.array(draw(st.lists(st.integers(0, 6), min_size=1, max_size=3)))
    padded = int(lengths.max()) + draw(st.integers(0, 1))
    special = [-500.0, 500.0, -1.0, 0.0, 1.0] + [-np.inf] * impossible
    values = st.floats(-5, 5, width=32)
    if draw(st.booleans()):
        values = values | st.sampled_from(special)
    size = 1 + 2 * labels
    scores = draw(hnp.arrays("f8", (len(lengths), padded, size), elements=values))
    learned = draw(hnp.arrays("f8", (size + 1, size), elements=st.floats(-5, 5) | st.just(500.0)))
    start, transition = constraints("abc"[:labels])
    if draw(st.booleans()):
        start, transition = start + learned[0], transition + learned[1:]
    return Batch(scores, lengths, start, transition)


@lru_cache
def valid_paths(size: int, length: int) -> Array:
    """All valid sequences, (P, length)."""
    paths: list[tuple[int, ...]] = [()]
    for _ in range(length):
        paths = [
            (*path, tag)
            for path in paths
            for tag in range(size)
            if tag % 2 or not tag or (path and path[-1] in (tag, tag - 1))
        ]
    return np.array(paths, dtype=int).reshape(len(paths), length)


def path_scores(batch: Batch, row: int, paths: Array, allowed: Array | None = None) -> Array:
    totals = np.zeros(len(paths))
    for t in range(paths.shape[1]):
        tags = paths[:, t]
        totals += batch.transition[paths[:, t - 1], tags] if t else batch.start[tags]
        totals += batch.scores[row, t, tags]
        if allowed is not None:
            totals[~allowed[row, t, tags]] = -np.inf
    return totals


def all_spans(shape: tuple[int, ...]) -> tuple[Array, ...]:
    rows, length, size = shape
    spans = [
        (row, start, end, tag)
        for row, start, tag in product(range(rows), range(length), range(1, size, 2))
        for end in range(start + 1, length + 1)
    ]
    return tuple(np.array(spans, dtype=int).reshape(-1, 4).T)


def log_sum(values: Array) -> float:
    peak = values.max()
    return float(peak + np.log(np.exp(values - peak).sum())) if peak > -np.inf else -np.inf


def random_batch(rows: int = 3, length: int = 9, labels: str = "xyz", seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    start, transition = constraints(labels)
    scores = rng.normal(size=(rows, length, len(start))) * 3
    lengths = np.array([length, *rng.integers(0, length + 1, rows - 1)])
    return Batch(scores, lengths, start, transition + rng.normal(size=transition.shape))


def test_tags_and_constraints():
    assert tag_names(["x", "y"]) == ["O", "B-x", "I-x", "B-y", "I-y"]
    start, transition = constraints(["x", "y"])
    no = -np.inf
    assert start.tolist() == [0, 0, no, 0, no]
    assert transition.tolist() == [
        [0, 0, no, 0, no],
        [0, 0, 0, 0, no],
        [0, 0, 0, 0, no],
        [0, 0, no, 0, 0],
        [0, 0, no, 0, 0],
    ]
    assert tag_names([]) == ["O"]


@settings(max_examples=150, deadline=None)
@given(batches())
def test_viterbi_finds_a_best_path_and_only_valid_ones(batch):
    tags = viterbi(*batch)
    assert tags.dtype == np.int32 and tags.shape == batch.scores.shape[:2]
    for row, length in enumerate(batch.lengths):
        assert not tags[row, length:].any()
        paths = valid_paths(len(batch.start), int(length))
        found = tags[row : row + 1, :length]
        assert (paths == found).all(axis=1).sum() == 1
        best = path_scores(batch, row, paths).max()
        np.testing.assert_allclose(path_scores(batch, row, found)[0], best, rtol=1e-12, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(batches(), st.data())
def test_sums_equal_enumeration(batch, data):
    allowed = None
    if data.draw(st.booleans()):
        mostly = st.sampled_from([True, True, False])
        allowed = data.draw(hnp.arrays(bool, batch.scores.shape, elements=mostly))
    lattice = forward_backward(*batch, allowed)
    tags, transitions = tag_marginals(lattice), transition_marginals(lattice)
    spans = all_spans(batch.scores.shape)
    probabilities = span_probabilities(lattice, *spans)
    size = len(batch.start)
    for row, length in enumerate(map(int, batch.lengths)):
        paths = valid_paths(size, length)
        totals = path_scores(batch, row, paths, allowed)
        partition = log_sum(totals)
        np.testing.assert_allclose(lattice.log_partition[row], partition, **TOLERANCE)
        weights = np.exp(totals - partition) if partition > -np.inf else np.zeros(len(paths))
        expected_tags, expected_pairs = np.zeros_like(tags[row]), np.zeros((size, size))
        for t in range(length):
            np.add.at(expected_tags[t], paths[:, t], weights)
            if t:
                np.add.at(expected_pairs, (paths[:, t - 1], paths[:, t]), weights)
        np.testing.assert_allclose(tags[row], expected_tags, **TOLERANCE)
        np.testing.assert_allclose(transitions[row], expected_pairs, **TOLERANCE)
        expected_spans = []
        for _, start, end, tag in (s for s in zip(*spans, strict=True) if s[0] == row):
            exact = np.full(len(paths), end <= length)
            if end <= length:
                exact &= paths[:, start] == tag
                exact &= (paths[:, start + 1 : end] == tag + 1).all(axis=1)
            if end < length:
                exact &= paths[:, end] != tag + 1
            expected_spans.append(weights[exact].sum())
        np.testing.assert_allclose(probabilities[spans[0] == row], expected_spans, **TOLERANCE)


@settings(max_examples=75, deadline=None)
@given(batches(impossible=False))
def test_each_token_is_outside_or_in_one_span(batch):
    lattice = forward_backward(*batch)
    spans = all_spans(batch.scores.shape)
    covered = tag_marginals(lattice)[:, :, 0].copy()
    probabilities = span_probabilities(lattice, *spans)
    for row, start, end, probability in zip(*spans[:3], probabilities, strict=True):
        covered[row, start:end] += probability
    within = np.arange(covered.shape[1]) < batch.lengths[:, None]
    np.testing.assert_allclose(covered, within, **TOLERANCE)


@settings(max_examples=75, deadline=None)
@given(batches())
def test_padding_does_not_matter(batch):
    padded = np.concatenate([batch.scores, batch.scores], axis=1)
    beyond = np.arange(padded.shape[1]) >= batch.lengths[:, None]
    padded[beyond] = np.nan
    together = forward_backward(padded, *batch[1:])
    spans = decode_spans(viterbi(padded, *batch[1:]), batch.lengths)
    probabilities = span_probabilities(together, *spans)
    for row, length in enumerate(batch.lengths):
        one = Batch(batch.scores[row : row + 1, :length], batch.lengths[row : row + 1], *batch[2:])
        alone = forward_backward(*one)
        tags = viterbi(*one)
        own = decode_spans(tags, one.lengths)
        assert (viterbi(padded, *batch[1:])[row, :length] == tags[0]).all()
        for mine, shared in zip(own[1:], spans[1:], strict=True):
            assert (mine == shared[spans[0] == row]).all()
        for mine, shared in [
            (alone.log_partition[0], together.log_partition[row]),
            (tag_marginals(alone)[0], tag_marginals(together)[row, :length]),
            (transition_marginals(alone)[0], transition_marginals(together)[row]),
            (span_probabilities(alone, *own), probabilities[spans[0] == row]),
        ]:
            np.testing.assert_allclose(mine, shared, **TOLERANCE)
    assert not tag_marginals(together)[beyond].any()


@given(batches(), st.data())
def test_the_order_of_sequences_does_not_matter(batch, data):
    order = data.draw(st.permutations(range(len(batch.lengths))))
    other = batch._replace(scores=batch.scores[order], lengths=batch.lengths[order])
    lattice, moved = forward_backward(*batch), forward_backward(*other)
    for name in ("forward", "backward", "log_partition"):
        expected = getattr(lattice, name)[order]
        np.testing.assert_allclose(getattr(moved, name), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(viterbi(*other), viterbi(*batch)[order])


@given(st.integers(1, 3), st.lists(st.integers(0, 6), min_size=1, max_size=4), st.data())
def test_decoded_spans_are_spacys(labels, lengths, data):
    names = tag_names("abc"[:labels])
    paths = [valid_paths(len(names), length) for length in lengths]
    tags = np.full((len(lengths), 7), 2)
    for row, choices in enumerate(paths):
        choice = data.draw(st.integers(0, len(choices) - 1))
        tags[row, : lengths[row]] = choices[choice]
    expected = [
        (row, start, last + 1, names.index(f"B-{label}"))
        for row, length in enumerate(lengths)
        for label, start, last in tags_to_entities(
            iob_to_biluo([names[tag] for tag in tags[row, :length]])
        )
    ]
    assert list(zip(*decode_spans(tags, np.array(lengths)), strict=True)) == expected


def test_a_small_example_by_hand():
    start, transition = constraints(["x"])
    scores = np.log([[[1.0, 3, 9], [1, 2, 4]], [[2, 6, 9], [7, 7, 7]]])
    lengths = np.array([2, 1])
    # O O: 1, O B: 2, B O: 3, B B: 6, B I: 12; alone O: 2, B: 6.
    lattice = forward_backward(scores, lengths, start, transition)
    np.testing.assert_allclose(np.exp(lattice.log_partition), [24, 8])
    np.testing.assert_allclose(
        tag_marginals(lattice) * 24, [[[3, 21, 0], [4, 8, 12]], [[6, 18, 0], [0, 0, 0]]], atol=1e-12
    )
    np.testing.assert_allclose(
        transition_marginals(lattice)[0] * 24, [[1, 2, 0], [3, 6, 12], [0, 0, 0]], atol=1e-12
    )
    spans = np.array([(0, 0, 1, 1), (0, 0, 2, 1), (0, 1, 2, 1), (1, 0, 1, 1), (1, 0, 2, 1)]).T
    np.testing.assert_allclose(span_probabilities(lattice, *spans) * 24, [9, 12, 8, 18, 0])
    tags = viterbi(scores, lengths, start, transition)
    assert tags.tolist() == [[1, 2], [1, 0]]
    assert [found.tolist() for found in decode_spans(tags, lengths)] == [
        [0, 1],
        [0, 0],
        [2, 1],
        [1, 1],
    ]


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 5), (2, 3, 5), (2, 3, 1)])
def test_nothing_to_decode(shape):
    start, transition = constraints("xy"[: shape[2] // 2])
    batch = Batch(np.ones(shape), np.zeros(shape[0], dtype="i4"), start, transition)
    lattice = forward_backward(*batch)
    assert lattice.log_partition.tolist() == [0] * shape[0]
    tags = viterbi(*batch)
    assert tags.shape == shape[:2] and not tags.any()
    assert tag_marginals(lattice).shape == shape and not tag_marginals(lattice).any()
    assert not transition_marginals(lattice).any()
    assert span_probabilities(lattice, *decode_spans(tags, batch.lengths)).shape == (0,)


def test_a_sequence_without_a_path():
    batch = random_batch(rows=1, length=4)
    allowed = np.ones(batch.scores.shape, dtype=bool)
    allowed[0, 2] = False
    lattice = forward_backward(*batch, allowed)
    assert lattice.log_partition.tolist() == [-np.inf]
    assert not tag_marginals(lattice).any() and not transition_marginals(lattice).any()
    assert not span_probabilities(lattice, *all_spans(batch.scores.shape)).any()


def test_paths_further_apart_than_an_exponential_reaches():
    """Only a path that falls 2,000 behind on its way can end where it must."""
    start, transition = constraints(["x"])
    scores = np.zeros((1, 4, 3))
    scores[0, :3, 0] = 1000
    allowed = np.array([[[1, 1, 0], [1, 0, 1], [1, 0, 1], [0, 0, 1]]], dtype=bool)
    lattice = forward_backward(scores, np.array([4]), start, transition, allowed)
    assert lattice.log_partition.tolist() == [0]
    assert tag_marginals(lattice)[0].tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]
    assert span_probabilities(lattice, *np.array([[0, 0, 4, 1]]).T).tolist() == [1]


def test_fast_and_dense_steps_agree(monkeypatch):
    batch = random_batch(length=60)
    fast = forward_backward(*batch)
    monkeypatch.setattr(decoding, "_step", None)
    monkeypatch.setattr(decoding, "MAX_TRANSITION", -1.0)
    dense = forward_backward(*batch)
    for name in ("forward", "backward", "log_partition"):
        np.testing.assert_allclose(getattr(fast, name), getattr(dense, name), rtol=1e-12)


def test_transition_marginals_in_chunks(monkeypatch):
    batch = random_batch(length=11)
    lattice = forward_backward(*batch)
    expected = transition_marginals(lattice)
    np.testing.assert_allclose(expected.sum(axis=(1, 2)), np.maximum(batch.lengths - 1, 0))
    for steps in (0, 1, 3):
        monkeypatch.setattr(decoding, "CHUNK_BYTES", steps * expected.nbytes)
        np.testing.assert_allclose(transition_marginals(lattice), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_ten_thousand_tokens(scale):
    start, transition = constraints("abcdefgh")
    length, rng = 10_000, np.random.default_rng(0)
    scores = rng.normal(size=(1, length, len(start)), scale=scale)
    scores[0, :, 0] += 10 * scale
    scores[0, 5000, 3] = scores[0, 5001:5003, 4] = 50 * scale
    lengths = np.array([length])
    lattice = forward_backward(scores, lengths, start, transition)
    spans = decode_spans(viterbi(scores, lengths, start, transition), lengths)
    assert [int(index[0]) for index in spans] == [0, 5000, 5003, 3]
    assert span_probabilities(lattice, *spans)[0] == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(tag_marginals(lattice).sum(axis=2), 1, rtol=1e-6)
    np.testing.assert_allclose(transition_marginals(lattice).sum(), length - 1, rtol=1e-6)


def test_float32_is_computed_in_float64():
    batch = random_batch()
    low = batch._replace(scores=batch.scores.astype("f4"))
    same = batch._replace(scores=low.scores.astype("f8"))
    assert (viterbi(*low) == viterbi(*same)).all()
    lattice, expected = forward_backward(*low), forward_backward(*same)
    assert (lattice.log_partition == expected.log_partition).all()
    assert tag_marginals(lattice).dtype == np.float64
    assert (tag_marginals(lattice) == tag_marginals(expected)).all()


def test_inputs_are_left_alone():
    batch = random_batch()
    copies = [array.copy() for array in batch]
    lattice = forward_backward(*batch)
    transition_marginals(lattice)
    span_probabilities(lattice, *decode_spans(viterbi(*batch), batch.lengths))
    for array, copy in zip(batch, copies, strict=True):
        assert (array == copy).all()


def test_shapes_that_do_not_fit():
    batch = random_batch()
    for wrong in (
        batch._replace(lengths=batch.lengths[:-1]),
        batch._replace(start=batch.start[:-1]),
        batch._replace(transition=batch.transition[:1]),
    ):
        for function in (viterbi, forward_backward):
            with pytest.raises(ValueError, match="do not fit"):
                function(*wrong)
    with pytest.raises(ValueError, match="allowed"):
        forward_backward(*batch, np.ones((1, 1, 7), dtype=bool))


def test_arrays_are_touched_by_their_own_module_only(monkeypatch):
    """CuPy arrays must not pass through NumPy's functions; only constants are used from it."""
    batch = random_batch()
    monkeypatch.setattr(decoding, "np", SimpleNamespace(inf=np.inf, errstate=np.errstate))
    lattice = forward_backward(*batch, np.ones(batch.scores.shape, dtype=bool))
    tag_marginals(lattice)
    transition_marginals(lattice)
    span_probabilities(lattice, *decode_spans(viterbi(*batch), batch.lengths))
