"""Put one checked file into place, from a URL or from a local file.

Every function writes to a hidden temporary file beside the target and renames it at the very end,
so that a target either does not change or is complete and verified.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import requests
from tqdm import tqdm

from gmb_ner.errors import InputError
from gmb_ner.files import atomic_path, file_digest

CHUNK = 1 << 16
TIMEOUT = (5.0, 30.0)  # seconds to connect, and between two packets


class UnreachableError(InputError):
    """An address gave no complete file, so another place may be tried.

    The message has no full stop and no remedy: the caller knows what else can be done.
    """


class ChecksumError(InputError):
    """A file is there but it is not the expected one; no other place may be tried in silence."""


@dataclass(frozen=True)
class Checksum:
    """What a file must hash to.

    algorithm (str): "sha256", or "md5" where the source publishes nothing better.
    hexdigest (str): The digest in lower-case hexadecimal digits.
    """

    algorithm: str
    hexdigest: str

    def verify(self, path: Path, name: str, remedy: str) -> None:
        """Read `path` and compare.

        path (Path): The file to read.
        name (str): What the message calls the file (a temporary name helps nobody).
        remedy (str): What the user is to do, in the imperative.
        RAISES: ChecksumError if the digests differ.
        """
        found = file_digest(path, self.algorithm)
        if found != self.hexdigest:
            raise ChecksumError(
                f"{name} is not the expected file ({self.algorithm} expected {self.hexdigest}, "
                f"found {found}, {path.stat().st_size:,} bytes): {remedy}."
            )


def download(
    url: str,
    target: Path,
    checksum: Checksum,
    *,
    max_bytes: int,
    timeout: tuple[float, float] = TIMEOUT,
    progress: bool = True,
) -> None:
    """Fetch a public file.

    url (str): Its address.
    target (Path): Where to put it; an older file there is replaced.
    checksum (Checksum): What it must hash to.
    max_bytes (int): Give up beyond this size: no address may fill the disk.
    timeout (tuple): Seconds to connect, and seconds of silence while reading.
    progress (bool): Show a progress bar.
    RAISES: UnreachableError if no complete file arrives; ChecksumError if another one does.
    """
    with atomic_path(target) as part:
        try:
            _receive(url, part, max_bytes, timeout, progress)
        except requests.RequestException as error:
            raise UnreachableError(f"{url} could not be downloaded ({_in_words(error)})") from error
        checksum.verify(part, url, "something on the way changed it, so try another network")


def _receive(
    url: str, part: Path, max_bytes: int, timeout: tuple[float, float], progress: bool
) -> None:
    # Without "identity" a server may compress, and Content-Length would count other bytes.
    headers = {"Accept-Encoding": "identity"}
    with requests.get(url, stream=True, timeout=timeout, headers=headers) as response:
        response.raise_for_status()
        promised = int(response.headers.get("Content-Length", 0)) or None
        received = 0
        with (
            part.open("wb") as stream,
            tqdm(
                total=promised,
                unit="B",
                unit_scale=True,
                desc=url.rsplit("/", 1)[-1],
                disable=not progress,
                leave=False,
            ) as bar,
        ):
            for chunk in response.iter_content(CHUNK):
                received += len(chunk)
                if received > max_bytes:
                    raise UnreachableError(
                        f"{url} sends more than the expected {max_bytes:,} bytes"
                    )
                stream.write(chunk)
                bar.update(len(chunk))
    # Older urllib3 takes a dropped connection for the end of the file.
    if promised is not None and received < promised:
        raise UnreachableError(f"{url} broke off after {received:,} of {promised:,} bytes")


def _in_words(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__


def copy_verified(source: Path, target: Path, checksum: Checksum | None, name: str = "") -> None:
    """Copy a local file and verify the copy.

    source (Path): The file to read.
    target (Path): Where to put it; an older file there is replaced.
    checksum (Optional[Checksum]): What it must hash to; None takes any file.
    name (str): What messages call the source; its path by default.
    RAISES: InputError if it cannot be read; ChecksumError if it is another file.
    """
    name = name or str(source)
    with atomic_path(target) as part:
        try:
            shutil.copyfile(source, part)
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            raise InputError(
                f"{name} cannot be read ({error.strerror}): check the path."
            ) from error
        if checksum is not None:
            checksum.verify(part, name, "replace or remove it")
