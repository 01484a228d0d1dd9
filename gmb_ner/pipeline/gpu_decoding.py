"""Exact decoding on a GPU, in one step for all sequences of a batch.

`gmb_ner.pipeline.decoding` takes a step from word to word for all sequences at once, which a GPU
spends more time on launching than on taking. Here a kernel takes all steps, one thread a sequence.
"""

import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from thinc.api import get_array_module

from gmb_ner.pipeline.decoding import LOWEST, MAX_TAG_RANGE, decode_spans, transitions_in_range

Array: TypeAlias = Any  # cupy.ndarray
Ints = NDArray[np.integer]
Decoded: TypeAlias = tuple[tuple[Ints, Ints, Ints, Ints], NDArray[np.float64]]

SOURCE = Path(__file__).parent / "decoding.cu"
MAX_TAGS = 64  # each thread keeps some values for every tag
THREADS = 32  # a block; few, so that the sequences of a batch spread over the GPU


def decode_rows(
    scores: Array, bias: Array, lengths: Ints, start: Array, transition: Array
) -> Callable[[], Decoded | None] | None:
    """Begin to find the entities of the best tag sequences, in order, and their probabilities.

    scores: (words of all sequences, T) float32 in CuPy. bias: (T,) float32, added to the scores
        where sequences are chosen. lengths: (sequences,), of any order. start: (T,). transition:
        (T, T), see `decoding.constraints`.

    Returns a function that waits for the GPU and gives what `decoding.decode_spans` does
    (sequence, start, end and B tag of each) and what `decoding.span_probabilities` does, in NumPy;
    None where scores lie so far apart that their exponentials lose precision. Where transitions do,
    or there are more than `MAX_TAGS` tags, nothing is begun: None.
    """
    words, size = scores.shape
    if size > MAX_TAGS or not transitions_in_range(transition):
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
    copied = _start_copy(tags, confidences, too_wide)

    def decoded() -> Decoded | None:
        tags, confidences, too_wide = copied()
        if too_wide[0]:
            return None
        # A sequence does not begin with an I tag: one after the other they are like a single one.
        _, starts, ends, b_tags = decode_spans(tags[None], np.array([words]))
        sequence = np.searchsorted(begins, starts, side="right") - 1
        found = sequence, starts - begins[sequence], ends - begins[sequence], b_tags
        return found, confidences[starts]

    return decoded


def _start_copy(*arrays: Array) -> Callable[[], list[NDArray[Any]]]:
    """Copy arrays from the GPU once it has made them; who asks for the copies waits for that."""
    import cupy
    import cupyx

    stream = cupy.cuda.get_current_stream()
    # Waiting for it leaves the core to others.
    done = cupy.cuda.Event(block=True, disable_timing=True)
    copies = [cupyx.empty_pinned(array.shape, array.dtype) for array in arrays]

    def copied() -> list[NDArray[Any]]:
        done.synchronize()
        return copies

    # Who never asks leaves the GPU writing: that memory must not be another's before it is done.
    weakref.finalize(copied, done.synchronize).atexit = False
    for array, copy in zip(arrays, copies, strict=True):
        array.get(stream=stream, out=copy, blocking=False)
    done.record(stream)
    return copied


def macros(tags: int) -> dict[str, float]:
    """What the compiler of the kernel is told."""
    return {"TAGS": tags, "MAX_TAG_RANGE": MAX_TAG_RANGE, "LOWEST": LOWEST}


@cache
def _kernel(tags: int) -> Callable[[tuple[int], tuple[int], tuple[Any, ...]], None]:
    """The kernel for a number of tags, called with its grid, its blocks and its arguments."""
    import cupy

    options = tuple(f"-D{name}={value}" for name, value in macros(tags).items())
    kernel: Callable[[tuple[int], tuple[int], tuple[Any, ...]], None] = cupy.RawKernel(
        SOURCE.read_text(encoding="utf8"), "decode", options=options
    )
    return kernel
