"""How sure a score is: bootstrap intervals over sentences, alone and paired between two runs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLES = 10_000


@dataclass(frozen=True)
class PairedDifference:
    """F1 of the second run minus F1 of the first, as fractions.

    low, high: percentile interval. p_value: two-sided, of the hypothesis of no difference.
    """

    difference: float
    low: float
    high: float
    p_value: float


def bootstrap_interval(
    counts: NDArray[np.int64],
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of the micro F1, sentences drawn with replacement (Efron 1979).

    counts: (sentences, 3) true positives, false positives, false negatives.

    Returns low and high as fractions. Raises ValueError if there are no sentences or the shape
    is another.
    """
    f_scores = _f_scores(_resampled_totals(_checked(counts), samples, seed))
    low, high = np.quantile(f_scores, _tails(confidence))
    return float(low), float(high)


def paired_bootstrap(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    confidence: float = 0.95,
) -> PairedDifference:
    """Compare two runs on the same sentences, drawn together.

    first, second: (sentences, 3) as in `bootstrap_interval`, with the sentences in the same
        order.

    The p-value is the share of resampled differences at least as far from the observed one as
    that is from zero: T. Berg-Kirkpatrick, D. Burkett and D. Klein, "An Empirical Investigation
    of Statistical Significance in NLP" (2012), made two-sided. Raises ValueError if the runs
    differ in their number of sentences, or as `bootstrap_interval` does.
    """
    first, second = _checked(first), _checked(second)
    if len(first) != len(second):
        raise ValueError(f"the runs hold {len(first)} and {len(second)} sentences")
    totals = _resampled_totals(np.hstack((first, second)), samples, seed)
    differences = _f_scores(totals[:, 3:]) - _f_scores(totals[:, :3])
    observed = float(_f_scores(second.sum(axis=0)) - _f_scores(first.sum(axis=0)))
    low, high = np.quantile(differences, _tails(confidence))
    # Equal differences may part in their last bit, so the comparison needs some slack.
    extreme = np.abs(differences - observed) >= abs(observed) - 1e-12
    return PairedDifference(observed, float(low), float(high), float(extreme.mean()))


def _checked(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[1] != 3 or not len(counts):
        raise ValueError(f"counts have to be (sentences, 3), with sentences: {counts.shape}")
    return counts


def _resampled_totals(counts: NDArray[np.int64], samples: int, seed: int) -> NDArray[np.int64]:
    """Sums (samples, columns) of as many rows as there are, drawn with replacement.

    Sentences with the same counts are interchangeable, so it is enough to draw how often each
    distinct row comes up: a few hundred numbers a sample instead of ten thousand.
    """
    rows, copies = np.unique(counts, axis=0, return_counts=True)
    shares = copies / copies.sum()
    weights = np.random.default_rng(seed).multinomial(copies.sum(), shares, size=samples)
    totals: NDArray[np.int64] = weights @ rows
    return totals


def _f_scores(totals: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 over the last axis (true positives, false positives, false negatives)."""
    right = 2.0 * totals[..., 0]
    denominator = right + totals[..., 1] + totals[..., 2]
    return np.divide(right, denominator, out=np.zeros_like(right), where=denominator > 0)


def _tails(confidence: float) -> tuple[float, float]:
    return (1 - confidence) / 2, (1 + confidence) / 2
