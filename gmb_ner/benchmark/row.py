"""One row of the benchmark, made in processes of its own: `python -m gmb_ner.benchmark.row`.

A row is a system, a protocol, a seed and a share of the training part. Training and scoring are
processes, so that what they need of memory is theirs, and that one that fails takes no other along.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gmb_ner.errors import InputError
from gmb_ner.files import read_object, write_json
from gmb_ner.process import end_with_parent, peak_bytes

RUN, SCORES, TRAINED, SCORED = "run.json", "scores.json", "trained.json", "scored.json"
PROCESS = "process.json"  # what a process says of itself at its end
TOLD = 2_000  # characters of a failed process' last words
LOOK = 0.2  # seconds from one look at a process to the next


@dataclass(frozen=True)
class Row:
    """What is trained and scored.

    part: every so many Docs of the training part train, 1 for all.
    max_steps: the training ends after so many batches, 0 for as many as the config says.
    """

    system: str
    protocol: str = "canonical"
    seed: int = 0
    part: int = 1
    max_steps: int = 0

    @property
    def name(self) -> str:
        """Of its folder and its file, below those of the protocol."""
        part = f"-{self.part}th" if self.part > 1 else ""
        return f"{self.system}-{self.seed}{part}" + (
            f"-{self.max_steps}steps" if self.max_steps else ""
        )


@dataclass(frozen=True)
class Place:
    """Where a row finds what it needs, and leaves what it makes.

    corpus: the converted corpus. folder: of the row. prepared: shared by rows of one kind.
    encoder: the directory of the encoder, if it needs one. glove: a text file of vectors.
    one_core: it has one core and leaves the others to other rows.
    """

    corpus: str
    folder: str
    prepared: str
    encoder: str | None = None
    glove: str | None = None
    gpu_id: int = -1
    one_core: bool = False


class RowError(Exception):
    """A process of a row failed; the message is what it said last."""


def make_row(row: Row, place: Place, stop: threading.Event | None = None) -> dict[str, Any]:
    """Train and score a row, each where that is not done yet.

    stop: once another thread sets it, what runs is ended and CancelledError raised.
    Returns what `gmb_ner.evaluation.evaluate.evaluate` found, and besides: `row`, `sentence_counts`
    and `forms` (see `score_row`); `training` and `prediction`, each with the `seconds` that its
    process took, `words_per_second` and `peak_bytes`; and `model_bytes`. Raises RowError where a
    process fails.
    """
    folder = Path(place.folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "task.json", {"row": asdict(row), "place": asdict(place)})
    stop = stop or threading.Event()
    trained = _once(folder, "train", folder / TRAINED, place.one_core, stop)
    scored = _once(folder, "score", folder / SCORED, place.one_core, stop)
    run = read_object(folder / RUN, "remove the folder and run the benchmark again")
    result = read_object(folder / SCORES, "remove the folder and run the benchmark again")
    return {
        "row": asdict(row),
        **result,
        "training": {
            "seconds": trained["seconds"],
            "words_per_second": run["words_per_second"],
            "peak_bytes": trained["peak_bytes"],
        },
        "prediction": {
            "seconds": scored["seconds"],
            "words_per_second": result["words_per_second"],
            "peak_bytes": scored["peak_bytes"],
        },
    }


def _once(
    folder: Path, task: str, record: Path, one_core: bool, stop: threading.Event
) -> dict[str, Any]:
    """Run a task in a process unless its record is there; the record tells what it took."""
    if record.is_file():
        return read_object(record, "remove the folder and run the benchmark again")
    started = time.perf_counter()
    command = [sys.executable, "-m", "gmb_ner.benchmark.row", task, str(folder / "task.json")]
    # So that rows side by side do not fight for cores: torch, blis and most BLAS heed it.
    threads = {"OMP_NUM_THREADS": "1"} if one_core else {}
    log = folder / f"{task}.log"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | threads
        )
        try:
            while (code := process.poll()) is None:
                if stop.wait(LOOK):
                    raise CancelledError
        finally:
            process.kill()  # which does nothing to a process that has ended
            process.wait()
    if code:
        raise RowError(log.read_text(encoding="utf-8", errors="replace")[-TOLD:].strip())
    own = read_object(folder / PROCESS, "run the benchmark again")
    took = {"seconds": time.perf_counter() - started, **own}
    write_json(record, took)
    return took


def train_row(row: Row, place: Place) -> None:
    """Train into the row's folder."""
    from spacy.vocab import Vocab
    from transformers import AutoConfig

    from gmb_ner.benchmark.systems import SYSTEMS, glove_from
    from gmb_ner.corpus.docs import write_docbin
    from gmb_ner.evaluation.files import load_docs
    from gmb_ner.training.train import train

    system = SYSTEMS[row.system]
    if row.system == "glove":
        if place.glove is None:
            raise InputError("The row glove needs the file of its vectors: give --glove.")
        system = glove_from(Path(place.glove))
    corpus, folder, settings = Path(place.corpus), Path(place.folder), dict(system.settings)
    if system.prepare is not None:
        prepared = Path(place.prepared)
        prepared.mkdir(parents=True, exist_ok=True)
        settings |= system.prepare(corpus, prepared, row.seed)
    if system.width is not None and place.encoder is not None:
        settings[system.width] = AutoConfig.from_pretrained(place.encoder).hidden_size
    if row.part > 1:
        part = folder / "corpus"
        part.mkdir(exist_ok=True)
        docs = load_docs(corpus / "train.spacy", Vocab())[:: row.part]
        write_docbin(docs, part / "train.spacy")
        (part / "dev.spacy").write_bytes((corpus / "dev.spacy").read_bytes())
        corpus = part
    train(
        Path(f"configs/{system.config}.cfg"),
        corpus,
        folder,
        name=row.system,
        encoder={"key": system.encoder} if system.encoder else None,
        encoder_path=place.encoder,
        gpu_id=place.gpu_id,
        seed=row.seed,
        max_steps=row.max_steps,
        settings=settings,
    )


