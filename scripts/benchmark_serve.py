"""Measure the service on this machine: latencies by the number of clients, and its memory."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import spacy
import typer
from wasabi import table

from gmb_ner.benchmark.load import Load, load
from gmb_ner.benchmark.prediction_speed import texts_of
from gmb_ner.console import numbers, step
from gmb_ner.errors import InputError
from gmb_ner.evaluation.files import load_docs


@step("benchmark serve")
def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of the converted corpus.")],
    model: Annotated[str, typer.Argument(help="Name or folder of a pipeline.")],
    clients: Annotated[str, typer.Option(help="At the same time, by commas.")] = "1,8,32",
    seconds: Annotated[float, typer.Option(min=1, help="Of each number of clients.")] = 20,
    words: Annotated[int, typer.Option(min=1, help="Of the sentences that are asked.")] = 20_000,
) -> None:
    """Print answers a second, p50, p95 and p99, and the memory after a tenth and at the end."""
    counts = numbers(clients)
    docs = load_docs(corpus / "test.spacy", spacy.blank("en").vocab)
    texts, _ = texts_of(docs, 1, words)
    with _service(model) as (address, pid):
        loads = [
            asyncio.run(load(address, texts, clients=count, seconds=seconds, pid=pid))
            for count in counts
        ]
    print(_table(loads))


@contextmanager
def _service(model: str) -> Iterator[tuple[str, int]]:
    """A service of a pipeline on a free port: its address and the number of its process."""
    command = [sys.executable, "-m", "gmb_ner", "serve", "--model", model, "--port", "0"]
    with tempfile.TemporaryFile("w+") as log:
        # The clients have no key.
        environment = {name: os.environ[name] for name in os.environ if name != "GMB_NER_API_KEY"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            while True:
                log.seek(0)
                said = log.read()
                if found := re.search(r"http://127\.0\.0\.1:\d+", said):
                    break
                if process.poll() is not None:
                    raise InputError(f"The service does not start: {said.strip()}")
                time.sleep(0.1)
            yield found[0], process.pid
        finally:
            process.terminate()
            process.wait()


def _table(loads: list[Load]) -> str:
    rows = []
    for one in loads:
        early = one.memory[len(one.memory) // 10] / 1e6 if one.memory else 0
        late = one.memory[-1] / 1e6 if one.memory else 0
        latencies = (f"{1000 * one.latency(share):.1f}" for share in (0.5, 0.95, 0.99))
        speed = (one.clients, f"{one.per_second:,.0f}", *latencies, one.refused)
        rows.append((*speed, f"{early:,.0f}", f"{late:,.0f}"))
    header = (
        "clients",
        "answers/s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "refused",
        "MB early",
        "MB late",
    )
    return str(table(rows, header=header, divider=True, aligns=("r",) * len(header)))


if __name__ == "__main__":
    typer.run(main)
