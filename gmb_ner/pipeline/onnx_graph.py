"""An ONNX graph of encoder and tag scores, run by onnxruntime on the windows of a batch.

`gmb_ner.deploy.export` writes two kinds. Those of BERT leave padding out, and know the ranges of
their 8-bit numbers: windows of about the same length are read together. The others take the range
of what they read, and so read each window by itself. In either case a text has the same scores
whatever stands beside it.
"""

import os
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gmb_ner.pipeline.wordpieces import Ints, PieceBatch, bucket, count_up

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
        threads: so many groups of windows are read at the same time, each on one core.
        """
        scores = np.empty((len(places), self.tags), dtype=np.float32)

        def read(group: _Group) -> None:
            (found,) = self.run(batch, group.rows, group.places)
            if "places" not in self.inputs:
                found = found.reshape(-1, self.tags)[group.places]
            scores[group.chosen] = found

        reading = self._submit(read, self._groups(batch, places, threads), threads)

        def wait() -> Scores:
            for group in reading:
                group.result()
            return scores

        # Who gives up a stream of texts does not wait for those begun.
        weakref.finalize(wait, _cancel, reading)
        return wait

    def run(
        self, batch: PieceBatch, rows: Ints, places: Ints, outputs: list[str] | None = None
    ) -> list[NDArray[Any]]:
        """The outputs for some windows of a batch, all there are or those that are named.

        rows: the windows. places: (n,) positions in their flattened pieces, which are cut off
            behind the longest of them; for graphs that ask for it.
        """
        lengths = batch.lengths[rows]
        longest = int(lengths.max())
        here = rows, slice(0, longest)
        feed = {"input_ids": batch.input_ids[here], "lengths": lengths, "places": places}
        if "case_ids" in self.inputs:
            feed["case_ids"] = batch.case_ids[here]
        if "attention_mask" in self.inputs:
            inside = np.arange(longest) < lengths[:, None]
            feed["attention_mask"] = inside.astype(np.int64)
        known = {name: array for name, array in feed.items() if name in self.inputs}
        found: list[NDArray[Any]] = self.session.run(outputs, known)
        return found

    def _groups(self, batch: PieceBatch, places: Ints, threads: int) -> list["_Group"]:
        """Windows that are read together, longest first."""
        if not len(batch.lengths):
            return []
        size = 1
        if "places" in self.inputs:
            # A few windows are shared out among the threads.
            share = -(-int(batch.lengths.sum()) // threads)
            size = min(MAX_PIECES, share) if threads > 1 else MAX_PIECES
        groups = list(bucket(batch.lengths, size))
        order, counts = np.concatenate(groups), np.array([len(rows) for rows in groups])
        # Of each window its group, and where it begins in the group's flattened pieces.
        group, begin = np.empty((2, len(order)), dtype=np.int64)
        group[order] = np.repeat(np.arange(len(groups)), counts)
        longest = batch.lengths[[rows[0] for rows in groups]]
        begin[order] = count_up(counts) * np.repeat(longest, counts)
        row, piece = np.divmod(places, batch.input_ids.shape[1])
        chosen = np.argsort(group[row], kind="stable")
        ends = np.cumsum(np.bincount(group[row], minlength=len(groups)))
        parts = np.split(chosen, ends[:-1])
        within = begin[row] + piece
        return [_Group(rows, part, within[part]) for rows, part in zip(groups, parts, strict=True)]

    def _submit(
        self, read: Callable[["_Group"], None], groups: list["_Group"], threads: int
    ) -> list[Future[None]]:
        """Have the groups read by other threads, if there are any."""
        if threads > 1:
            try:
                pool = self._threads(threads)
                return [pool.submit(read, group) for group in groups]
            except RuntimeError:
                pass  # no thread can be had: the interpreter is ending, or the system has no more
        for group in groups:
            read(group)
        return []

    def _threads(self, count: int) -> ThreadPoolExecutor:
        # A forked process has none of the threads that it inherits.
        wanted = os.getpid(), count
        if self.pool is None or self.pool[0] != wanted:
            self.pool = wanted, ThreadPoolExecutor(count)
        return self.pool[1]


@dataclass(frozen=True)
class _Group:
    """Windows of a batch that are read together.

    rows: the windows. chosen: which of the places that are asked for are theirs. places: of these
        the positions in their flattened pieces, see `OnnxGraph.run`.
    """

    rows: Ints
    chosen: Ints
    places: Ints


def _cancel(reading: list[Future[None]]) -> None:
    for group in reading:
        group.cancel()
