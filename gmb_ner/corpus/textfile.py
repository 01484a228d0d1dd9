"""Bytes of a user's file -> text lines: archives, binary files, encodings.

Everything is decided before the first row is read, so that a file that cannot be read whole is
refused whole.
"""

import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from gmb_ner.errors import InputError

MAX_UNPACKED_BYTES = 2 * 1024**3  # a zip bomb or the wrong archive, never a table of words
TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")

_MAGIC = {
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"SQLite format 3\x00": "an SQLite database",
    b"ARROW1": "an Arrow file",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
}
_BOMS = (  # the longer ones first: UTF-32 LE begins like UTF-16 LE
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r")) + b"\x7f"
_SAMPLE = 64 * 1024


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text file in memory: `name` for messages, `encoding` known to decode all of `data`."""

    name: str
    data: bytes
    encoding: str
    notes: tuple[str, ...] = ()

    def lines(self) -> TextIO:
        r"""Lines with their ends untouched, broken at \n, \r\n or \r and nowhere else.

        Not `str.splitlines`: it also breaks at characters such as U+0085, which in cp1252 files
        read as latin-1 stand inside words.
        """
        return io.TextIOWrapper(io.BytesIO(self.data), encoding=self.encoding, newline="")


def read_text_file(path: Path, encoding: str | None = None, name: str | None = None) -> TextFile:
    """Read `path`, or the one table inside it if it is a zip, and settle its encoding.

    `encoding` None detects: byte order marks, UTF-16 without one, UTF-8, cp1252, latin-1, in this
    order. `name` is what messages call the file; by default its path. Raises InputError for a file
    that is missing, a directory, empty, binary, holds NUL characters or cannot be decoded.
    """
    name = name or str(path)
    if not path.exists():
        raise InputError(f"{name}: there is no such file; check the path")
    if path.is_dir():
        raise InputError(f"{name}: this is a directory; give the CSV or TSV file itself")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{name}: the file cannot be read ({error.strerror}); check its permissions"
        ) from error
    if data.startswith(b"PK\x03\x04"):
        name, data = _unzip(path, name)
    if not data.strip():
        raise InputError(f"{name}: the file is empty; give a CSV or TSV of tagged words")
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            raise InputError(f"{name}: this is {kind}, not text; save or unpack it as CSV or TSV")
    notes: tuple[str, ...] = ()
    if encoding is None:
        encoding, notes = _detect(name, data)
    else:
        encoding = _with_bom(data, encoding)
    _check(name, data, encoding)
    return TextFile(name, data, encoding, notes)


def _unzip(path: Path, name: str) -> tuple[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "[Content_Types].xml" in names or "mimetype" in names:
                raise InputError(f"{name}: this is an office document; save it as CSV")
            tables = [
                info
                for info in archive.infolist()
                if not info.is_dir()
                and not info.filename.startswith("__MACOSX/")
                and not Path(info.filename).name.startswith(".")
                and info.filename.lower().endswith(TABLE_SUFFIXES)
            ]
            if len(tables) != 1:
                found = ", ".join(info.filename for info in tables) or "none"
                raise InputError(
                    f"{name}: the archive must hold exactly one CSV or TSV file, found {found}; "
                    "unpack it and give the file"
                )
            if tables[0].file_size > MAX_UNPACKED_BYTES:
                raise InputError(
                    f"{name}: {tables[0].filename} is {tables[0].file_size:,} bytes unpacked, more "
                    f"than {MAX_UNPACKED_BYTES:,}; unpack it and give the file"
                )
            # zipfile reads no further than the size declared above
            return f"{name} ({tables[0].filename})", archive.read(tables[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        reason = str(error).rstrip(".")
        raise InputError(
            f"{name}: the archive cannot be unpacked ({reason}); fetch it again or unpack it"
        ) from error


def _detect(name: str, data: bytes) -> tuple[str, tuple[str, ...]]:
    """Encoding of `data` and notes on how sure it is."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return encoding, ()
    sample = data[:_SAMPLE]
    pairs = max(len(sample) // 2, 1)
    even, odd = sample[0::2].count(0) / pairs, sample[1::2].count(0) / pairs
    # Delimiters, tags and line ends are ASCII, so even a Chinese table has many zero bytes at one
    # parity; at the other one they would be characters such as U+0100, which are rare.
    if max(even, odd) > 0.2 and min(even, odd) < 0.02:
        encoding = "utf-16-le" if odd > even else "utf-16-be"
        return encoding, (f"read as {encoding}: no byte order mark, but every other byte is zero",)
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    if controls >= 8 and controls > 0.05 * len(sample):
        raise InputError(f"{name}: this is a binary file, not text; save it as CSV or TSV")
    try:
        data.decode("utf-8")
        return "utf-8", ()
    except UnicodeDecodeError as error:
        first = error.start
    _refuse_damaged_utf8(name, data, first)
    row = _row_of_byte(data, first)
    for encoding in ("cp1252", "latin-1"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        note = (
            f"read as {encoding}: byte 0x{data[first]:02x} in row {row} is not UTF-8 "
            "(--vars.encoding chooses another)"
        )
        return encoding, (note,)
    raise AssertionError("latin-1 decodes any bytes")


def _refuse_damaged_utf8(name: str, data: bytes, first: int) -> None:
    """One broken byte must not turn every accented word of a UTF-8 file into cp1252 mojibake."""
    text = data.decode("utf-8", "surrogateescape")
    broken = len(re.findall("[\udc80-\udcff]", text))
    sound = len(re.findall("[^\x00-\x7f\udc80-\udcff]", text))
    if sound > 10 * broken:
        raise InputError(
            f"{name}, row {_row_of_byte(data, first)}: byte {first + 1:,} of the file "
            f"(0x{data[first]:02x}) is not UTF-8, while {sound:,} other characters are; correct "
            "it, or name the file's encoding with --vars.encoding"
        )


def _with_bom(data: bytes, encoding: str) -> str:
    """The codec that swallows a byte order mark where the user named one that would keep it."""
    plain = encoding.lower().replace("_", "-")
    for bom, codec in _BOMS:
        if data.startswith(bom) and plain.replace("-", "").startswith(codec[:6].replace("-", "")):
            return codec
    return encoding


def _check(name: str, data: bytes, encoding: str) -> None:
    try:
        text = data.decode(encoding)
    except LookupError as error:
        raise InputError(
            f"{name}: '{encoding}' is no text encoding known to Python; give --vars.encoding a "
            "name such as utf-8, cp1252, latin-1 or utf-16"
        ) from error
    except UnicodeDecodeError as error:
        row = _row_of_byte(data, error.start, encoding)
        raise InputError(
            f"{name}, row {row}: byte {error.start + 1:,} of the file cannot be read as "
            f"{encoding}; correct it, or name the file's true encoding with --vars.encoding"
        ) from error
    except UnicodeError as error:
        raise InputError(
            f"{name}: the file cannot be read as {encoding} ({error}); name its encoding with "
            "--vars.encoding"
        ) from error
    position = text.find("\0")
    if position >= 0:
        row = text.count("\n" if "\n" in text else "\r", 0, position) + 1
        at = len(text[:position].encode(encoding)) + 1
        raise InputError(
            f"{name}, row {row}: NUL character at byte {at:,} of the file; remove it, or name the "
            "file's encoding with --vars.encoding if it is not plain text"
        )
    if not text.strip():
        raise InputError(f"{name}: the file is empty; give a CSV or TSV of tagged words")


def _row_of_byte(data: bytes, position: int, encoding: str = "latin-1") -> int:
    before = data[:position].decode(encoding, "replace")
    return before.count("\n" if b"\n" in data else "\r") + 1
