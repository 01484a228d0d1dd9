"""Whether confidences can be believed: of entities with 90 % confidence, 90 % should be right."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gmb_ner.evaluation.scored import ScoredDoc
from gmb_ner.evaluation.scores import f_score

BINS = 15
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def calibration(docs: Iterable[ScoredDoc], bins: int = BINS) -> dict[str, Any] | None:
    """Compare the confidences of predicted entities with how often these are right.

    An entity is right if its boundaries and its label are those of gold. A confidence is the
    probability of exactly that, for the label that the pipeline gave: a label map that merges
    labels makes right answers more frequent than announced.

    bins: number of bins of equal width, (lower, upper], the first with 0.

    Returns a dict ready for JSON, all scores as fractions (0..1):
        entities: number of predicted entities;
        mean_confidence: their mean confidence (compare with the precision at threshold 0);
        ece: expected calibration error, the mean distance of confidence and precision by bin,
            weighted by the bins' counts: M. P. Naeini, G. F. Cooper and M. Hauskrecht, "Obtaining
            Well Calibrated Probabilities Using Bayesian Binning" (2015), with the bins of C. Guo
            et al., "On Calibration of Modern Neural Networks" (2017);
        brier: mean squared difference of confidence and correctness (1 or 0): G. W. Brier (1950);
        reliability: for each bin lower, upper, count, mean_confidence and precision (the last
            two None where it is empty);
        thresholds: for each of THRESHOLDS the scores if entities of lower confidence were left
            out: threshold, kept (their number), precision (None if none is kept), recall (of all
            gold entities, None if there are none) and f.
    What a pipeline left out by a threshold of its own is not known here. Returns None if there
    are no confidences: nothing is predicted, or some document has predictions without, as figures
    of only a part would be misleading. Raises ValueError for confidences outside of 0..1 and for
    less than one bin.
    """
    if bins < 1:
        raise ValueError(f"there must be at least one bin, not {bins}")
    docs = list(docs)
    known = [(doc, doc.confidences) for doc in docs if doc.confidences is not None]
    confidence = np.concatenate([np.zeros(0), *(values for _, values in known)])
    if not len(confidence) or len(confidence) < sum(len(doc.predicted) for doc in docs):
        return None
    if not ((confidence >= 0) & (confidence <= 1)).all():  # NaN neither
        raise ValueError("confidences must be between 0 and 1")
    golds = ((doc, set(doc.gold)) for doc, _ in known)
    right = np.array([span in gold for doc, gold in golds for span in doc.predicted])
    reliability = _reliability(confidence, right, bins)
    distances = (
        row["count"] * abs(row["mean_confidence"] - row["precision"])
        for row in reliability
        if row["count"]
    )
    entities = sum(len(doc.gold) for doc in docs)
    return {
        "entities": len(confidence),
        "mean_confidence": float(confidence.mean()),
        "ece": sum(distances) / len(confidence),
        "brier": float(np.mean((confidence - right) ** 2)),
        "reliability": reliability,
        "thresholds": [_scores_above(value, confidence, right, entities) for value in THRESHOLDS],
    }


def _reliability(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int
) -> list[dict[str, Any]]:
    edges = np.linspace(0, 1, bins + 1)
    # Found by the edges themselves: a product with the number of bins could round over them.
    index = np.maximum(np.searchsorted(edges, confidence) - 1, 0)
    rows = []
    for i, (lower, upper) in enumerate(pairwise(edges.tolist())):
        inside = index == i
        count = int(inside.sum())
        rows.append(
            {
                "lower": lower,
                "upper": upper,
                "count": count,
                "mean_confidence": float(confidence[inside].mean()) if count else None,
                "precision": float(right[inside].mean()) if count else None,
            }
        )
    return rows


def _scores_above(
    threshold: float, confidence: NDArray[np.float64], right: NDArray[np.bool_], gold: int
) -> dict[str, Any]:
    above = confidence >= threshold
    kept, found = int(above.sum()), int((above & right).sum())
    return {
        "threshold": threshold,
        "kept": kept,
        "precision": found / kept if kept else None,
        "recall": found / gold if gold else None,
        "f": f_score(found, kept - found, gold - found),
    }
