"""Turn a trained pipeline into a wheel that pip installs and spaCy loads by name."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy import about
from spacy.cli.package import package as spacy_package
from spacy.util import get_minor_version_range

from gmb_ner.deploy import card
from gmb_ner.deploy.facts import Facts, read_facts
from gmb_ner.deploy.names import LANG, check_version, package_name, requirements
from gmb_ner.deploy.scrub import (
    check_clean,
    copy_scrubbed,
    has_torch,
    has_transformer,
    needs_tokenizers,
    runs_on_onnx,
)
from gmb_ner.deploy.wheels import build_library, build_wheel, put_in_place
from gmb_ner.errors import InputError
from gmb_ner.files import file_digest, work_folder, write_json, write_text

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Packaged:
    """What was made: name and version of the package, its wheel and gmb-ner's."""

    name: str
    version: str
    wheel: Path
    library: Path
    sample: bool


def package(
    model: Path,
    output: Path,
    *,
    manifest: Path,
    run: Path,
    scores: Path,
    fetched: Path,
    meta: Path,
    project: Path,
    name: str = "auto",
    version: str = "0.1.0",
    note: Callable[[str], None] = lambda text: None,
) -> Packaged:
    """Make the wheel of a trained pipeline, put it beside gmb-ner's own, and list both.

    model: folder of the pipeline, trained or exported; it is not changed.
    output: folder of wheels; those of the same names are replaced, once everything has succeeded.
    manifest, run, scores, fetched, meta: see `gmb_ner.deploy.facts.read_facts`. A file called as
        the licence and .txt, beside meta, becomes the package's LICENSE.
    project: root of the checkout, from which gmb-ner's wheel is built.
    name, version: see `gmb_ner.deploy.names`.
    note: is told what happens.

    Raises InputError if something is missing or contradictory, the name or the version cannot
    be used, a build fails, or a path of this machine would go out with the package.
    """
    if not (model / "meta.json").is_file() or not (model / "config.cfg").is_file():
        raise InputError(
            f"{model} is not a trained pipeline; make it with `spacy project run train`."
        )
    onnx = runs_on_onnx(model)
    facts = read_facts(manifest, run, scores, fetched, meta, onnx)
    full_name = package_name(name, facts.config, facts.corpus, facts.sample, onnx)
    check_version(version)
    with work_folder(output / MANIFEST) as work:
        note(f"Packaging {full_name} {version}")
        pipeline = work / "pipeline"
        encoders = copy_scrubbed(model, pipeline, facts.repository)
        content = _write_card(pipeline, facts, full_name, version, meta.parent)
        wheel = _build_model(pipeline, work, content)
        check_clean(wheel, _own_folders(project, model, output, encoders))
        note("Building the wheel of gmb-ner")
        library = build_library(project, work / "library")
        wheel, library = put_in_place(wheel, output), put_in_place(library, output)
    listed = {
        "model": full_name,
        "version": version,
        "wheel": wheel.name,
        "library": library.name,
        "sha256": {file.name: file_digest(file) for file in (wheel, library)},
        "corpus": facts.corpus,
        "sample": facts.sample,
    }
    write_json(output / MANIFEST, listed)
    return Packaged(full_name, version, wheel, library, facts.sample)


def _write_card(
    pipeline: Path, facts: Facts, name: str, version: str, licences: Path
) -> dict[str, Any]:
    """Write meta.json, README.md, LICENSE and LICENSES_SOURCES into the pipeline's folder."""
    trained = json.loads((pipeline / "meta.json").read_text(encoding="utf-8"))
    onnx = runs_on_onnx(pipeline)
    content = {
        **trained,
        **facts.template,
        "lang": LANG,
        "name": name.removeprefix(f"{LANG}_"),
        "version": version,
        "description": card.describe(facts, onnx),
        "license": facts.licence,
        "sources": card.sources(facts),
        "spacy_version": get_minor_version_range(about.__version__),
        # spaCy adds what the config's functions come from, unless it is listed already.
        "requirements": requirements(
            torch=has_torch(pipeline),
            transformer=has_transformer(pipeline),
            onnx=onnx,
            tokenizers=needs_tokenizers(pipeline),
        ),
        "performance": card.performance(facts),
    }
    write_json(pipeline / "meta.json", content)
    write_text(pipeline / "README.md", card.readme(facts, content))
    write_text(pipeline / "LICENSES_SOURCES", card.licences(facts) + "\n")
    licence = licences / f"{facts.licence}.txt"
    if licence.is_file():
        shutil.copy(licence, pipeline / "LICENSE")
    return content


def _build_model(pipeline: Path, work: Path, content: dict[str, Any]) -> Path:
    """Let spaCy lay out the package, then build its wheel."""
    layout = work / "layout"
    layout.mkdir()
    name = f"{content['lang']}_{content['name']}"
    try:
        spacy_package(pipeline, layout, create_sdist=False, create_wheel=False, silent=True)
    except Exception as error:  # whatever loading the pipeline raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(f"spaCy cannot load the pipeline to package it ({reason}).") from error
    return build_wheel(layout / f"{name}-{content['version']}", work / "dist", name)


def _own_folders(project: Path, model: Path, output: Path, encoders: set[str]) -> set[Path]:
    """Folders of this machine that must not be told."""
    local = {Path(name).expanduser() for name in encoders}
    places = {project, model.parent, output, Path.cwd(), Path.home(), *local}
    return {place.resolve() for place in places} | {place.absolute() for place in places}
