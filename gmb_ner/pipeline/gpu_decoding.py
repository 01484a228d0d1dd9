"""Exact decoding on a GPU, in one step for all sequences of a batch.

`gmb_ner.pipeline.decoding` takes a step from word to word for all sequences at once, which a GPU
spends more time on launching than on taking. Here a kernel takes all steps, one thread a sequence.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from thinc.api import get_array_module
from thinc.util import to_numpy

from gmb_ner.pipeline.decoding import MAX_TAG_RANGE, decode_spans, in_range

Array: TypeAlias = Any  # cupy.ndarray
Ints = NDArray[np.integer]

SOURCE = Path(__file__).parent / "decoding.cu"
MAX_TAGS = 64  # each thread keeps some values for every tag
THREADS = 32  # a block; few, so that the sequences of a batch spread over the GPU


def decode_rows(
    scores: Array, bias: Array, lengths: Ints, start: Array, transition: Array
) -> tuple[tuple[Ints, Ints, Ints, Ints], NDArray[np.float64]] | None:
    """The entities of the best tag sequences, in order, and their probabilities.

    scores: (words of all sequences, T) float32 in CuPy. bias: (T,) float32, added to the scores
        where sequences are chosen. lengths: (sequences,), of any order. start: (T,). transition:
        (T, T), see `decoding.constraints`.

    Returns what `decoding.decode_spans` does (sequence, start, end and B tag of each) and what
    `decoding.span_probabilities` does, in NumPy. None where there are more than `MAX_TAGS` tags or
    scores lie so far apart that their exponentials lose precision.
    """
    words, size = scores.shape
    if size > MAX_TAGS or not in_range(transition):
        return None
    xp = get_array_module(scores)
    begins = np.concatenate(([0], np.cumsum(lengths)))
    tags, confidences, too_wide = xp.empty(words, "i4"), xp.empty(words), xp.zeros(1, "i4")
    _kernel(size)(
        (-(-len(lengths) // THREADS),),
        (THREADS,),
        (
            xp.ascontiguousarray(scores, dtype="f4"),
            xp.asarray(bias, dtype="f4"),
            xp.asarray(begins, dtype="i4"),
            np.int32(len(lengths)),
            xp.asarray(start, dtype="f8"),
            xp.asarray(transition, dtype="f8"),
            xp.asarray(np.exp(transition), dtype="f8"),
            xp.empty((words, size)),
            xp.empty((words, size), "i1"),
            tags,
            confidences,
            too_wide,
        ),
    )
    if to_numpy(too_wide)[0]:
        return None
    # A sequence does not begin with an I tag: one after the other they are like a single one.
    _, starts, ends, b_tags = decode_spans(to_numpy(tags)[None], np.array([words]))
    sequence = np.searchsorted(begins, starts, side="right") - 1
    found = sequence, starts - begins[sequence], ends - begins[sequence], b_tags
    return found, to_numpy(confidences)[starts]


@cache
def _kernel(tags: int) -> Callable[[tuple[int], tuple[int], tuple[Any, ...]], None]:
    """The kernel for a number of tags, called with its grid, its blocks and its arguments."""
    import cupy

    options = (f"-DTAGS={tags}", f"-DMAX_TAG_RANGE={MAX_TAG_RANGE}")
    kernel: Callable[[tuple[int], tuple[int], tuple[Any, ...]], None] = cupy.RawKernel(
        SOURCE.read_text(encoding="utf8"), "decode", options=options
    )
    return kernel
