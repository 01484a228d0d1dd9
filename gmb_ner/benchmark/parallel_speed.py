"""How fast pipelines of several processes are together, on the cores and the GPU they share."""

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from threading import BrokenBarrierError

import spacy

from gmb_ner.benchmark.prediction_speed import Contestant
from gmb_ner.benchmark.process import end_with_parent
from gmb_ner.errors import InputError
from gmb_ner.pipeline.loading import load_beside

LONGEST = 300  # seconds until all processes have loaded, or read the texts once


def words_per_second(
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
    """The median speed of all processes together; each reads all of the texts in every round.

    pipeline: a folder, which each process loads for itself. words: of the texts. precision: of
    prediction, for encoders that have a choice. Before the first round each reads the texts once.
    Raises InputError where a process fails, or takes longer than `LONGEST`.
    """
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(processes + 1)
    arguments = (pipeline, texts, rounds, batch_size, precision, gpu_id, processes, together)
    workers = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    seconds = []
    try:
        for _ in range(rounds):
            together.wait(LONGEST)
            started = time.perf_counter()
            together.wait(LONGEST)
            seconds.append(time.perf_counter() - started)
    except BrokenBarrierError as error:
        raise InputError(
            f"{pipeline} could not be read by {processes} processes at a time: see above."
        ) from error
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    return processes * words / median(seconds)


def _work(
    pipeline: Path,
    texts: Sequence[str],
    rounds: int,
    batch_size: int,
    precision: str | None,
    gpu_id: int,
    processes: int,
    together: Barrier,
) -> None:
    end_with_parent()
    try:
        if gpu_id >= 0:
            spacy.require_gpu(gpu_id)
        loaded = load_beside(processes, lambda: spacy.load(pipeline))
        nlp = Contestant(loaded, precision).ready()
        for counted in range(rounds + 1):
            if counted:
                together.wait(LONGEST)
            for _ in nlp.pipe(texts, batch_size=batch_size):
                pass
            if counted:
                together.wait(LONGEST)
    except BaseException:
        together.abort()
        raise
