"""Losses of tag scores, with their gradients; tokens without gold tag need none."""

from typing import Any, TypeAlias

from thinc.api import get_array_module

from gmb_ner.pipeline.decoding import forward_backward, tag_marginals, transition_marginals

Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray, which share no type


def log_softmax(scores: Array) -> Array:
    """Log probabilities over the last axis."""
    xp = get_array_module(scores)
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))


def cross_entropy(
    scores: Array, gold: Array, tag_weights: Array, smoothing: float
) -> tuple[float, Array]:
    """Mean cross-entropy of the tokens with gold tag, in nats, and its gradient by the scores.

    scores: (tokens, tags). gold: (tokens,) indices, negative where missing. tag_weights: (tags,)
    how much a token counts by its gold tag. smoothing: the share of the probability spread evenly
    over all tags (label smoothing, Szegedy et al. 2016), in [0, 1).
    """
    xp = get_array_module(scores)
    known = gold >= 0
    weights = xp.where(known, tag_weights[gold], 0)
    total = max(float(weights.sum()), 1e-8)
    target = xp.full(scores.shape, smoothing / scores.shape[-1], dtype=scores.dtype)
    target[xp.arange(len(gold)), xp.where(known, gold, 0)] += 1 - smoothing
    log_p = log_softmax(scores)
    scale = (weights / total)[:, None]
    loss = -(scale * target * log_p).sum()
    return float(loss), (scale * (xp.exp(log_p) - target)).astype(scores.dtype)


def crf_negative_log_likelihood(
    scores: Array,
    gold: Array,
    lengths: Array,
    start: Array,
    transition: Array,
    d_transition: Array | None = None,
) -> tuple[float, Array]:
    """Negative log-likelihood of the gold sequences for each known token, and its gradient.

    scores: (sequences, length, tags). gold: (sequences, length) indices, negative where missing:
    there every tag is possible and the likelihood is summed over them (Tsuboi et al. 2008).
    lengths: (sequences,). start, transition: see `decoding.constraints`.
    d_transition: (tags, tags), to which the gradient by the transitions is added.
    Sequences whose gold tags are not IOB2 have no likelihood; they are left out.
    """
    xp = get_array_module(scores)
    inside = xp.arange(scores.shape[1]) < lengths[:, None]
    free = forward_backward(scores, lengths, start, transition)
    clamp = _clamp_known if bool(((gold >= 0) | ~inside).all()) else _clamp
    clamped, marginals = clamp(scores, gold, lengths, start, transition)
    possible = xp.isfinite(clamped)
    total = max(int(((gold >= 0) & inside & possible[:, None]).sum()), 1)
    loss = (free.log_partition - xp.where(possible, clamped, free.log_partition)).sum()
    gradient = (tag_marginals(free) - marginals) * possible[:, None, None]
    if d_transition is not None:
        tags = xp.arange(scores.shape[-1])
        allowed = (gold[..., None] < 0) | (gold[..., None] == tags)
        paths = forward_backward(scores, lengths, start, transition, allowed)
        expected = transition_marginals(free) - transition_marginals(paths)
        d_transition += (expected * possible[:, None, None]).sum(axis=0) / total
    return float(loss) / total, (gradient / total).astype(scores.dtype)


def _clamp(
    scores: Array, gold: Array, lengths: Array, start: Array, transition: Array
) -> tuple[Array, Array]:
    """log_partition and tag marginals of the paths through all gold tags."""
    tags = get_array_module(scores).arange(scores.shape[-1])
    allowed = (gold[..., None] < 0) | (gold[..., None] == tags)
    clamped = forward_backward(scores, lengths, start, transition, allowed)
    return clamped.log_partition, tag_marginals(clamped)


def _clamp_known(
    scores: Array, gold: Array, lengths: Array, start: Array, transition: Array
) -> tuple[Array, Array]:
    """The same where no gold tag is missing, so that each sequence has one path."""
    xp = get_array_module(scores)
    inside = xp.arange(scores.shape[1]) < lengths[:, None]
    path = xp.where(inside, gold, 0)
    steps = xp.take_along_axis(scores.astype("f8"), path[..., None], axis=2)[..., 0]
    steps[:, 1:] += transition[path[:, :-1], path[:, 1:]]
    steps[:, :1] += start[path[:, :1]]
    marginals = (path[..., None] == xp.arange(scores.shape[-1])) & inside[..., None]
    return xp.where(inside, steps, 0.0).sum(axis=1), marginals.astype("f8")
