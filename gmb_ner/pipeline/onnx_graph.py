"""An ONNX graph of encoder and tag scores, run by onnxruntime on the windows of a batch.

`gmb_ner.deploy.export` writes two kinds. Those of BERT leave padding out, and know the ranges of
their 8-bit numbers: windows of about the same length are read together. The others take the range
of what they read, and so read each window by itself. In either case a text has the same scores
whatever stands beside it.
"""

import os
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gmb_ner.pipeline.wordpieces import Ints, PieceBatch, bucket

# int64 inputs of both kinds: (windows, pieces) each, (windows,) and (places,).
PACKED_INPUTS = ("input_ids", "case_ids", "lengths", "places")
PADDED_INPUTS = ("input_ids", "case_ids", "attention_mask")
# Of windows that are read together, padding included: the weights are fetched for all of them once,
# but what lies between two layers has to stay in a core's cache. 240 take 2 to 3 % less time than
# 160 or 480 (MiniLM, sentences), 10 % less than single windows.
MAX_PIECES = 240
# On CPUs, onnxruntime's sum and norm in one operator takes several times as long as its two: with
# it, a graph of MiniLM that was quantized at run time needed 58 microseconds a piece instead of 44.
DISABLED_OPTIMIZERS = ("SkipLayerNormFusion",)

Scores: TypeAlias = NDArray[np.float32]


class OnnxGraph:
    """A graph in an onnxruntime session, and the threads that run it.

    content: the ONNX file. Either its inputs are some of `PACKED_INPUTS`, and its output is
        (places, tags) float32 scores of pieces at these places of the flattened windows; or some
        of `PADDED_INPUTS`, and it is (windows, pieces, tags).
    tags: how many there are.

    Raises an error of onnxruntime's own where it cannot read the graph.
    """

    def __init__(self, content: bytes, tags: int) -> None:
        import onnxruntime

        self.tags = tags
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session: Any = onnxruntime.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(DISABLED_OPTIMIZERS),
        )
        # An encoder without case embeddings has no input for them.
        self.inputs = {node.name for node in self.session.get_inputs()}
        self.pool: tuple[tuple[int, int], ThreadPoolExecutor] | None = None

    def begin(self, batch: PieceBatch, places: Ints, threads: int) -> Callable[[], Scores]:
        """What is returned waits for the (places, tags) scores of pieces.

        places: (n,) positions in the flattened (windows * pieces,) array of the batch.
        threads: so many of them read at the same time, each on one core.
        """
        scores = np.empty((len(places), self.tags), dtype=np.float32)

        def read(rows: Ints, chosen: Ints) -> None:
            scores[chosen] = self._read(batch, rows, places[chosen])

        reading = self._submit(read, list(self._groups(batch, places, threads)), threads)

        def wait() -> Scores:
            for group in reading:
                group.result()
            return scores

        # Who gives up a stream of texts does not wait for those begun.
        weakref.finalize(wait, _cancel, reading)
        return wait

    def _groups(self, batch: PieceBatch, places: Ints, threads: int) -> Iterator[tuple[Ints, Ints]]:
        """Windows that are read together, longest first, and which of the places are theirs."""
        if not len(batch.lengths):
            return
        # A few windows are shared out among the threads.
        share = -(-len(batch.lengths) // threads) * int(batch.lengths.max())
        size = min(MAX_PIECES, share) if "places" in self.inputs else 1
        groups = list(bucket(batch.lengths, size))
        group = np.empty(len(batch.lengths), dtype=np.int64)
        group[np.concatenate(groups)] = np.repeat(np.arange(len(groups)), list(map(len, groups)))
        of_place = group[places // batch.input_ids.shape[1]]
        order = np.argsort(of_place, kind="stable")
        ends = np.cumsum(np.bincount(of_place, minlength=len(groups)))
        yield from zip(groups, np.split(order, ends[:-1]), strict=True)

    def _read(self, batch: PieceBatch, rows: Ints, places: Ints) -> Scores:
        """The scores of places in some windows."""
        width, longest = batch.input_ids.shape[1], int(batch.lengths[rows].max())
        here = rows, slice(0, longest)
        row, piece = np.divmod(places, width)
        rank = np.empty(len(batch.lengths), dtype=np.int64)
        rank[rows] = np.arange(len(rows))
        within = rank[row] * longest + piece
        feed = {
            "input_ids": batch.input_ids[here],
            "case_ids": batch.case_ids[here],
            "lengths": batch.lengths[rows],
            "places": within,
            "attention_mask": np.ones((len(rows), longest), dtype=np.int64),
        }
        known = {name: array for name, array in feed.items() if name in self.inputs}
        (scores,) = self.session.run(None, known)
        return scores if "places" in self.inputs else scores.reshape(-1, scores.shape[-1])[within]

    def _submit(
        self, read: Callable[[Ints, Ints], None], groups: list[tuple[Ints, Ints]], threads: int
    ) -> list[Future[None]]:
        """Have the groups read by other threads, if there are any."""
        if threads > 1:
            try:
                pool = self._threads(threads)
                return [pool.submit(read, *group) for group in groups]
            except RuntimeError:
                pass  # no thread can be had: the interpreter is ending, or the system has no more
        for group in groups:
            read(*group)
        return []

    def _threads(self, count: int) -> ThreadPoolExecutor:
        # A forked process has none of the threads that it inherits.
        wanted = os.getpid(), count
        if self.pool is None or self.pool[0] != wanted:
            self.pool = wanted, ThreadPoolExecutor(count)
        return self.pool[1]


def _cancel(reading: list[Future[None]]) -> None:
    for group in reading:
        group.cancel()
