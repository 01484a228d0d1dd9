"""The files that an evaluation reads: pipeline, documents, manifest, run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spacy
from spacy import util
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab
from thinc.api import Config

from gmb_ner.errors import InputError
from gmb_ner.files import read_object
from gmb_ner.pipeline.loading import load_model
from gmb_ner.reproduce import check_trained_on

# What to do where a record is missing.
CONVERT = "make it with `spacy project run convert`"
TRAIN = "make it with `spacy project run train`"


@dataclass(frozen=True)
class Manifest:
    """What the documents are: name of the corpus, whether it is the sample, protocol."""

    corpus: str
    sample: bool
    protocol: str


@dataclass(frozen=True)
class Run:
    """How the pipeline was trained: name of its config, seed, GPU (-1: CPU)."""

    config: str = ""
    seed: int | None = None
    gpu_id: int = -1


def read_records(manifest: Path | None, run: Path | None) -> tuple[Manifest, Run]:
    """Read both, see below; raises InputError too where the run trained on another corpus."""
    documents, training = read_manifest(manifest), read_run(run)
    if manifest is not None and run is not None:
        check_trained_on(read_object(run, TRAIN), read_object(manifest, CONVERT))
    return documents, training


def read_manifest(path: Path | None) -> Manifest:
    """Read corpus/manifest.json; without a path, nothing is known about the documents.

    The sample is always named "sample", whatever file it came from. Raises InputError if the
    file is missing or not such a manifest.
    """
    if path is None:
        return Manifest(corpus="", sample=False, protocol="")
    data = read_object(path, CONVERT)
    missing = [key for key in ("corpus", "protocol") if key not in data]
    if missing:
        raise InputError(
            f"{path} has no {' and no '.join(missing)}; make it anew with "
            "`spacy project run convert`."
        )
    sample = bool(data.get("sample", False))
    corpus = "sample" if sample else str(data["corpus"])
    return Manifest(corpus=corpus, sample=sample, protocol=str(data["protocol"]))


def read_run(path: Path | None) -> Run:
    """Read training/run.json; without a path, nothing is known about the training.

    Raises InputError if the file is missing or not a JSON object.
    """
    if path is None:
        return Run()
    data = read_object(path, TRAIN)
    gpu_id = data.get("gpu_id")
    return Run(
        config=str(data.get("config", "")),
        seed=data.get("seed"),
        gpu_id=-1 if gpu_id is None else int(gpu_id),
    )


def choose_gpu(option: str, run: Run) -> int:
    """The GPU to use: `option` as a number (-1: CPU), or the one of the training for "auto".

    Raises InputError for anything else.
    """
    if option == "auto":
        return run.gpu_id
    try:
        return max(int(option), -1)
    except ValueError:
        raise InputError(f"--gpu-id has to be a number or auto, not {option!r}.") from None


def load_pipeline(path: Path, gpu_id: int = -1, settings: Sequence[str] = ()) -> Language:
    """Load a trained pipeline on the CPU (-1) or the given GPU.

    settings: of its config that are another, each such as "components.ner.threshold=0.9".
    Raises InputError if there is no pipeline, no such GPU, or for a setting that it does not have.
    """
    if gpu_id >= 0:
        try:
            spacy.require_gpu(gpu_id)
        except Exception as error:  # CUDA's own errors differ by version and share no base
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"GPU {gpu_id} cannot be used ({reason.rstrip('.')}); use --gpu-id -1 for the CPU "
                "(--vars.gpu_id -1 in `spacy project run`)."
            ) from error
    if not (path / "meta.json").is_file():
        raise InputError(
            f"{path} is not a trained pipeline; make it with `spacy project run train`."
        )
    return load_model(path, _overrides(path, settings))


def _overrides(path: Path, settings: Sequence[str]) -> dict[str, Any]:
    config = util.load_config(path / "config.cfg") if settings else Config()
    overrides = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            util.dot_to_object(config, name)
        except KeyError:
            value = ""
        if not value:
            raise InputError(
                f"--set {setting} is no setting of {path / 'config.cfg'}: give NAME=VALUE, such as "
                "components.ner.threshold=0.9."
            )
        # As a config reads it: numbers, true, "text", lists.
        overrides[name] = Config().from_str(f"[set]\nvalue = {value}")["set"]["value"]
    return overrides


def load_docs(path: Path, vocab: Vocab) -> list[Doc]:
    """Read the documents of a .spacy file.

    Raises InputError if there is no such file, if it is something else, or if it is empty.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}; make it with `spacy project run convert`.")
    try:
        docs = list(DocBin().from_disk(path).get_docs(vocab))
    except Exception as error:  # zlib, msgpack and numpy each raise their own
        raise InputError(
            f"{path} is not a .spacy file of documents; make it anew with "
            "`spacy project run convert`."
        ) from error
    if not docs:
        raise InputError(
            f"{path} holds no documents; convert a corpus with more sentences, so that this part "
            "gets some."
        )
    return docs
