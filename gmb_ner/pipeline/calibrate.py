"""Fit a temperature, so that confidences mean what they say (Guo et al. 2017)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gmb_ner.pipeline.decoding import forward_backward

LOWEST, HIGHEST = 0.1, 10.0


def fit_temperature(batches: Sequence[tuple[Any, Any, Any]], start: Any, transition: Any) -> float:
    """The temperature under which the gold tag sequences are most likely.

    batches: (scores, lengths, gold) as for `losses.crf_negative_log_likelihood`, NumPy arrays;
        tokens without gold tag (negative) may have any.
    start, transition: see `decoding.constraints`; learned scores among them are scaled too.
    Returns a factor in [0.1, 10] to divide scores by; 1 where nothing has a gold tag.
    Needs SciPy, which comes with the extra `train`.
    """
    from scipy.optimize import minimize_scalar

    if not any((gold >= 0).any() for _, _, gold in batches):
        return 1.0
    tags = np.arange(len(start))

    def loss(log_temperature: float) -> float:
        total = 0.0
        for scores, lengths, gold in batches:
            factor = np.exp(-log_temperature)
            paths = scores * factor, lengths, start * factor, transition * factor
            allowed = (gold[..., None] < 0) | (gold[..., None] == tags)
            free, clamped = forward_backward(*paths), forward_backward(*paths, allowed)
            possible = np.isfinite(clamped.log_partition)
            total += float((free.log_partition - clamped.log_partition)[possible].sum())
        return total

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))
