"""Texts out of files of many kinds, as a stream of records."""

import csv
import glob
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from typing import Any, BinaryIO, cast

import smart_open

from gmb_ner.errors import InputError, lacks_memory
from gmb_ner.files import printable

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
CSV_FIELD = 2**31 - 1  # characters: the most that csv takes where a C long has 32 bits
PARQUET_ROWS = 1_000  # read at once
# In a row; spaCy's tokenizer takes them off one by one, in time by the square of their number.
MARKS = 5_000
_RUN_OF_MARKS = re.compile(r"(?:[^\w\s]|_)+")


@dataclass(frozen=True)
class Record:
    """A text, or why there is none.

    file: the name of its file, relative to the input; row: its number there, from 1: of the line,
        or for CSV and Parquet of the row of data.
    text: None where it could not be read; error: why.
    kept: columns that go along into the output, as values that JSON and UTF-8 can say.
    """

    file: str
    row: int
    text: str | None
    kept: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Source:
    """A file to read: its place, and its name for people."""

    path: Path
    name: str

    @property
    def kind(self) -> str:
        """The suffix that tells what it holds, without that of a compression."""
        suffixes = [suffix.lower() for suffix in self.path.suffixes]
        if suffixes and suffixes[-1] in COMPRESSIONS:
            suffixes.pop()
        return suffixes[-1] if suffixes else ""


def find_sources(given: str) -> list[Source]:
    """The files that a name stands for, in order: a file, all of a folder, or a glob pattern.

    Raises InputError if there is none, or if one has a suffix that tells nothing.
    """
    path = Path(given)
    if path.is_file():
        return _known([Source(path, printable(path.name))])
    # A pattern's folder is what comes before its first wildcard.
    plain = given[: min((given.find(char) for char in "*?[" if char in given), default=len(given))]
    root = path if path.is_dir() else Path(plain + "x").parent
    # Path.glob takes no pattern that begins with a root.
    matches = glob.glob(given, recursive=True)  # noqa: PTH207
    places = path.rglob("*") if path.is_dir() else map(Path, matches)
    found = sorted(file for file in places if file.is_file())
    if not found:
        raise InputError(f"There is no file {given}; give a file, a folder or a pattern.")
    names = [printable(file.relative_to(root).as_posix()) for file in found]
    return _known(list(map(Source, found, names)))


def _known(sources: list[Source]) -> list[Source]:
    for source in sources:
        if source.kind not in READERS:
            raise InputError(
                f"{source.path} is of no kind that can be read ({', '.join(READERS)}; "
                f"{', '.join(COMPRESSIONS)} after it): name the files by a pattern as 'in/*.txt'."
            )
        if source.kind == ".parquet" and source.path.suffix.lower() in COMPRESSIONS:
            raise InputError(
                f"{source.path} is a compressed Parquet file, which cannot be read in parts: "
                "decompress it (its columns are compressed already), or leave it out by a pattern."
            )
    return sources


def read_records(
    sources: Sequence[Source],
    *,
    text_column: str = "text",
    keep: Sequence[str] = (),
    progress: Callable[[int], None] = lambda read: None,
) -> Iterator[Record]:
    """The records of all files, one after the other, without keeping them.

    text_column: of JSON Lines, CSV and Parquet, that holds the text. keep: other columns that go
        along. In a .txt, each line is a text.
    progress: is told how many bytes were read since it was told last.

    What cannot be read is a record with an error; where a whole rest of a file cannot, it is one.
    Raises InputError where a file has no such column, needs a library that is missing, or memory
    does not suffice.
    """
    for source in sources:
        reader = READERS[source.kind]
        row = 0
        with source.path.open("rb") as raw:
            told = 0
            try:
                for record in reader(source, raw, text_column, keep):
                    row = record.row
                    yield record
                    if (now := raw.tell()) != told:
                        progress(now - told)
                        told = now
            except InputError:
                raise
            except Exception as error:
                if lacks_memory(error):
                    raise InputError(
                        f"Memory did not suffice to read {source.name}, row {row + 1}: end what "
                        "else uses it and run again to go on."
                    ) from error
                # A broken archive, or a disk that fails; each library has errors of its own. What
                # came before stands.
                yield Record(source.name, row + 1, None, error=f"the rest cannot be read ({error})")
            progress(source.path.stat().st_size - told)


