"""A job of annotation: its output grows by whole shards, so that it can be killed and go on."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import spacy
from spacy.language import Language
from spacy.util import get_package_path, is_package

from gmb_ner.annotate.formats import FORMATS, Annotated, check_format, check_keep
from gmb_ner.annotate.records import (
    Record,
    Source,
    check_columns,
    check_encodings,
    find_sources,
)
from gmb_ner.errors import InputError, lacks_memory
from gmb_ner.files import (
    atomic_path,
    folder_digest,
    printable,
    read_object,
    write_json,
    write_text,
)
from gmb_ner.pipeline.entities import register_confidence
from gmb_ner.pipeline.loading import load_model

JOB = "job.json"
ERRORS = "errors"
# What `gmb_ner.files.atomic_path` has not finished.
UNFINISHED_JOB, UNFINISHED_SHARD = f".{JOB}.*.part", ".part-*.part"


@dataclass(frozen=True)
class Job:
    """What is annotated, by what, and how it is written.

    source: a file, folder or pattern; see `gmb_ner.annotate.records.find_sources`.
    output: the folder for shards, `job.json` and, where there are any, the folder of errors.
    model: name or path of a pipeline. gpu_id: -1 for the CPU.
    format: a key of `gmb_ner.annotate.formats.FORMATS`.
    text_column, keep: see `gmb_ner.annotate.records.read_records`.
    threshold: of the confidence, None for the pipeline's own.
    shard_size: records. batch_size: texts that the pipeline reads together.
    """

    source: str
    output: Path
    model: str
    gpu_id: int = -1
    format: str = "jsonl"
    text_column: str = "text"
    keep: tuple[str, ...] = ()
    threshold: float | None = None
    shard_size: int = 5_000
    batch_size: int = 64

    def shard(self, index: int) -> Path:
        """The file of a shard."""
        return self.output / f"part-{index:05}{FORMATS[self.format][0]}"

    def errors(self, index: int) -> Path:
        """The file of a shard's errors, which exists if it has any."""
        return self.output / ERRORS / f"part-{index:05}.jsonl"


class Counts(NamedTuple):
    """Of a shard or a whole job."""

    records: int = 0
    words: int = 0
    entities: int = 0
    errors: int = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(*map(sum, zip(self, other, strict=True)))


def prepare(job: Job) -> list[Source]:
    """Make the output's folder, or take up what is there; returns the files to read.

    Raises InputError where there is no such pipeline, the input cannot be read so, or the folder
    holds anything else than an earlier run of the same job.
    """
    check_format(job.format)
    check_keep(job.keep)
    folder = _model_folder(job.model)  # said before the output's is taken for this job
    for name in (job.text_column, *job.keep):
        if name != printable(name):
            raise InputError(f"The column {name} is not UTF-8: give it another name.")
    sources = find_sources(job.source)
    check_encodings(sources)
    check_columns(sources, job.text_column, job.keep)
    stats = {source.name: source.path.stat() for source in sources}
    settings = {
        "model": printable(job.model),
        "model_sha256": folder_digest(folder),
        "format": job.format,
        "text_column": job.text_column,
        "keep": list(job.keep),
        "threshold": job.threshold,
        "shard_size": job.shard_size,
        "files": {name: stat.st_size for name, stat in stats.items()},
        # Whole seconds: copies, archives and some disks keep no more.
        "file_times": {name: int(stat.st_mtime) for name, stat in stats.items()},
    }
    path = job.output / JOB
    if path.is_file():
        before = read_object(path, "give another OUTPUT")
        changed = [key for key in settings if before.get(key) != settings[key]]
        if changed:
            raise InputError(
                f"{job.output} holds another job, with other {', '.join(changed)}: give another "
                "OUTPUT, or remove that one."
            )
    elif job.output.exists() and not _is_free(job.output):
        raise InputError(f"{job.output} holds something else: give another OUTPUT.")
    remove_unfinished(job)
    if not path.is_file():
        write_json(path, settings)
    return sources


def _is_free(output: Path) -> bool:
    """Whether a folder holds nothing but what a run left that was killed at its very beginning."""
    return output.is_dir() and all(left.match(UNFINISHED_JOB) for left in output.iterdir())


def _model_folder(model: str) -> Path:
    """Where spacy.load finds a pipeline; raises InputError where there is none."""
    try:
        folder = get_package_path(model) if is_package(model) else Path(model)
    except (ImportError, TypeError):  # a distribution that holds no package of its name
        folder = Path(model)
    # Any folder and package could be given by mistake, and be too large to read here.
    if not (folder / "meta.json").is_file():
        raise InputError(
            f"{model} cannot be loaded: it is neither an installed package nor a folder with the "
            "meta.json of a pipeline."
        )
    return folder


