"""Files and folders that are written whole or not at all."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gmb_ner.errors import InputError

# Read once, as it can only be read by changing it, which other threads would notice.
_UMASK = os.umask(0)
os.umask(_UMASK)


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """RETURNS (str): The hexadecimal digest of a file's bytes."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def folder_digest(folder: Path) -> str:
    """RETURNS (str): The sha256 of a folder's files, by name and content, wherever it is."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        # Python writes its cache when it first imports a package.
        name = path.relative_to(folder)
        if path.is_file() and "__pycache__" not in name.parts:
            digest.update(f"{file_digest(path)} {printable(name.as_posix())}\n".encode())
    return digest.hexdigest()


def printable(name: str | Path) -> str:
    r"""A name that UTF-8 can say: a byte of a file's name that is none is shown as \udc.."""
    return str(name).encode(errors="backslashreplace").decode()


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn what the system says about a place that cannot be written to into one sentence.

    target (Path): The file or folder that the block makes.
    RAISES: InputError if the block fails with an OSError that speaks of this place.
    """
    try:
        yield
    except OSError as error:
        if not _speaks_of(error, target.absolute().parent):
            raise
        raise InputError(
            f"{target} cannot be written ({error.strerror or error}): "
            "free or allow the place, or choose another one, and run again."
        ) from error


def _speaks_of(error: OSError, folder: Path) -> bool:
    """Whether a folder, what is in it or what it is in is the matter.

    Libraries raise OSErrors of their own, without a number, for what has no file to do with it.
    """
    if error.errno is None:
        return False
    if error.filename is None or error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True  # a stream does not say where it was writing
    named = Path(os.fsdecode(error.filename)).absolute()
    return named.is_relative_to(folder) or folder.is_relative_to(named)


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary file beside `target` that takes its place if the block succeeds.

    target (Path): The file to write; its folder is made if need be.
    YIELDS (Path): An empty file to fill.
    RAISES: InputError if the place cannot be written to.
    """
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".part", dir=target.parent
        )
        os.close(handle)
        part = Path(name)
        try:
            yield part
            part.chmod(0o666 & ~_UMASK)  # mkstemp's own mode hides it from everybody else
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, on the same disk, so that one rename can finish the work.

    target (Path): The file or folder that is being made; the folder around it is made if need be.
    YIELDS (Path): An empty folder; it and all that is left in it are removed after the block.
    RAISES: InputError if the place cannot be written to.
    """
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as work:
            yield Path(work)


def take_place(new: Path, target: Path) -> None:
    """Let a folder take the place of another, which stays where it is if that fails.

    new (Path): The folder, in a `work_folder` of the target; the former one is put beside it.
    """
    former = new.with_name(f"{new.name}.former")
    if target.exists():
        target.replace(former)
    try:
        new.replace(target)
    except OSError:
        if former.exists():
            former.replace(target)
        raise


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON object.

    path (Path): The file.
    remedy (str): What to do if it cannot be had, as in "make it with `spacy project run convert`".
    RETURNS (Dict[str, Any]): The object.
    RAISES: InputError if the file is missing or holds something else.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}; {remedy}.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON; {remedy}.") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} does not hold a JSON object; {remedy}.")
    return data


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8); its folder is made if need be."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file; raises ValueError for NaN and infinity, which JSON does not have."""
    # Not srsly: it cuts numbers after ten decimals.
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
