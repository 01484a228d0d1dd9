"""Everything that is known about a trained pipeline, gathered from the files of a run."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gmb_ner.errors import InputError
from gmb_ner.files import read_object
from gmb_ner.reproduce import check_trained_on, run_command
from gmb_ner.training.plan import CONFIGS

# The licence of the trained weights where they are free to have one: that of both encoders.
OWN_LICENCE = "Apache-2.0"
UNKNOWN_LICENCE = "unknown: the licence of the training data decides"
_REPOSITORY = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True)
class Facts:
    """What the meta, the card and the name of a package are made from.

    corpus: "gmb", "sample", or the name of a user's own file; sample: whether it is the second.
    protocol, config, seed: how the pipeline was trained.
    encoder: key, repo, revision, licence and origin of the weights it started from, or None.
    data: source and licence of the training data, as `fetch` recorded them.
    scores: what `evaluate` measured on the test part.
    template: metas/meta.json.
    licence: of the pipeline. again: the command that makes it once more.
    """

    corpus: str
    sample: bool
    protocol: str
    config: str
    seed: int | None
    encoder: dict[str, Any] | None
    data: dict[str, Any]
    scores: dict[str, Any]
    template: dict[str, Any]
    licence: str
    again: str

    @property
    def repository(self) -> str | None:
        """The public name of the encoder, None if it has none (a folder of the user's own)."""
        name = (self.encoder or {}).get("repo")
        return name if name and _REPOSITORY.fullmatch(name) and not Path(name).exists() else None


def read_facts(
    manifest: Path, run: Path, scores: Path, fetched: Path, meta: Path, onnx: bool = False
) -> Facts:
    """Gather the facts, and hold the files to one another.

    manifest: corpus/manifest.json. run: training/run.json. scores: metrics/test.json.
    fetched: assets/corpus.json. meta: metas/meta.json. onnx: for the exported pipeline.

    Raises InputError if a file is missing or incomplete, or tells of another corpus, protocol,
    config or seed than the others: scores of one pipeline must not travel with another.
    """
    measuring = "evaluate-onnx" if onnx else "evaluate"
    convert, train, evaluate, fetch = (
        f"make it with `spacy project run {step}`"
        for step in ("convert", "train", measuring, "fetch")
    )
    made = read_object(manifest, convert)
    trained = read_object(run, train)
    measured = read_object(scores, evaluate)
    data = read_object(fetched, fetch)
    template = read_object(meta, "restore it from the project")
    _require(manifest, made, ("corpus", "protocol"), convert)
    _require(run, trained, ("config",), train)
    _require(scores, measured, ("gold_tokens", "raw_text", "interval95"), evaluate)
    _require(fetched, data, ("source", "licence"), fetch)
    check_trained_on(trained, made)
    sample = bool(made.get("sample", False))
    corpus = "sample" if sample else str(made["corpus"])
    expected = {
        "corpus": corpus,
        "protocol": made["protocol"],
        "config": trained["config"],
        "seed": trained.get("seed"),
    }
    for key, value in expected.items():
        if key in measured and measured[key] != value:
            raise InputError(
                f"{scores} was measured with {key} {measured[key]!r}, but training and conversion "
                f"were last made with {value!r}; measure anew with `spacy project run {measuring}`."
            )
    of_data = "sample" if data.get("sample") else data.get("corpus", corpus)
    if of_data != corpus:
        raise InputError(
            f"{fetched} is about {of_data!r}, but {manifest} about {corpus!r}; {convert}."
        )
    licence = str(template.get("license") or "auto")
    if licence == "auto":
        encoder = trained.get("encoder")
        free = encoder.get("licence") == OWN_LICENCE if encoder else trained["config"] in CONFIGS
        licence = OWN_LICENCE if free and (sample or corpus == "gmb") else UNKNOWN_LICENCE
    return Facts(
        corpus=corpus,
        sample=sample,
        protocol=str(made["protocol"]),
        config=str(trained["config"]),
        seed=trained.get("seed"),
        encoder=trained.get("encoder"),
        data=data,
        scores=measured,
        template=template,
        licence=licence,
        again=run_command(made, trained),
    )


def _require(path: Path, data: dict[str, Any], keys: tuple[str, ...], remedy: str) -> None:
    missing = [key for key in keys if key not in data]
    if missing:
        raise InputError(f"{path} has no {' and no '.join(missing)}; {remedy}.")
