"""Exact decoding of IOB2 tag sequences, and exact posteriors of tags, transitions and spans.

The model is a linear-chain CRF (Lafferty et al. 2001): a sequence's score is the sum of its tags'
scores, its first tag's start score and its transitions' scores. Scores are natural logarithms up
to a constant per sequence, finite or -inf, never NaN; computation is in float64.

B is the batch size, L the padded length, T = 1 + 2 * labels the number of tags. Work is done
where `scores` lives, in NumPy or CuPy; the other arrays may be NumPy arrays in either case.
Sequences in order of falling length take the least: a step leaves out those at the end of a batch
that are over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from thinc.api import get_array_module

Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray, which share no type

# A product of exponentials keeps its full precision down to exp(-708), the smallest normal
# float64: tags may lie this far behind the best one, and transitions be this far from 0.
MAX_TAG_RANGE = 600.0
MAX_TRANSITION = 100.0
# Stands in for a maximum of -inf, which could not be subtracted without NaN.
LOWEST = -1e300
CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True, eq=False)
class Lattice:
    """All paths of a batch, as left by `forward_backward`.

    forward: (B, L, T), log of the summed exp-scores of all paths that end in a tag at a token,
        the token included; -inf beyond a length.
    backward: (B, L, T), the same for all continuations after the token; 0 from the last on.
    log_partition: (B,), log of the sum over all paths; 0 for length 0, -inf without any path.
    scores: (B, L, T), float64, -inf beyond a length and for tags that are not allowed.
    lengths: (B,). start: (T,). transition: (T, T).

    The three-dimensional arrays are views of time-major memory.
    """

    forward: Array
    backward: Array
    log_partition: Array
    scores: Array
    lengths: Array
    start: Array
    transition: Array


def tag_names(labels: Sequence[str]) -> list[str]:
    """The tags by index: O, then B and I of each label, in the order of `labels`."""
    return ["O", *(f"{prefix}-{label}" for label in labels for prefix in "BI")]


def constraints(labels: Sequence[str]) -> tuple[Array, Array]:
    """IOB2 as scores of first tags and of tag pairs: 0 if allowed, -inf if not.

    Returns NumPy float64 arrays: start (T,), and transition (T, T) from row to column. I-x is not
    allowed at the start, and only after B-x or I-x.
    """
    size = len(tag_names(labels))
    start, transition = np.zeros(size), np.zeros((size, size))
    inside = np.arange(2, size, 2)
    start[inside] = -np.inf
    transition[:, inside] = -np.inf
    transition[inside - 1, inside] = 0
    transition[inside, inside] = 0
    return start, transition


def viterbi(scores: Array, lengths: Array, start: Array, transition: Array) -> Array:
    """The best tag sequences (Viterbi 1967).

    scores: (B, L, T), any float type. lengths: (B,) ints, 0..L, not checked. start: (T,).
    transition: (T, T), see `constraints`; may hold learned scores beside the -inf.

    Returns tags (B, L), int32, 0 beyond a length. Of equal paths one is returned; where every
    path scores -inf, a sequence that `constraints` allows. Raises ValueError for shapes that do
    not fit.
    """
    xp, scores, lengths, start, transition = _prepare(scores, lengths, start, transition)
    steps, _, batch = scores.shape
    best = xp.empty_like(scores)
    tags = xp.zeros((steps, batch), dtype="i4")
    into = xp.ascontiguousarray(transition.T)[:, :, None]
    reach = _reach(xp, lengths, steps)
    for t, n in enumerate(reach):
        previous = (into + best[t - 1, :, :n]).max(axis=1) if t else start[:, None]
        xp.add(previous, scores[t, :, :n], out=best[t, :, :n])
    # Predecessors are found again on the way back, for one tag per token: that is T times less
    # work than to keep the argmax of every tag on the way forth.
    continued = xp.arange(1, steps + 1)[:, None] < lengths
    following = xp.zeros(batch, dtype="i4")
    for t, n in reversed(list(enumerate(reach))):
        onward = xp.where(continued[t, :n], transition[:, following[:n]], 0.0)
        following[:n] = tags[t, :n] = (best[t, :, :n] + onward).argmax(axis=0)
    return xp.ascontiguousarray(xp.where(xp.arange(steps)[:, None] < lengths, tags, 0).T)


def forward_backward(
    scores: Array, lengths: Array, start: Array, transition: Array, allowed: Array | None = None
) -> Lattice:
    """Sum over all paths, from both ends (forward-backward algorithm, Rabiner 1989).

    scores, lengths, start, transition: see `viterbi`.
    allowed: (B, L, T) bool, the tags possible at each token; None for all. With the annotated tag
        alone where there is annotation and every tag where there is none, log_partition is the
        log-numerator of a CRF's likelihood under partial annotation (Tsuboi et al. 2008).

    A sequence without any possible path gets log_partition -inf, and posteriors of 0. Raises
    ValueError for shapes that do not fit.
    """
    xp, scores, lengths, start, transition = _prepare(scores, lengths, start, transition, allowed)
    dense = not transitions_in_range(transition)
    forward, backward = _sweep(xp, scores, lengths, start, transition, dense)
    if not dense and (_too_wide(forward) or _too_wide(backward + scores)):
        forward, backward = _sweep(xp, scores, lengths, start, transition, True)
    log_partition = xp.zeros(len(lengths))
    if len(scores):
        total = _log_sum_exp(xp, start[:, None] + scores[0] + backward[0], 0)
        log_partition = xp.where(lengths > 0, total, 0.0)
    forward, backward, scores = (a.transpose(2, 0, 1) for a in (forward, backward, scores))
    return Lattice(forward, backward, log_partition, scores, lengths, start, transition)


def transitions_in_range(transition: Array) -> bool:
    """Whether the exponentials of all transitions keep their precision beside others."""
    xp = get_array_module(transition)
    magnitude = xp.where(xp.isinf(transition), 0.0, xp.abs(transition))
    return not bool((magnitude > MAX_TRANSITION).any())


def tag_marginals(lattice: Lattice) -> Array:
    """The posterior of each tag at each token: (B, L, T) float64, 0 beyond a length."""
    xp = get_array_module(lattice.forward)
    paths = lattice.forward + lattice.backward - _finite_partition(lattice)[:, None, None]
    # Rounding may leave a certain tag a little above 0.
    return xp.ascontiguousarray(xp.exp(xp.minimum(paths, 0.0)))


def transition_marginals(lattice: Lattice) -> Array:
    """The expected number of each transition in each sequence: (B, T, T) float64.

    This is the gradient of log_partition by the transition scores; that by the start scores is
    the first token's `tag_marginals`.
    """
    xp = get_array_module(lattice.forward)
    batch, steps, size = lattice.forward.shape
    counts = xp.zeros((batch, size, size))
    before = (lattice.forward - _finite_partition(lattice)[:, None, None])[:, :-1, :, None]
    after = (lattice.scores + lattice.backward)[:, 1:, None, :]
    chunk = max(1, CHUNK_BYTES // max(1, counts.nbytes))
    for t in range(0, steps - 1, chunk):
        pairs = before[:, t : t + chunk] + after[:, t : t + chunk]
        pairs += lattice.transition
        counts += xp.exp(pairs, out=pairs).sum(axis=1)
    return counts


def span_probabilities(
    lattice: Lattice, batch: Array, starts: Array, ends: Array, b_tags: Array
) -> Array:
    """The posterior of entities: that a sequence holds exactly this span with this label.

    batch, starts, ends, b_tags: (N,) ints each. A span covers the tokens starts..ends - 1 of its
        sequence, with 0 <= start < end <= L (not checked); b_tags are the B tags of the labels,
        whose I tags follow them.

    Returns (N,) float64: B at the start, I on all other tokens, no I of the label after the end.
    Spans that reach beyond their sequence's length get 0. It is a case of constrained
    forward-backward (Culotta and McCallum 2004) in closed form, as a span has only one path.
    """
    xp = get_array_module(lattice.forward)
    batch, starts, ends, b_tags = (xp.asarray(a) for a in (batch, starts, ends, b_tags))
    _, steps, size = lattice.forward.shape
    i_tags, inner = b_tags + 1, ends - starts - 1
    # Of each span all places up to the longest one's end; those that are not its own count 0.
    further = xp.arange(int(inner.max()) if len(inner) else 0)
    places = xp.minimum(starts[:, None] + 1 + further, steps - 1)
    scores = lattice.scores[batch[:, None], places, i_tags[:, None]]
    inside = xp.where(further < inner[:, None], scores, 0.0).sum(axis=1)
    inside += xp.where(inner > 0, lattice.transition[b_tags, i_tags], 0.0)
    repeats = xp.maximum(inner - 1, 1)
    inside += xp.where(inner > 1, repeats * lattice.transition[i_tags, i_tags], 0.0)

    # Summing over the other tags, rather than subtracting the continued span, keeps the relative
    # precision of small probabilities.
    following = xp.minimum(ends, steps - 1)
    onward = lattice.transition[xp.where(inner > 0, i_tags, b_tags)]
    onward = onward + lattice.scores[batch, following] + lattice.backward[batch, following]
    onward = xp.where(xp.arange(size) == i_tags[:, None], -np.inf, onward)
    leave = xp.where(ends < lattice.lengths[batch], _log_sum_exp(xp, onward, 1), 0.0)
    path = lattice.forward[batch, starts, b_tags] + inside + leave
    return xp.exp(xp.minimum(path - _finite_partition(lattice)[batch], 0.0))


def decode_spans(tags: Array, lengths: Array) -> tuple[Array, Array, Array, Array]:
    """The entities of tag sequences, in order: batch, starts, ends and b_tags, (N,) ints each.

    tags: (B, L) ints, valid IOB2 within lengths, as from `viterbi`. lengths: (B,) ints. The
    results are those that `span_probabilities` takes.
    """
    xp = get_array_module(tags)
    width = tags.shape[1]
    tags = xp.where(xp.arange(width) < xp.asarray(lengths)[:, None], tags, 0)
    inside = (tags > 0) & (tags % 2 == 0)
    last = tags > 0
    last[:, :-1] &= ~inside[:, 1:]
    # Entities do not overlap, so that first and last tokens come in the same order.
    batch, starts = xp.nonzero(tags % 2 == 1)
    ends = xp.nonzero(last)[1] + 1
    return batch, starts, ends, tags[batch, starts]


def _prepare(
    scores: Array, lengths: Array, start: Array, transition: Array, allowed: Array | None = None
) -> tuple[Any, Array, Array, Array, Array]:
    """The array module, scores as (L, T, B) with -inf for what is not possible, and the others."""
    xp = get_array_module(scores)
    lengths, start, transition = (xp.asarray(a) for a in (lengths, start, transition))
    batch, steps, size = scores.shape
    shapes = (lengths.shape, start.shape, transition.shape)
    if shapes != ((batch,), (size,), (size, size)):
        raise ValueError(
            f"lengths, start and transition have shapes {shapes}, which do not fit scores of "
            f"shape {scores.shape}."
        )
    possible = (xp.arange(steps) < lengths[:, None])[:, :, None]
    if allowed is not None:
        if allowed.shape != scores.shape:
            raise ValueError(f"allowed has shape {allowed.shape}, scores have {scores.shape}.")
        possible = possible & xp.asarray(allowed)
    # With the batch last, each reduction over tags runs along contiguous memory.
    scores = xp.where(possible, scores.astype("f8"), -np.inf)
    scores = xp.ascontiguousarray(scores.transpose(1, 2, 0))
    return xp, scores, lengths, start.astype("f8"), transition.astype("f8")


def _reach(xp: Any, lengths: Array, steps: int) -> list[int]:
    """For each step, how many sequences there are up to the last one that is not over yet."""
    lasting = xp.arange(steps)[:, None] < lengths
    followed = xp.cumsum(lasting[:, ::-1], axis=1) > 0
    reach: list[int] = followed.sum(axis=1).tolist()
    return reach


def _sweep(
    xp: Any, scores: Array, lengths: Array, start: Array, transition: Array, dense: bool
) -> tuple[Array, Array]:
    """Forward and backward, (L, T, B) each; `dense` for a range that `_step` cannot hold."""
    forward, backward = xp.full_like(scores, -np.inf), xp.zeros_like(scores)
    steps = len(scores)
    reach = _reach(xp, lengths, steps)
    table = transition if dense else xp.exp(transition)
    into = xp.ascontiguousarray(table.T)
    step = _dense_step if dense else _step
    continued = xp.arange(1, steps + 1)[:, None] < lengths
    with np.errstate(divide="ignore", under="ignore"):
        for t, n in enumerate(reach):
            previous = step(xp, into, forward[t - 1, :, :n]) if t else start[:, None]
            xp.add(previous, scores[t, :, :n], out=forward[t, :, :n])
        for t in range(steps - 2, -1, -1):
            n = reach[t + 1]
            onward = step(xp, table, backward[t + 1, :, :n] + scores[t + 1, :, :n])
            backward[t, :, :n] = xp.where(continued[t, :n], onward, 0.0)
    return forward, backward


def _step(xp: Any, exp_table: Array, values: Array) -> Array:
    """log(exp_table @ exp(values)), for values (T, B) within MAX_TAG_RANGE."""
    peak = xp.maximum(values.max(axis=0), LOWEST)
    return xp.log(exp_table @ xp.exp(values - peak)) + peak


def _dense_step(xp: Any, table: Array, values: Array) -> Array:
    """log(exp(table) @ exp(values)) for values (T, B) of any range, at T times the cost."""
    return _log_sum_exp(xp, table[:, :, None] + values, 1)


def _log_sum_exp(xp: Any, values: Array, axis: int) -> Array:
    """log(sum(exp(values))) along an axis, -inf if all values are."""
    peak = xp.maximum(values.max(axis=axis, keepdims=True), LOWEST)
    with np.errstate(divide="ignore", under="ignore"):
        return xp.log(xp.exp(values - peak).sum(axis=axis)) + peak.squeeze(axis)


def _too_wide(values: Array) -> bool:
    """Whether a possible tag lies so far behind the best that its exponential underflows."""
    floor = values.max(axis=1, keepdims=True) - MAX_TAG_RANGE
    return bool(((values > -np.inf) & (values < floor)).any())


def _finite_partition(lattice: Lattice) -> Array:
    """log_partition, with 0 for sequences without a path, all of whose sums are -inf already."""
    xp = get_array_module(lattice.log_partition)
    return xp.where(xp.isinf(lattice.log_partition), 0.0, lattice.log_partition)
