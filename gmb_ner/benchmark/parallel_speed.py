"""How fast pipelines of several processes are together, on the cores and the GPU they share."""

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import spacy

from gmb_ner.benchmark.prediction_speed import Contestant
from gmb_ner.errors import InputError
from gmb_ner.pipeline.loading import load_beside
from gmb_ner.process import end_with_parent

LONGEST = 300  # seconds until a process has loaded, or read the texts once


def speed_together(
    pipeline: Path,
    texts: Sequence[str],
    words: int,
    *,
    processes: int,
    rounds: int,
    batch_size: int,
    precision: str | None = None,
    gpu_id: int = -1,
) -> float:
    """The median speed of all processes together, in words a second.

    Each reads all of the texts in every round, and once before the first. pipeline: a folder, which
    each process loads for itself. words: of the texts. precision: of prediction, for encoders that
    have a choice. Raises InputError where a process fails, or takes longer than `LONGEST`.
    """
    context = multiprocessing.get_context("spawn")
    arguments = (pipeline, texts, batch_size, precision, gpu_id, processes)
    workers, connections = [], []
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            connections.append(ours)
            workers.append(context.Process(target=_work, args=(*arguments, theirs), daemon=True))
            workers[-1].start()
            # So that the other end is closed when the process has ended, for whatever reason.
            theirs.close()
        _wait(connections)
        seconds = []
        for _ in range(rounds):
            started = time.perf_counter()
            for connection in connections:
                connection.send(True)
            _wait(connections)
            seconds.append(time.perf_counter() - started)
    except (EOFError, OSError) as error:
        raise InputError(
            f"{pipeline} could not be read by {processes} processes at a time: see above."
        ) from error
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    return processes * words / median(seconds)


def _wait(connections: Sequence[Connection]) -> None:
    """Wait for a sign of each process; raises EOFError where one has ended."""
    for connection in connections:
        if not connection.poll(LONGEST):
            raise TimeoutError
        connection.recv()


def _work(
    pipeline: Path,
    texts: Sequence[str],
    batch_size: int,
    precision: str | None,
    gpu_id: int,
    processes: int,
    parent: Connection,
) -> None:
    end_with_parent()
    if gpu_id >= 0:
        spacy.require_gpu(gpu_id)
    loaded = load_beside(processes, lambda: spacy.load(pipeline))
    nlp = Contestant(loaded, precision).ready()
    while True:
        for _ in nlp.pipe(texts, batch_size=batch_size):
            pass
        parent.send(True)
        parent.recv()