def check_encodings(sources: Sequence[Source]) -> None:
    """Raise InputError where a file of text begins as UTF-16 or UTF-32 does."""
    for source in sources:
        if source.kind == ".parquet":
            continue
        try:
            with source.path.open("rb") as raw:
                # By a byte order mark, or the zero bytes around an ASCII character.
                encoding = json.detect_encoding(_binary(source, raw).read(4))
        except InputError:
            raise
        except Exception:
            continue  # read_records tells of it, beside the others' results
        if not encoding.startswith("utf-8"):
            first = "decompress and " if source.path.suffix.lower() in COMPRESSIONS else ""
            raise InputError(
                f"{source.path} begins as {encoding} does, and only UTF-8 can be read: {first}"
                f"convert it (iconv -f {_iconv_name(encoding)} -t utf-8), or leave it out by a "
                "pattern."
            )


def _iconv_name(encoding: str) -> str:
    """Of an encoding by Python's name: iconv has no hyphen before the order of the bytes."""
    return encoding.replace("-le", "le").replace("-be", "be")


def check_columns(sources: Sequence[Source], text_column: str, keep: Sequence[str]) -> None:
    """Raise InputError where a file with a header lacks a column."""
    for source in sources:
        columns: Sequence[str] | None = None
        try:
            with source.path.open("rb") as raw:
                if source.kind in DELIMITERS:
                    columns = next(csv.reader(_text(source, raw), delimiter=_delimiter(source)), [])
                elif source.kind == ".parquet":
                    columns = _parquet(raw).schema_arrow.names
        except InputError:
            raise
        except Exception:
            continue  # read_records tells of it, beside the others' results
        wanted = [text_column, *keep]
        missing = [] if columns is None else [name for name in wanted if name not in columns]
        if columns is not None and missing:
            remedy = (
                "name that of the text by --text-column"
                if text_column in missing
                else "name others by --keep"
            )
            raise InputError(
                f"{source.path} has no column {', '.join(missing)}, only {', '.join(columns)}; "
                f"{remedy}."
            )


def _binary(source: Source, raw: BinaryIO) -> BinaryIO:
    """The file's bytes, uncompressed."""
    suffix = source.path.suffix.lower()
    if suffix not in COMPRESSIONS:
        return raw
    try:
        opened = smart_open.compression.compression_wrapper(raw, "rb", suffix)
    except ImportError as error:
        raise InputError(
            f"{source.path} needs {error.name}: pip install 'smart_open[zst]'."
        ) from error
    return cast(BinaryIO, opened)


def _text(source: Source, raw: BinaryIO) -> io.TextIOWrapper:
    # What is no UTF-8 becomes surrogates, by which its record is known.
    return io.TextIOWrapper(
        _binary(source, raw), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )


def _checked(source: Source, row: int, text: object, given: dict[str, Any]) -> Record:
    # Seen to here, as a shard could not be written with it.
    kept: dict[str, Any] = {}
    for name, value in given.items():
        try:
            kept[name] = _as_json(value)
        except UnicodeEncodeError:
            return Record(source.name, row, None, {}, f"its {name} is not UTF-8")
        except RecursionError:
            return Record(source.name, row, None, {}, f"its {name} is nested too deeply")
    if not isinstance(text, str):
        kind = type(text).__name__
        error = "there is no text" if text is None else f"its text is of type {kind}, not a string"
        return Record(source.name, row, None, kept, error)
    if any("\ud800" <= char <= "\udfff" for char in text):
        return Record(source.name, row, None, {}, "it is not UTF-8")
    # Most texts hold no run of anything that is as long.
    long = (run for run in text.split() if len(run) > MARKS)
    marks = max((len(found) for run in long for found in _RUN_OF_MARKS.findall(run)), default=0)
    if marks > MARKS:
        error = f"it has {marks:,} marks in a row, on which spaCy's tokenizer would spend minutes"
        return Record(source.name, row, None, kept, error)
    return Record(source.name, row, text, kept)


