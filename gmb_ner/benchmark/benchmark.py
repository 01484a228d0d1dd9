"""All rows, each once: what is there is not made again, and what fails stops no other."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gmb_ner.assets.encoders import ENCODERS, bert_available, fetch_bert, fetch_minilm
from gmb_ner.benchmark.row import Place, Row, RowError, make_row
from gmb_ner.benchmark.systems import DEFAULT, SYSTEMS
from gmb_ner.corpus.convert import Options, convert
from gmb_ner.errors import InputError
from gmb_ner.files import file_digest, read_object, write_json, write_text


@dataclass(frozen=True)
class Workplace:
    """Where the benchmark reads and writes.

    assets: of `fetch`: the CSV and its record, and MiniLM. work: for corpora and pipelines.
    results: for a JSON file a row. glove: a text file of vectors. bert: a directory with
    bert-base-cased, where the hub is out of reach. together: how many rows that use one core are
    made at a time. offline: ask no network.
    """

    assets: Path
    work: Path
    results: Path
    glove: Path | None = None
    bert: Path | None = None
    gpu_id: int = -1
    together: int = 1
    offline: bool = False

    def result(self, row: Row) -> Path:
        """The file of a row that is done."""
        return self.results / row.protocol / f"{row.name}.json"


def claim(place: Workplace) -> None:
    """Let the folders of a workplace belong to the corpus that was fetched.

    Rows, vectors and corpora that are there are not made again, and would be mixed with those of
    another file. Raises InputError where a folder belongs to another one.
    """
    record = place.assets / "corpus.json"
    if not record.is_file():
        return  # nothing can be made then
    fetched = read_object(record, "make it with `spacy project run fetch`")
    for folder in (place.work, place.results):
        owner = folder / "corpus.json"
        if not owner.is_file():
            write_json(owner, {key: fetched[key] for key in ("file", "sha256")})
            continue
        owned = read_object(owner, f"remove {folder}")
        if owned["sha256"] != fetched["sha256"]:
            raise InputError(
                f"{folder} holds rows of {owned['file']}, and {fetched['file']} was fetched since: "
                "name other folders, or remove that one."
            )


@dataclass(frozen=True)
class Outcome:
    """What became of a row: its figures, or why there are none.

    open: nothing went wrong, but something that it needs is out of reach.
    """

    row: Row
    result: dict[str, Any] | None = None
    reason: str = ""
    open: bool = False


def choose_rows(
    systems: Sequence[str],
    protocols: Sequence[str],
    *,
    seeds: int = 1,
    parts: Sequence[int] = (1,),
    max_steps: int = 0,
) -> list[Row]:
    """The rows of some systems, each once: one seed, and `seeds` of the default on canonical.

    Raises InputError for unknown systems and protocols.
    """
    if unknown := sorted(set(systems) - set(SYSTEMS)):
        raise InputError(
            f"There is no system {', '.join(unknown)}: choose from {', '.join(SYSTEMS)}."
        )
    for protocol in protocols:
        Options(protocol=protocol).check()
    rows = (
        Row(system, protocol, seed, part, max_steps)
        for protocol in protocols
        for system in systems
        for part in parts
        for seed in range(seeds if system == DEFAULT and protocol == "canonical" else 1)
    )
    return list(dict.fromkeys(rows))


def minutes(row: Row) -> float:
    """An estimate for a row, from what such took on two cores."""
    return SYSTEMS[row.system].minutes / row.part


def minutes_left(rows: Sequence[Row], place: Workplace) -> float:
    """An estimate for the rows that can be made and are not, `place.together` at a time."""
    left = [row for row in rows if not (place.result(row).is_file() or why_open(row, place))]
    on_one_core = [minutes(row) for row in left if SYSTEMS[row.system].one_core]
    alone = sum(minutes(row) for row in left if not SYSTEMS[row.system].one_core)
    # Also with a core for each, the longest has to be waited for.
    return alone + max(sum(on_one_core) / place.together, max(on_one_core, default=0.0))


def run_rows(
    rows: Sequence[Row], place: Workplace, started: Callable[[Row], None] = lambda row: None
) -> Iterator[Outcome]:
    """Make the rows, and yield what became of each, as soon as it is known.

    Those that use one core are made first, `place.together` at a time, the longest at the
    beginning. A row whose file is there is read; one that failed before is tried again.
    started: is told, by one thread at a time, of each row that has to be made.
    """
    one_core: list[Row] = []
    alone: list[Row] = []
    for row in rows:
        if (path := place.result(row)).is_file():
            yield Outcome(row, read_object(path, "remove it and run the benchmark again"))
        elif reason := why_open(row, place):
            yield Outcome(row, reason=reason, open=True)
        else:
            (one_core if SYSTEMS[row.system].one_core else alone).append(row)
    stop, preparing = threading.Event(), threading.Lock()
    turns: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def make(row: Row) -> Outcome:
        failed = place.result(row).with_suffix(".failed.txt")
        try:
            with preparing:  # all rows of a protocol share its corpus
                started(row)
                found = _place(row, place)
                turn = turns[found.prepared if _prepares(row) else found.folder]
            with turn:  # what rows share of vectors, one makes and the next one finds
                result = make_row(row, found, stop)
        except (RowError, InputError) as error:
            write_text(failed, f"{error}\n")
            last = str(error).strip().splitlines()[-1:] or ["no word of why"]
            return Outcome(row, reason=f"{last[0]} ({failed})")
        write_json(place.result(row), result)
        failed.unlink(missing_ok=True)
        return Outcome(row, result)

    pool = ThreadPoolExecutor(place.together)
    try:
        longest_first = sorted(one_core, key=minutes, reverse=True)
        for made in as_completed([pool.submit(make, row) for row in longest_first]):
            yield made.result()
        yield from map(make, alone)
    finally:
        # Whoever asks for no more does not want to wait for what runs.
        stop.set()
        pool.shutdown(cancel_futures=True)


def why_open(row: Row, place: Workplace) -> str:
    """What a row needs that is out of reach; empty where it can be made."""
    system = SYSTEMS[row.system]
    if row.system == "glove" and place.glove is None:
        return "needs a file of GloVe's vectors: --glove"
    if system.encoder == "bert":
        there, why = bert_available(
            place.bert.as_posix() if place.bert else None, offline=place.offline
        )
        if not there:
            return f"needs {ENCODERS['bert'].repo}: {why}"
    return ""


def _place(row: Row, place: Workplace) -> Place:
    work = place.work / row.protocol
    kind = row.system if _prepares(row) else "none"
    return Place(
        corpus=_corpus(row.protocol, place).as_posix(),
        folder=(work / row.name).as_posix(),
        prepared=(work / "prepared" / f"{kind}-{row.seed}").as_posix(),
        encoder=_encoder(SYSTEMS[row.system].encoder, place),
        glove=place.glove.as_posix() if place.glove else None,
        gpu_id=place.gpu_id,
        one_core=SYSTEMS[row.system].one_core and place.gpu_id < 0,
    )


def _prepares(row: Row) -> bool:
    """Whether a row needs vectors or pretrained weights: alike for all shares of the corpus."""
    system = SYSTEMS[row.system]
    return system.prepare is not None or row.system == "glove"


def _corpus(protocol: str, place: Workplace) -> Path:
    """The converted corpus of a protocol, made unless it is there and of the same file."""
    csv, record = place.assets / "corpus.csv", place.assets / "corpus.json"
    folder = place.work / protocol / "corpus"
    manifest = folder / "manifest.json"
    if csv.is_file() and manifest.is_file():
        source = read_object(manifest, "remove it and run the benchmark again")["source"]
        if source["sha256"] == file_digest(csv):
            return folder
    convert(csv, record, folder, Options(protocol=protocol))
    return folder


def _encoder(key: str | None, place: Workplace) -> str | None:
    if key is None:
        return None
    fetch = (
        fetch_bert(place.bert.as_posix() if place.bert else None, offline=place.offline)
        if key == "bert"
        else fetch_minilm(place.assets, offline=place.offline)
    )
    return fetch.path.as_posix()


def sample_note(results: Iterable[Mapping[str, Any]]) -> str:
    """What a title says of results where any was made on the built-in sample; else nothing."""
    return ", SAMPLE" if any(result["corpus"] == "sample" for result in results) else ""


def results_by_row(outcomes: Sequence[Outcome]) -> Mapping[Row, dict[str, Any]]:
    """The figures of the rows that have some."""
    return {outcome.row: outcome.result for outcome in outcomes if outcome.result is not None}
