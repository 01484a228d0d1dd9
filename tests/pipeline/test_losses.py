"""Losses against PyTorch, enumeration by hand and finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gmb_ner.pipeline.decoding import constraints
from gmb_ner.pipeline.losses import crf_negative_log_likelihood, cross_entropy, log_softmax

# NumPy's warnings (-inf - -inf, log of 0, overflow) would be the first sign of a NaN.
pytestmark = pytest.mark.filterwarnings("error")

TAGS = 5  # of two labels
EVEN = np.ones(TAGS)
MISSING = -1

values = st.floats(-5, 5, width=32)


@st.composite
def tokens(draw):
    """Up to 6 tokens: scores, gold tags of which some are missing, and weights of the tags."""
    n = draw(st.integers(1, 6))
    scores = draw(hnp.arrays("f8", (n, TAGS), elements=values))
    gold = draw(hnp.arrays("i8", n, elements=st.integers(-1, TAGS - 1)))
    weights = draw(hnp.arrays("f8", TAGS, elements=st.floats(0.125, 4, width=32)))
    return scores, gold, weights


@st.composite
def sequences(draw):
    """Up to 3 sequences of up to 4 tokens: scores, IOB2 gold tags of which some are missing."""
    lengths = np.array(draw(st.lists(st.integers(0, 4), min_size=1, max_size=3)))
    shape = (len(lengths), max(1, int(lengths.max())))
    scores = draw(hnp.arrays("f8", (*shape, TAGS), elements=values))
    gold = draw(hnp.arrays("i8", shape, elements=st.integers(0, TAGS - 1)))
    for row in gold:
        for t, tag in enumerate(row):
            inside = tag > 0 and tag % 2 == 0
            if inside and (t == 0 or row[t - 1] not in (tag, tag - 1)):
                row[t] = tag - 1
    gold[draw(hnp.arrays(bool, shape))] = MISSING
    return scores, gold, lengths


def slopes(loss, scores, step=1e-5):
    """The gradient of `loss` by each score, from central differences."""
    gradient = np.zeros_like(scores)
    for index in np.ndindex(scores.shape):
        ends = []
        for sign in (1, -1):
            moved = scores.copy()
            moved[index] += sign * step
            ends.append(loss(moved))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def test_log_softmax():
    np.testing.assert_allclose(
        np.exp(log_softmax(np.log([[1.0, 3], [5, 5]]))), [[0.25, 0.75], [0.5, 0.5]]
    )
    assert log_softmax(np.array([[-1000.0, 1000]])).tolist() == [[-2000, 0]]


def test_cross_entropy_by_hand():
    scores = np.log([[1.0, 3], [4, 4]])
    loss, gradient = cross_entropy(scores, np.array([0, 1]), np.ones(2), 0.0)
    assert loss == pytest.approx((np.log(4) + np.log(2)) / 2)
    np.testing.assert_allclose(gradient, np.array([[-0.75, 0.75], [0.5, -0.5]]) / 2)


def test_a_weight_of_three_counts_like_three_tokens():
    scores = np.array([[0.5, 2.0], [1.0, -1.0]])
    loss, gradient = cross_entropy(scores, np.array([0, 1]), np.array([3.0, 1.0]), 0.1)
    repeated, gradients = cross_entropy(
        scores[[0, 0, 0, 1]], np.array([0, 0, 0, 1]), np.ones(2), 0.1
    )
    assert loss == pytest.approx(repeated)
    np.testing.assert_allclose(gradient, [gradients[:3].sum(axis=0), gradients[3]])


def test_label_smoothing_is_least_at_the_smoothed_target():
    target = np.log([[0.92, 0.02, 0.02, 0.02, 0.02]])
    _, gradient = cross_entropy(target, np.array([0]), EVEN, 0.1)
    np.testing.assert_allclose(gradient, 0, atol=1e-12)


@settings(deadline=None)
@given(tokens(), st.sampled_from([0.0, 0.1, 0.5]))
def test_cross_entropys_gradient_is_its_slope(batch, smoothing):
    scores, gold, weights = batch
    _, gradient = cross_entropy(scores, gold, weights, smoothing)
    expected = slopes(lambda moved: cross_entropy(moved, gold, weights, smoothing)[0], scores)
    np.testing.assert_allclose(gradient, expected, atol=1e-8)
    assert not gradient[gold == MISSING].any()


@settings(deadline=None)
@given(tokens(), st.sampled_from([0.0, 0.1, 0.5]), st.booleans())
def test_cross_entropy_is_pytorchs(batch, smoothing, weighted):
    """With weights, PyTorch also weighs the smoothed part, by each tag that it is spread over.

    Here a token counts as its gold tag does, whatever it is smoothed with; so the two agree with
    weights or with smoothing, not with both.
    """
    import torch

    scores, gold, weights = batch
    if not weighted:
        weights = EVEN
    elif smoothing:
        return
    loss, gradient = cross_entropy(scores, gold, weights, smoothing)
    inputs = torch.tensor(scores, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        inputs,
        torch.tensor(np.where(gold == MISSING, -100, gold)),
        weight=torch.tensor(weights),
        label_smoothing=smoothing,
        ignore_index=-100,
    )
    if (gold == MISSING).all():  # a mean over nothing: NaN in PyTorch
        assert loss == 0 and not gradient.any()
        return
    expected.backward()
    assert loss == pytest.approx(expected.item(), abs=1e-12)
    np.testing.assert_allclose(gradient, inputs.grad.numpy(), atol=1e-12)


def test_tags_of_weight_zero():
    loss, gradient = cross_entropy(np.eye(2), np.array([0, 0]), np.array([0.0, 1.0]), 0.0)
    assert loss == 0 and not gradient.any()


def test_crf_by_hand():
    """O O: 1, O B: 2, B O: 3, B B: 6, B I: 12, of 24 in all."""
    start, transition = constraints(["x"])
    scores, two = np.log([[[1.0, 3, 9], [1, 2, 4]]]), np.array([2])

    def loss(*gold):
        return crf_negative_log_likelihood(scores, np.array([gold]), two, start, transition)[0]

    assert loss(1, 2) == pytest.approx(-np.log(12 / 24) / 2)
    assert loss(MISSING, 2) == pytest.approx(-np.log(12 / 24))
    assert loss(1, MISSING) == pytest.approx(-np.log(21 / 24))
    assert loss(MISSING, MISSING) == 0


@settings(deadline=None, max_examples=50)
@given(sequences())
def test_crfs_gradient_is_its_slope(batch):
    scores, gold, lengths = batch
    start, transition = constraints("xy")
    loss, gradient = crf_negative_log_likelihood(scores, gold, lengths, start, transition)
    expected = slopes(
        lambda moved: crf_negative_log_likelihood(moved, gold, lengths, start, transition)[0],
        scores,
    )
    assert loss >= -1e-12
    np.testing.assert_allclose(gradient, expected, atol=1e-8)
    beyond = np.arange(scores.shape[1]) >= lengths[:, None]
    assert not gradient[beyond].any()
    known = (gold != MISSING) & ~beyond
    assert not gradient[~known.any(axis=1)].any()


@settings(deadline=None, max_examples=50)
@given(sequences(), hnp.arrays("f8", (TAGS, TAGS), elements=values))
def test_the_gradient_of_learned_transitions_is_its_slope(batch, learned):
    scores, gold, lengths = batch
    start, allowed = constraints("xy")
    gradient = np.ones((TAGS, TAGS))
    crf_negative_log_likelihood(scores, gold, lengths, start, allowed + learned, gradient)
    expected = slopes(
        lambda moved: crf_negative_log_likelihood(scores, gold, lengths, start, allowed + moved)[0],
        learned,
    )
    np.testing.assert_allclose(gradient - 1, expected, atol=1e-7)


@settings(deadline=None, max_examples=50)
@given(sequences())
def test_a_batch_without_a_missing_tag_is_no_other_case(batch):
    """It takes a shorter way, which one missing tag in another sequence closes."""
    scores, gold, lengths = batch
    gold = np.where(gold == MISSING, 0, gold)
    start, transition = constraints("xy")
    loss, gradient = crf_negative_log_likelihood(scores, gold, lengths, start, transition)
    unknown = np.full_like(gold[:1], MISSING)
    longer, longer_gradient = crf_negative_log_likelihood(
        np.concatenate([scores, scores[:1]]),
        np.concatenate([gold, unknown]),
        np.append(lengths, scores.shape[1]),
        start,
        transition,
    )
    assert loss == pytest.approx(longer, abs=1e-9)
    np.testing.assert_allclose(gradient, longer_gradient[:-1], atol=1e-9)


@settings(deadline=None, max_examples=50)
@given(tokens())
def test_without_constraints_a_crf_is_cross_entropy(batch):
    scores, gold, _ = batch
    free = np.zeros(TAGS), np.zeros((TAGS, TAGS))
    one = np.array([len(gold)])
    loss, gradient = crf_negative_log_likelihood(scores[None], gold[None], one, *free)
    expected, expected_gradient = cross_entropy(scores, gold, EVEN, 0.0)
    assert loss == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(gradient[0], expected_gradient, atol=1e-9)


def test_a_missing_tag_of_a_crf_learns_from_its_neighbours():
    """What follows B-x is not known, but I-x after it is: it must be I-x as well."""
    start, transition = constraints("xy")
    gold = np.array([[1, MISSING, 2]])
    _, gradient = crf_negative_log_likelihood(
        np.zeros((1, 3, TAGS)), gold, np.array([3]), start, transition
    )
    assert gradient[0, 1, 1] < 0 and gradient[0, 1, 2] < 0
    assert gradient[0, 1, 0] > 0 and gradient[0, 1, 3] > 0


def test_sequences_that_no_path_fits_are_left_out():
    start, transition = constraints("xy")
    scores = np.random.default_rng(0).normal(size=(2, 3, TAGS))
    gold, lengths = np.array([[0, 2, 0], [3, 4, 0]]), np.array([3, 3])  # I-x after O
    loss, gradient = crf_negative_log_likelihood(scores, gold, lengths, start, transition)
    alone, own = crf_negative_log_likelihood(scores[1:], gold[1:], lengths[1:], start, transition)
    assert loss == pytest.approx(alone)
    np.testing.assert_allclose(gradient[1:], own)
    assert not gradient[0].any()


@pytest.mark.parametrize("loss", ["cross_entropy", "crf"])
def test_nothing_known_is_no_loss(loss):
    scores = np.full((1, 4, TAGS), 500, dtype="f4")
    gold = np.full((1, 4), MISSING)
    if loss == "crf":
        loss, gradient = crf_negative_log_likelihood(
            scores, gold, np.array([4]), *constraints("xy")
        )
    else:
        loss, gradient = cross_entropy(scores[0], gold[0], EVEN, 0.1)
    assert loss == 0
    assert gradient.tolist() == np.zeros_like(gradient).tolist()


def test_gradients_are_of_the_scores_type():
    scores, gold = np.ones((1, 2, TAGS), dtype="f4"), np.array([[0, 1]])
    _, gradient = crf_negative_log_likelihood(scores, gold, np.array([2]), *constraints("xy"))
    assert gradient.dtype == np.float32
    assert cross_entropy(scores[0], gold[0], EVEN, 0.1)[1].dtype == np.float32