def remove_unfinished(job: Job) -> None:
    """Remove what a killed run, or a killed worker, left half-written; no one may be writing."""
    for pattern in (UNFINISHED_JOB, UNFINISHED_SHARD):
        for left in job.output.rglob(pattern):
            left.unlink()


def split(
    records: Iterable[Record], size: int, finished: Iterable[int]
) -> Iterator[tuple[int, list[Record]]]:
    """The shards that are still to be made, each with its number and records, in order."""
    stream, done = iter(records), set(finished)
    index = 0
    while True:
        if index in done:
            # Read again, as only so one knows where the next begins, but not kept.
            if not sum(1 for _ in islice(stream, size)):
                return
        elif shard := list(islice(stream, size)):
            yield index, shard
        else:
            return
        index += 1


def load(job: Job) -> Language:
    """The job's pipeline, with its threshold.

    Raises InputError where it cannot be loaded, or has no recognizer with a threshold.
    """
    if job.gpu_id >= 0:
        try:
            spacy.require_gpu(job.gpu_id)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"GPU {job.gpu_id} cannot be used ({error}).") from error
    nlp = load_model(job.model)
    if job.threshold is not None:
        recognizers: list[Any] = [pipe for _, pipe in nlp.pipeline if hasattr(pipe, "threshold")]
        if not recognizers:
            raise InputError(f"{job.model} has no confidences: leave the threshold out.")
        for recognizer in recognizers:
            recognizer.threshold = job.threshold
    register_confidence()
    return nlp


def annotate_shard(nlp: Language, job: Job, index: int, records: Sequence[Record]) -> Counts:
    """Write a shard, after its errors, each whole or not at all.

    Raises InputError where memory does not suffice, which is no error of a record.
    """
    words = found = 0
    errors: list[tuple[Record, str]] = []

    def annotated() -> Iterator[Annotated]:
        nonlocal words, found
        for record, doc in _docs(nlp, records, job.batch_size, errors):
            words += len(doc)
            found += len(doc.ents)
            yield record, doc

    _, write = FORMATS[job.format]
    with atomic_path(job.shard(index)) as part:
        write(part, annotated(), job.keep)
        if errors:
            _write_errors(job.errors(index), errors)
    return Counts(len(records) - len(errors), words, found, len(errors))


def _docs(
    nlp: Language, records: Sequence[Record], batch_size: int, errors: list[tuple[Record, str]]
) -> Iterator[Annotated]:
    """Each record that can be annotated with its Doc, in order; the others go to `errors`.

    All are read in one stream, so that few Docs are there at a time. Where a text fails, its batch
    is read one by one, and the stream goes on after it.
    """
    at = 0
    while at < len(records):
        texts = ((r.text, i) for i, r in enumerate(records[at:], at) if r.text is not None)
        try:
            for doc, i in nlp.pipe(texts, as_tuples=True, batch_size=batch_size):
                yield from _alone(nlp, records[at:i], errors)  # those without a text
                yield records[i], doc
                at = i + 1
            end = len(records)
        except Exception:  # whatever a text brings about
            end = min(at + batch_size, len(records))
        yield from _alone(nlp, records[at:end], errors)
        at = end


def _alone(
    nlp: Language, records: Sequence[Record], errors: list[tuple[Record, str]]
) -> Iterator[Annotated]:
    """The Docs of records that are read one by one; what cannot be read goes to `errors`."""
    for record in records:
        if record.text is None:
            errors.append((record, record.error or ""))
            continue
        try:
            doc = nlp(record.text)
        except Exception as error:
            if lacks_memory(error):
                raise InputError(
                    f"Memory did not suffice for {record.file}, row {record.row}, alone ({error}): "
                    "end what else uses it, or take fewer --processes, and run again to go on; if "
                    "nothing else does, shorten that record, and give another OUTPUT."
                ) from error
            errors.append((record, f"the pipeline failed ({error})"))
            continue
        yield record, doc


def _write_errors(path: Path, errors: Sequence[tuple[Record, str]]) -> None:
    lines = [
        json.dumps({"file": record.file, "row": record.row, "error": error}, ensure_ascii=False)
        for record, error in errors
    ]
    write_text(path, "".join(f"{line}\n" for line in lines))


def finished(job: Job) -> list[int]:
    """The numbers of the shards that are there."""
    suffix = FORMATS[job.format][0]
    names = (path.name for path in job.output.glob(f"part-*{suffix}"))
    numbers = (name.removeprefix("part-").removesuffix(suffix) for name in names)
    return sorted(int(number) for number in numbers if number.isdecimal())
