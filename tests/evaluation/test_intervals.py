import itertools

import numpy as np
import pytest

from gmb_ner.evaluation.intervals import bootstrap_interval, paired_bootstrap
from gmb_ner.evaluation.scores import f_score

PERFECT = np.array([[1, 0, 0]] * 20)
MIXED = np.array([[1, 0, 0], [0, 1, 1], [2, 1, 0], [0, 0, 0]] * 25)


def test_equal_sentences_leave_nothing_to_chance():
    assert bootstrap_interval(PERFECT) == (1.0, 1.0)
    assert bootstrap_interval(np.array([[1, 1, 0]])) == pytest.approx((2 / 3, 2 / 3))
    assert bootstrap_interval(np.zeros((5, 3), dtype=int)) == (0.0, 0.0)


def test_two_sentences_by_hand():
    # Drawn twice from {right, wrong}: F is 0, 1/2 or 1 with chances 1/4, 1/2 and 1/4.
    counts = np.array([[1, 0, 0], [0, 1, 1]])
    assert bootstrap_interval(counts) == (0.0, 1.0)
    assert bootstrap_interval(counts, confidence=0.4) == (0.5, 0.5)


def test_interval_equals_the_exact_distribution_of_all_draws():
    counts = np.array([[3, 0, 1], [1, 1, 0], [0, 1, 2], [2, 0, 0], [1, 2, 1]])
    exact = [
        f_score(*(counts[list(draw)].sum(axis=0))) for draw in itertools.product(range(5), repeat=5)
    ]
    low, high = bootstrap_interval(counts, samples=40_000)
    assert (low, high) == pytest.approx(tuple(np.quantile(exact, [0.025, 0.975])), abs=0.02)


def test_interval_is_seeded_holds_the_score_and_narrows_with_more_sentences():
    low, high = bootstrap_interval(MIXED)
    assert (low, high) == bootstrap_interval(MIXED)
    assert (low, high) != bootstrap_interval(MIXED, seed=1)
    assert low < f_score(*MIXED.sum(axis=0)) < high
    narrow_low, narrow_high = bootstrap_interval(np.tile(MIXED, (16, 1)))
    assert narrow_high - narrow_low == pytest.approx((high - low) / 4, rel=0.1)


def test_a_run_does_not_differ_from_itself():
    result = paired_bootstrap(MIXED, MIXED)
    assert (result.difference, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_pairing_finds_a_small_but_steady_gain():
    better = MIXED.copy()
    better[1::4] = [1, 0, 0]
    result = paired_bootstrap(MIXED, better)
    assert result.difference == pytest.approx(
        f_score(*better.sum(axis=0)) - f_score(*MIXED.sum(axis=0))
    )
    assert 0 < result.low < result.difference < result.high
    assert result.p_value < 0.001
    reverse = paired_bootstrap(better, MIXED)
    assert reverse.difference == -result.difference


def test_one_changed_sentence_is_not_significant():
    other = MIXED.copy()
    other[1] = [1, 0, 0]
    assert paired_bootstrap(MIXED, other).p_value > 0.3


@pytest.mark.parametrize("counts", [np.zeros((0, 3)), np.zeros((2, 2)), np.zeros(3)])
def test_other_shapes_are_refused(counts):
    with pytest.raises(ValueError, match="sentences, 3"):
        bootstrap_interval(counts)


def test_runs_on_different_sentences_are_refused():
    with pytest.raises(ValueError, match="20 and 100 sentences"):
        paired_bootstrap(PERFECT, MIXED)