def _as_json(value: Any) -> Any:
    """A value as JSON, and what reads it again, can say it; what JSON does not have is text.

    Raises UnicodeEncodeError for what is not UTF-8.
    """
    written = json.dumps(value, default=_as_text, ensure_ascii=False)
    written.encode()
    return json.loads(written, parse_constant=str, parse_int=_as_number)


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _as_number(digits: str) -> int | str:
    # More than 64 bits are too many for a DocBin, and for most that read JSON.
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else digits


def _read_lines(
    source: Source, raw: BinaryIO, text_column: str, keep: Sequence[str]
) -> Iterator[Record]:
    for row, line in enumerate(_binary(source, raw), 1):
        text = line.decode("utf-8-sig" if row == 1 else "utf-8", errors="surrogateescape")
        if "\0" in text:
            error = "it holds a NUL character, as UTF-16 does: only UTF-8 can be read"
            yield Record(source.name, row, None, error=error)
            continue
        yield _checked(source, row, text.rstrip("\r\n"), {})


def _read_json_lines(
    source: Source, raw: BinaryIO, text_column: str, keep: Sequence[str]
) -> Iterator[Record]:
    for row, line in enumerate(_binary(source, raw), 1):
        if not line.strip():
            yield Record(source.name, row, None, error="the line is empty")
            continue
        try:
            # Of bytes, json would guess the encoding, line by line.
            data = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:  # the latter of many brackets
            yield Record(source.name, row, None, error=f"it is not JSON ({error})")
            continue
        if not isinstance(data, dict):
            yield Record(source.name, row, None, error="it is no JSON object")
            continue
        kept = {name: data.get(name) for name in keep}
        yield _checked(source, row, data.get(text_column), kept)


def _read_csv(
    source: Source, raw: BinaryIO, text_column: str, keep: Sequence[str]
) -> Iterator[Record]:
    before = csv.field_size_limit(CSV_FIELD)  # of all readers in this process
    try:
        reader = csv.DictReader(_text(source, raw), delimiter=_delimiter(source))
        row = 0
        while True:
            row += 1
            try:
                data = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Record(source.name, row, None, error=f"it is not CSV ({error})")
                continue
            kept = {name: data.get(name) for name in keep}
            yield _checked(source, row, data.get(text_column), kept)
    finally:
        csv.field_size_limit(before)


def _delimiter(source: Source) -> str:
    return DELIMITERS[source.kind]


def _read_parquet(
    source: Source, raw: BinaryIO, text_column: str, keep: Sequence[str]
) -> Iterator[Record]:
    columns = [text_column, *keep]
    row = 0
    for batch in _parquet(raw).iter_batches(batch_size=PARQUET_ROWS, columns=columns):
        for data in batch.to_pylist():
            row += 1
            kept = {name: data[name] for name in keep}
            yield _checked(source, row, data[text_column], kept)


def _parquet(raw: BinaryIO) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise InputError("Parquet needs pyarrow: pip install pyarrow.") from error
    return parquet.ParquetFile(raw)


Reader = Callable[[Source, BinaryIO, str, Sequence[str]], Iterator[Record]]
READERS: dict[str, Reader] = {
    ".txt": _read_lines,
    ".jsonl": _read_json_lines,
    **dict.fromkeys(DELIMITERS, _read_csv),
    ".parquet": _read_parquet,
}
