"""A clean Python environment: made, filled by pip, and run without a network or a home."""

import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from gmb_ner.errors import InputError

# They would bring code from elsewhere, or send packages there.
_UNWANTED = re.compile(r"PYTHON.*|VIRTUAL_ENV|CONDA_.*|HF_.*|TRANSFORMERS_.*|HUGGINGFACE_.*")
_PIP_UNWANTED = {"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_NO_DEPS", "PIP_DRY_RUN"}
# Of pip's lines those that stand for a while: large files, and the end.
_PROGRESS = re.compile(
    r"Downloading .* \(\d{2,}(\.\d+)? MB\)|Installing|Successfully|Building|ERROR"
)
_PROOF_SECONDS = 900
_WIDTH = 100  # of a line of progress


class CleanRoom:
    """A virtual environment of this interpreter in an empty folder.

    Where packages come from (pip's configuration, proxies) is as outside; everything else that
    could bring in code or weights is left out.
    """

    def __init__(self, folder: Path) -> None:
        """folder: an empty one, away from any project. Raises InputError if venv fails."""
        self.folder = folder
        self.venv = folder / "venv"
        self.python = self.venv / (
            "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
        )
        self.home = folder / "home"
        self.home.mkdir()
        made = subprocess.run(
            [sys.executable, "-I", "-m", "venv", str(self.venv)],
            cwd=self.home,
            env=_environment(),
            capture_output=True,
            text=True,
            errors="replace",
        )
        if made.returncode:
            reason = last_line(made.stderr or made.stdout)
            raise InputError(
                f"No virtual environment could be made ({reason}); on Debian and Ubuntu the "
                "package python3-venv is needed for it."
            )

    def install(
        self, requirement: str, find_links: Sequence[Path], note: Callable[[str], None]
    ) -> None:
        """Let pip install a requirement; note: is told how it gets on.

        find_links: folders of wheels, which are asked beside the package index.

        Raises InputError with pip's reason if it fails.
        """
        links = [item for folder in find_links for item in ("--find-links", str(folder.resolve()))]
        options = ("--no-input", "--disable-pip-version-check", "--progress-bar", "off")
        command = [str(self.python), "-I", "-m", "pip", "install", *options, *links, requirement]
        last: deque[str] = deque(maxlen=200)
        with subprocess.Popen(
            command,
            cwd=self.home,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            try:
                for line in map(str.strip, process.stdout):
                    last.append(line)
                    if _PROGRESS.match(line):
                        note(line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "...")
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            errors = [line for line in last if line.startswith("ERROR")] or list(last) or [""]
            reason = errors[0].removeprefix("ERROR:").strip().rstrip(".")
            raise InputError(
                f"pip could not install {requirement} from {find_links[0]} ({reason}); check that "
                "a package index can be reached, or name a folder of wheels with --find-links."
            )

    def run(self, program: Path, *arguments: Path) -> None:
        """Run a program with an empty home and no hub; it has to block the network by itself.

        Raises InputError with its last words if it fails.
        """
        offline = {
            "HOME": str(self.home),
            "USERPROFILE": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "HF_HOME": str(self.home / "hub"),
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
        }
        command = [str(self.python), "-I", str(program), *map(str, arguments)]
        try:
            done = subprocess.run(
                command,
                cwd=self.home,
                env=_environment() | offline,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PROOF_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise InputError(
                f"The installed package took more than {_PROOF_SECONDS} s for a few sentences; "
                "something in it does not come to an end."
            ) from None
        if done.returncode:
            raise InputError(
                f"The installed package does not work ({last_line(done.stderr)}); look for what "
                "it misses in its requirements."
            )


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = text.strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else "it said nothing"


def _environment() -> dict[str, str]:
    return {
        key: value
        for key, value in os.environ.items()
        if not _UNWANTED.fullmatch(key) and key not in _PIP_UNWANTED
    }
