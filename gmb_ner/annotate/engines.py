"""Who makes the shards of a job: this process, several on this machine, or Ray's workers."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

from spacy.language import Language

from gmb_ner.annotate.job import Counts, Job, annotate_shard, load
from gmb_ner.annotate.records import Record
from gmb_ner.errors import InputError
from gmb_ner.pipeline.loading import load_beside
from gmb_ner.process import end_with_parent

Shards = Iterable[tuple[int, list[Record]]]
Engine = Callable[[Job, Shards], Iterator[Counts]]
# Shards that wait beside those being made: enough that no worker waits, and memory stays bounded.
AHEAD = 1
RETRIES = 3  # of a shard whose worker died

_nlp: Language | None = None  # of a worker process
_job: Job | None = None


def run_here(job: Job, shards: Shards) -> Iterator[Counts]:
    """One shard after the other, in this process."""
    nlp = load(job)
    for index, records in shards:
        yield annotate_shard(nlp, job, index, records)


def run_processes(job: Job, shards: Shards, processes: int) -> Iterator[Counts]:
    """Several shards at a time, each in a process with a pipeline of its own.

    On a GPU they share it, as one process cannot prepare texts and write entities as fast as it
    reads them. Raises InputError where the pipeline cannot be loaded or a process dies.
    """
    load(job)  # what cannot be loaded is told here, in one sentence
    with ProcessPoolExecutor(
        processes,
        # Not a copy of this process, whose threads it would lack.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_work,
        initargs=(job, processes),
    ) as pool:
        try:
            yield from _ahead(
                lambda index, records: pool.submit(_work, index, records),
                Future.result,
                shards,
                processes + AHEAD,
            )
        except BrokenProcessPool as error:
            raise InputError(
                "A worker process died, for lack of memory perhaps: run again to go on, with "
                "fewer --processes or a smaller --batch-size (a smaller --shard-size needs "
                "another OUTPUT)."
            ) from error


def _begin_work(job: Job, processes: int) -> None:
    global _nlp, _job
    end_with_parent()
    # Ctrl-C ends it at once: a shard is there whole or not at all.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _job, _nlp = job, load_beside(processes, lambda: load(job))


def _work(index: int, records: list[Record]) -> Counts:
    assert _nlp is not None and _job is not None
    return annotate_shard(_nlp, _job, index, records)


def run_ray(
    job: Job, shards: Shards, workers: int, address: str | None, num_gpus: float
) -> Iterator[Counts]:
    """Several shards at a time, each in an actor on a machine of a Ray cluster.

    The output has to be a folder that all machines share; the input is read here. A worker that
    dies is replaced, and its shard made again.

    address: of the cluster; None starts one on this machine. num_gpus: of each worker, which then
        reads on the first that Ray gives it; with 0, on the CPU.
    Raises InputError where ray is missing, the pipeline cannot be loaded, here or by a worker, a
    GPU is asked for without one for the workers, or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("The engine ray is missing: pip install ray.") from error

    if job.gpu_id >= 0 and not num_gpus:
        raise InputError("Ray gives its workers no GPU by --gpu-id alone: add --ray-gpus 1.")
    # What cannot be loaded is told here, in one sentence; this machine may have no GPU.
    load(replace(job, gpu_id=-1))
    # A worker sees no other GPUs than its own, and counts them from 0.
    job = replace(job, gpu_id=0 if num_gpus else -1)
    try:
        ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = f" ({error})" if str(error) else ""
        raise InputError(
            f"Ray cannot be reached at {address or 'this machine'}{reason}: start it there, or "
            "give the address of a cluster that runs."
        ) from error
    # A shard that was cut off leaves nothing behind, and can be made again.
    options: dict[str, Any] = {
        **{"num_cpus": 1, "num_gpus": num_gpus},
        **{"max_restarts": -1, "max_task_retries": RETRIES},
    }
    remote: Any = ray.remote
    actor = remote(**options)(Worker)
    pool = [actor.remote(job) for _ in range(workers)]
    turn = deque(pool)

    def submit(index: int, records: list[Record]) -> Any:
        turn.rotate(1)
        return turn[0].make.remote(index, records)

    def result(reference: Any) -> Counts:
        try:
            counts: Counts = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, InputError):
                raise error.cause from error  # Ray's own says it in a traceback
            raise
        except ray.exceptions.RayActorError as error:
            *_, reason = str(error).splitlines()  # what comes before is a traceback too
            raise InputError(
                f"A worker of Ray died ({reason}): see that gmb-ner and the model are installed on "
                "all machines, and that memory suffices, and run again to go on."
            ) from error
        return counts

    try:
        yield from _ahead(submit, result, shards, workers * (1 + AHEAD))
    finally:
        ray.shutdown()


class Worker:
    """What makes shards in a process of Ray's."""

    def __init__(self, job: Job) -> None:
        # Ray gives it one core, and the others to workers beside it.
        self.job, self.nlp = job, load_beside(os.cpu_count() or 1, lambda: load(job))

    def make(self, index: int, records: list[Record]) -> Counts:
        """Write a shard."""
        return annotate_shard(self.nlp, self.job, index, records)


def _ahead(
    submit: Callable[[int, list[Record]], Any],
    result: Callable[[Any], Counts],
    shards: Shards,
    most: int,
) -> Iterator[Counts]:
    """Hand out shards, so many at most at a time, and yield their counts in order."""
    waiting: deque[Any] = deque()
    for index, records in shards:
        waiting.append(submit(index, records))
        if len(waiting) >= most:
            yield result(waiting.popleft())
    while waiting:
        yield result(waiting.popleft())
