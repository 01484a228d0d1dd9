"""Whether `gmb_ner annotate` survives being killed: nothing lost, nothing twice, order kept."""

import json
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path

from spacy.tokens import Doc

from gmb_ner.errors import InputError
from gmb_ner.files import atomic_path


@dataclass(frozen=True)
class Endurance:
    """What became of a job that was killed on its way.

    documents, words: annotated in all. kills: how often it was killed, or a worker of it.
    seconds: of all runs together. peak: of the resident memory of the largest process, in bytes.
    """

    documents: int
    words: int
    kills: int
    seconds: float
    peak: int


def write_texts(docs: Sequence[Doc], documents: int, path: Path) -> None:
    """Write so many sentences to a .jsonl, numbered, the Docs' own over and over."""
    sentences = [sentence.text for doc in docs for sentence in doc.sents]
    with atomic_path(path) as part, part.open("w", encoding="utf-8") as file:
        for number, text in enumerate(islice(cycle(sentences), documents)):
            file.write(json.dumps({"id": number, "text": text}) + "\n")


def annotate_with_kills(
    texts: Path, output: Path, model: str, *, kills: int, every: float, options: Sequence[str] = ()
) -> Endurance:
    """Annotate the texts of `write_texts` while SIGKILL comes at random, and look at the output.

    output: a folder that is not there yet.
    kills: so often the command is killed and started again; with the engine ray among `options`,
        one of its workers is killed instead, and the command goes on by itself.
    every: seconds between kills, from a half of it to three halves.
    options: further arguments of the command.
    Raises InputError if it ends with an error or before all kills, or if a text is missing, there
    twice or in the wrong place.
    """
    command = [sys.executable, "-m", "gmb_ner", "annotate", str(texts), str(output)]
    command += ["--model", model, "--keep", "id", *options]
    drawn = random.Random(0)
    started = time.perf_counter()
    left = kills
    running = subprocess.Popen(command)
    while left:
        if _ends_within(running, drawn.uniform(0.5, 1.5) * every):
            raise InputError(f"{left} kills were left when all was done: take more documents.")
        if "ray" in options:
            if not (workers := _ray_workers()):
                continue  # they are still starting
            _kill(drawn.choice(workers))
        else:
            running.kill()
            running.wait()
            running = subprocess.Popen(command)
        left -= 1
    if running.wait():
        raise InputError(f"The command ended with code {running.returncode}.")
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    documents, words = check_output(texts, output)
    return Endurance(documents, words, kills, seconds, peak)


def _ends_within(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _ray_workers() -> list[int]:
    found = subprocess.run(["pgrep", "-f", "^ray::Worker"], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def _kill(worker: int) -> None:
    subprocess.run(["kill", f"-{signal.SIGKILL.value}", str(worker)], check=True)


def check_output(texts: Path, output: Path) -> tuple[int, int]:
    """How many texts there are, and words between spaces, all annotated once and in order.

    Raises InputError where that is not so, or something was left behind.
    """
    documents = words = 0
    shards = chain.from_iterable(map(_lines, sorted(output.glob("part-*.jsonl"))))
    for given in _lines(texts):
        found = next(shards, None)
        if found is None or (found["id"], found["text"]) != (given["id"], given["text"]):
            raise InputError(f"Text {given['id']} of {texts} is not in its place in {output}.")
        documents += 1
        words += len(given["text"].split())
    if next(shards, None) is not None:
        raise InputError(f"{output} has more texts than {texts}.")
    if left := [*output.rglob(".*.part"), *output.glob("errors/*")]:
        raise InputError(f"{output} holds what should not be there: {left[0].name}.")
    return documents, words


def _lines(path: Path) -> Iterator[dict]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)
