"""Prove that a packaged pipeline works where nothing else is: installed, offline, the same."""

import json
import shutil
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spacy.language import Language
from thinc.api import require_cpu

from gmb_ner.deploy import _proof
from gmb_ner.deploy.cleanroom import CleanRoom
from gmb_ner.errors import InputError
from gmb_ner.files import file_digest, read_object, write_json
from gmb_ner.pipeline.labels import DISPLACY_COLORS, LABELS
from gmb_ner.pipeline.loading import load_model

_REMEDY = "make it with `spacy project run package`"
_STORY = (
    "President Barack Obama met Chancellor Angela Merkel in Berlin on Tuesday .",
    "The United Nations says about 2,000 Iraqi families fled Mosul in June 2014 .",
    "Hurricane Katrina killed more than 1,800 people in Louisiana and Mississippi in 2005 .",
    "Toyota will close its plant in Melbourne next year , the Japanese carmaker said .",
)
# All eight labels, then what pipelines trip over.
SENTENCES = (
    "Iraqi police say gunmen killed three people north of Baghdad on Friday.",
    "U.N. Secretary-General Kofi Annan will visit Sudan's Darfur region next week.",
    "The World Health Organization says the H5N1 virus has spread to 12 countries since 2003.",
    "Brazil won the World Cup in 2002, and Germany was host of the Olympic Games in 1972.",
    'Critics praised the film "The Da Vinci Code", and Apple\'s iPhone sold well in Europe.',
    "Hurricane Wilma hit Florida after it had crossed Mexico's Yucatan Peninsula.",
    "Mr. Bush (R-Texas) said, \"We don't know\"; Prime Minister Tony Blair's aides wouldn't say.",
    "",
    "London",
    " \n\t  ",
    "Paris 😀 is great 👩‍👩‍👧, says Zoë from Zürich… on 1 May!",
    " ".join((" ".join(_STORY * 60)).split(" ")[:3000]),
)


def prove(
    packages: Path,
    model: Path,
    *,
    find_links: Sequence[Path] = (),
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Install the package that was made last in a clean environment and compare it with its origin.

    packages: folder that `package` wrote to. model: the pipeline that was packaged; it predicts
        here, on the CPU, what the package has to predict there.
    find_links: more folders of wheels for pip. note: is told what happens.

    The environment lies in a temporary folder, which is always removed. The package runs without
    network, home, project folder or cache of weights.

    Returns a dict ready for JSON: model, version, passed, checks (name -> complaints, none if it
    passed), python, platform, packages (name -> version), install_seconds, load_seconds, sentences
    and entities. Raises InputError if there is nothing to prove, or the package cannot be installed
    or run at all.
    """
    made = read_object(packages / "manifest.json", _REMEDY)
    wheels = _wheels(packages, made)
    note(f"Predicting with {model}")
    nlp = _load(model)
    expected = [_proof.entities(nlp(text)) for text in SENTENCES]
    # The scorer brings the labels' meanings along; a user's own config may do without it.
    explain = list(LABELS) if "gmb_ner.entity_scorer" in str(nlp.config["components"]) else []
    del nlp
    # Some of what is installed may be read-only, or still be mapped where files are locked then.
    with tempfile.TemporaryDirectory(prefix="proof-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary).resolve()
        note("Making a clean environment")
        room = CleanRoom(folder)
        started = time.perf_counter()
        room.install(f"{made['model']}=={made['version']}", [packages, *find_links], note)
        seconds = time.perf_counter() - started
        note("Loading and running the package without a network")
        job, result = folder / "job.json", folder / "result.json"
        order = {
            "model": made["model"],
            "sentences": SENTENCES,
            "colors": DISPLACY_COLORS,
            "explain": explain,
        }
        write_json(job, order)
        # A copy, so that the program has no way back to the project.
        room.run(Path(shutil.copy(_proof.__file__, folder / "proof.py")), job, result)
        proof = json.loads(result.read_text(encoding="utf-8"))
        checks = {
            "the entities of the trained pipeline": differences(
                SENTENCES, expected, proof["entities"]
            ),
            **proof["checks"],
            "nothing from outside the environment": strangers(proof, room.venv),
            "the files of the wheels": [
                complaint for wheel in wheels for complaint in altered(wheel, proof["path"])
            ],
        }
    return {
        "model": made["model"],
        "version": made["version"],
        "passed": not any(checks.values()),
        "checks": checks,
        "python": proof["python"],
        "platform": proof["platform"],
        "packages": dict(sorted(proof["packages"].items(), key=lambda item: item[0].lower())),
        "install_seconds": round(seconds, 1),
        "load_seconds": round(proof["load_seconds"], 2),
        "sentences": len(SENTENCES),
        "entities": sum(len(found) for found in proof["entities"]),
    }


def differences(
    sentences: Sequence[str], expected: Sequence[Sequence[Any]], found: Sequence[Sequence[Any]]
) -> list[str]:
    """Where entities ([text, start, end, label]) differ, one line each; none if they agree."""
    if len(expected) != len(sentences) or len(found) != len(sentences):
        return [f"{len(sentences)} sentences, but {len(expected)} and {len(found)} results"]
    lines = []
    for text, wanted, got in zip(sentences, expected, found, strict=True):
        left, right = {tuple(ent) for ent in wanted}, {tuple(ent) for ent in got}
        title = repr(text if len(text) <= 60 else text[:57] + "...")
        lines += [f"{title}: {_show(ent)} is missing" for ent in sorted(left - right)]
        lines += [f"{title}: {_show(ent)} is new" for ent in sorted(right - left)]
    return lines


def strangers(proof: dict[str, Any], venv: Path) -> list[str]:
    """Modules of the proof that were not installed in its environment, apart from Python's own."""
    installed = {
        name: Path(file).resolve()
        for name, file in proof["files"].items()
        if "site-packages" in file or name == "gmb_ner" or name.startswith("en_")
    }
    return [
        f"{name} is {file}"
        for name, file in installed.items()
        if not file.is_relative_to(venv.resolve())
    ]


def altered(wheel: Path, path: Sequence[str]) -> list[str]:
    """Files of a wheel that were not installed as they are: the index may have the same name.

    path: `sys.path` of the environment.
    """
    lines = []
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if ".dist-info/" in entry.filename:  # pip rewrites some of these
                continue
            places = [Path(place) / entry.filename for place in path]
            file = next((place for place in places if place.is_file()), None)
            if file is None or zlib.crc32(file.read_bytes()) != entry.CRC:
                lines.append(f"{entry.filename} is not that of {wheel.name}")
    return lines


def _show(ent: Sequence[Any]) -> str:
    text, start, end, label = ent
    return f"{text!r} ({label}, characters {start} to {end})"


def _load(model: Path) -> Language:
    if not (model / "meta.json").is_file():
        raise InputError(
            f"{model} is not a trained pipeline; make it with `spacy project run train`."
        )
    require_cpu()
    return load_model(model)


def _wheels(packages: Path, made: dict[str, Any]) -> list[Path]:
    """The two wheels, which must be as `package` left them."""
    manifest = packages / "manifest.json"
    missing = {"model", "version", "wheel", "library", "sha256"} - set(made)
    if missing:
        raise InputError(f"{manifest} has no {' and no '.join(sorted(missing))}; {_REMEDY}.")
    wheels = [packages / made[key] for key in ("wheel", "library")]
    for wheel in wheels:
        if not wheel.is_file() or file_digest(wheel) != made["sha256"].get(wheel.name):
            raise InputError(f"{wheel} is not what {manifest} lists; {_REMEDY}.")
    return wheels
