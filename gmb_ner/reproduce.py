"""The command that makes a pipeline once more, from the records of its run."""

import shlex
from collections.abc import Mapping
from typing import Any

SAMPLE_CSV = "corpus/sample.csv"
SENTENCES_PER_DOC = 5  # where nothing else is asked for, as in project.yml


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