def score_row(row: Row, place: Place) -> None:
    """Score the row's pipeline on the test part, into its folder.

    Beside what `evaluate` gives: `sentence_counts` (`gmb_ner.evaluation.scores`), `forms`
    (`gmb_ner.evaluation.forms`), `agreement` (`gmb_ner.evaluation.agreement`) and `model_bytes`,
    of all the pipeline's files.
    """
    from gmb_ner.evaluation.agreement import agreement
    from gmb_ner.evaluation.evaluate import evaluate
    from gmb_ner.evaluation.files import load_docs, load_pipeline, read_manifest
    from gmb_ner.evaluation.forms import by_form, forms_of
    from gmb_ner.evaluation.predict import as_trained
    from gmb_ner.evaluation.scored import ScoredDoc
    from gmb_ner.evaluation.scores import sentence_counts

    corpus, folder = Path(place.corpus), Path(place.folder)
    model = folder / "model-best"
    nlp = load_pipeline(model, place.gpu_id)
    source = read_manifest(corpus / "manifest.json")
    references = load_docs(corpus / "test.spacy", nlp.vocab)
    scored: list[ScoredDoc] = []
    result = evaluate(
        nlp,
        references,
        corpus=source.corpus,
        protocol=source.protocol,
        config=row.system,
        seed=row.seed,
        scored=scored,
    )
    known = forms_of(load_docs(corpus / "train.spacy", nlp.vocab))
    result |= {
        "sentence_counts": sentence_counts(scored).tolist(),
        "forms": by_form(as_trained(nlp, references), scored, known),
        "agreement": agreement(scored),
        "model_bytes": sum(file.stat().st_size for file in model.rglob("*") if file.is_file()),
    }
    write_json(folder / SCORES, result)


TASKS: dict[str, Callable[[Row, Place], None]] = {"train": train_row, "score": score_row}


if __name__ == "__main__":
    end_with_parent()
    # Of a terminal's Ctrl-C the parent hears too, which ends this process: it has not failed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given = read_object(Path(sys.argv[2]), "run the benchmark again")
    try:
        TASKS[sys.argv[1]](Row(**given["row"]), Place(**given["place"]))
        write_json(Path(given["place"]["folder"]) / PROCESS, {"peak_bytes": peak_bytes()})
    except InputError as error:
        sys.exit(str(error))
