"""The temperature is the one the gold tags were drawn with."""

from itertools import pairwise, product

import numpy as np
import pytest

from gmb_ner.pipeline.calibrate import HIGHEST, LOWEST, fit_temperature
from gmb_ner.pipeline.decoding import constraints

pytestmark = pytest.mark.filterwarnings("error")

FREE = np.zeros(5), np.zeros((5, 5))


def softmax(scores):
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def draw(rng, probabilities):
    """An index for each row, as often as its probability says."""
    return (probabilities.cumsum(axis=-1) > rng.random(probabilities.shape[:-1])[..., None]).argmax(
        axis=-1
    )


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_of_independent_tags(temperature):
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(4):
        scores = rng.normal(size=(50, 40, 5), scale=3)
        lengths = rng.integers(0, 41, size=50)
        batches.append((scores, lengths, draw(rng, softmax(scores / temperature))))
    assert fit_temperature(batches, *FREE) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_a_known_temperature_of_iob_sequences(temperature):
    """Drawn from all valid sequences of four tokens, as the posteriors are normalised."""
    start, transition = constraints(["x"])
    paths = np.array(
        [
            path
            for path in product(range(3), repeat=4)
            if path[0] != 2 and all(b != 2 or a for a, b in pairwise(path))
        ]
    )
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(8000, 4, 3), scale=2)
    totals = scores[:, np.arange(4), paths].sum(axis=2)
    gold = paths[draw(rng, softmax(totals / temperature))]
    fitted = fit_temperature([(scores, np.full(8000, 4), gold)], start, transition)
    assert fitted == pytest.approx(temperature, rel=0.05)


def test_tokens_without_gold_may_have_any_tag():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(800, 40, 5), scale=3)
    gold = draw(rng, softmax(scores / 2))
    gold[rng.random(gold.shape) < 0.5] = -1
    fitted = fit_temperature([(scores, np.full(800, 40), gold)], *FREE)
    assert fitted == pytest.approx(2, rel=0.05)


def test_nothing_to_fit():
    assert fit_temperature([], *FREE) == 1
    nothing = (np.ones((2, 3, 5)), np.array([3, 2]), np.full((2, 3), -1))
    assert fit_temperature([nothing], *FREE) == 1
    assert fit_temperature([(np.ones((2, 0, 5)), np.zeros(2), np.zeros((2, 0)))], *FREE) == 1


def test_scores_that_are_always_right_or_wrong_end_at_the_bounds():
    scores = np.eye(5)[None]
    lengths = np.array([5])
    right = (scores, lengths, np.arange(5)[None])
    assert fit_temperature([right], *FREE) == pytest.approx(LOWEST, rel=0.01)
    wrong = (scores, lengths, np.array([[1, 2, 3, 4, 0]]))
    assert fit_temperature([wrong], *FREE) == pytest.approx(HIGHEST, rel=0.01)


def test_sequences_that_no_path_fits_are_left_out():
    """I-x after O: the other sequence alone decides."""
    start, transition = constraints("xy")
    rng = np.random.default_rng(0)
    scores, lengths = rng.normal(size=(2, 3, 5)), np.array([3, 3])
    gold = np.array([[0, 2, 0], [3, 4, 0]])
    both = fit_temperature([(scores, lengths, gold)], start, transition)
    assert both == fit_temperature([(scores[1:], lengths[1:], gold[1:])], start, transition)


def test_learned_transitions_are_scaled_as_scores_are():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 6, 3))
    gold = (scores + rng.gumbel(size=scores.shape))[..., :2].argmax(axis=-1)
    start, allowed = constraints(["x"])
    learned = rng.normal(size=(3, 3), scale=0.2)
    once, twice = (
        fit_temperature(
            [(factor * scores, np.full(40, 6), gold)], start, allowed + factor * learned
        )
        for factor in (1, 2)
    )
    assert twice == pytest.approx(2 * once, rel=0.01)
