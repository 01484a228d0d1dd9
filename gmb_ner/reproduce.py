"""What the records of a run tell: what was trained on, and the command that does it once more."""

import shlex
from collections.abc import Mapping
from typing import Any

from gmb_ner.errors import InputError

SAMPLE_CSV = "corpus/sample.csv"
SENTENCES_PER_DOC = 5  # where nothing else is asked for, as in project.yml


def source_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a converted corpus is, as a training records it; manifest: corpus/manifest.json.

    The file of words may change, in its test sentences, where the Docs to learn from do not.
    """
    parts = manifest.get("parts") or {}
    return {
        "corpus": "sample" if manifest.get("sample") else manifest["corpus"],
        "protocol": manifest["protocol"],
        "sha256": {part: parts.get(part, {}).get("sha256") for part in ("train", "dev")},
    }


def check_trained_on(run: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Raise InputError where a pipeline was trained on another corpus than the one converted.

    run: training/run.json; one that tells nothing of its corpus is taken as it is.
    """
    trained, here = run.get("source"), source_of(manifest)
    if trained is not None and trained != here:
        before, now = (f"{of['corpus']} ({of['protocol']})" for of in (trained, here))
        raise InputError(
            f"The pipeline was trained on {before}, and what is converted now is "
            f"{now if now != before else 'another version of it'}: run `spacy project run "
            "train --force`, or fetch and convert that corpus again."
        )


def run_command(manifest: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """`spacy project run all` with the vars that are recorded.

    manifest: corpus/manifest.json. run: training/run.json. A CSV of the user's own is named
    without its folder, and without what its columns are called: neither is recorded.
    """
    names: dict[str, Any] = {}
    if manifest.get("sample"):
        names["csv"] = SAMPLE_CSV
    elif manifest["corpus"] != "gmb":
        names["csv"] = (manifest.get("source") or {}).get("file", "your.csv")
    names |= {"config": run["config"], "protocol": manifest["protocol"]}
    if run.get("seed") is not None:
        names["seed"] = run["seed"]
    if run.get("max_steps"):
        names["max_steps"] = run["max_steps"]
    if manifest.get("sentences_per_doc", SENTENCES_PER_DOC) != SENTENCES_PER_DOC:
        names["sentences_per_doc"] = manifest["sentences_per_doc"]
    given = (f"--vars.{name} {shlex.quote(str(value))}" for name, value in names.items())
    return " ".join(["spacy project run all .", *given])
