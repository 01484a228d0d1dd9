"""Wheels: built away from the checkout, put in place whole."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.version import Version

from gmb_ner.errors import InputError
from gmb_ner.files import writing

LIBRARY = "gmb_ner"
# The first version that knows a licence as pyproject.toml states it.
SETUPTOOLS = "77"
# Dates inside a wheel; with a fixed one, the same files make the same bytes.
EPOCH = "315532800"


def build_wheel(source: Path, output: Path, what: str) -> Path:
    """Build the wheel of a project, in a process of its own.

    source: folder of the project; the build leaves files of its own there. output: where to.
    what: is named in errors.

    Returns the wheel's path. With setuptools in this environment no network is needed, otherwise
    it is fetched for the build. Raises InputError if the build fails.
    """
    if not _installed("build", "1"):
        raise InputError("Wheels are made by the package build; `pip install build`.")
    own = _installed("setuptools", SETUPTOOLS)
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--outdir",
        str(output.resolve()),
        str(source.resolve()),
    ]
    done = subprocess.run(
        command + (["--no-isolation"] if own else []),
        capture_output=True,
        text=True,
        errors="replace",
        # In the project's own folder, a folder called build would stand in for the package.
        cwd=source.parent,
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
    )
    wheels = list(output.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        # The last line that says something, without the colours of a terminal.
        said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr).strip().splitlines()
        reason = said[-1].strip().rstrip(".") if said else "it said nothing"
        remedy = (
            "see to it and package again"
            if own
            else f"it needs setuptools, so connect to a package index or install it first with "
            f"`pip install 'setuptools>={SETUPTOOLS}'`"
        )
        raise InputError(f"The wheel of {what} could not be built ({reason}); {remedy}.")
    return wheels[0]


def build_library(project: Path, work: Path) -> Path:
    """Build gmb-ner's own wheel from a copy of the checkout, which stays as it is.

    project: root of the checkout. work: an empty folder.

    Returns the wheel's path. Raises InputError if this is no checkout or the build fails.
    """
    if not (project / "pyproject.toml").is_file() or not (project / LIBRARY).is_dir():
        raise InputError(
            f"{project} is not a checkout of gmb-ner, whose wheel goes beside the model's; "
            "package from a checkout."
        )
    source = work / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (project / name).is_file():
            shutil.copy(project / name, source)
    shutil.copytree(
        project / LIBRARY, source / LIBRARY, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    return build_wheel(source, work / "dist", "gmb-ner")


def put_in_place(wheel: Path, folder: Path) -> Path:
    """Move a wheel into a folder of the same disk; it replaces all others of the same name.

    Returns its new path. Raises InputError if the folder cannot be written to.
    """
    target = folder / wheel.name
    distribution = wheel.name.split("-")[0]
    with writing(target):
        wheel.replace(target)
        for other in folder.glob(f"{distribution}-*.whl"):
            if other != target:
                other.unlink()
    return target


def _installed(distribution: str, version: str) -> bool:
    try:
        return Version(importlib.metadata.version(distribution)) >= Version(version)
    except importlib.metadata.PackageNotFoundError:
        return False
