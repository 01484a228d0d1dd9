"""A copy of a pipeline that says nothing about the machine it was trained on."""

import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import srsly
from thinc.api import Config

from gmb_ner.errors import InputError
from gmb_ner.pipeline.bert_tokenizer import is_bert

# Hugging Face writes down where weights and tokenizers were read from, under these names.
_ORIGIN_KEYS = {"_name_or_path", "name_or_path"}
# In the settings of a component that has an encoder of its own.
_WITH_TRANSFORMER = (
    "spacy-transformers.",
    "gmb_ner.Tok2VecTransformer.",
    "gmb_ner.TransformerModel.",
)
# Other layers of torch.
_WITH_TORCH = ("spacy.TorchBiLSTMEncoder.", "gmb_ner.StudyTagger.")
_UNPUBLISHED = "unpublished-encoder"


def copy_scrubbed(source: Path, target: Path, encoder: str | None) -> set[str]:
    """Copy a pipeline; its config has no paths left, and its encoder goes by its public name.

    source, target: folders of pipelines; the second must not exist yet.
    encoder: the encoder's repository, as in "sentence-transformers/all-MiniLM-L6-v2". Where it is
        None, a name that is a folder becomes "unpublished-encoder" and any other stays.

    Loading the copy needs none of it: names and paths are read when training starts.

    Returns the folders that had been given as the encoder's name.
    """
    shutil.copytree(source, target)
    config = Config().from_disk(source / "config.cfg", interpolate=False)
    # What the pipeline needs may refer to a path that is about to go.
    resolved = Config().from_disk(source / "config.cfg", interpolate=True)
    for section in ("nlp", "components"):
        config[section] = resolved.get(section, {})
    names = _rename_encoders(config["components"], encoder)
    for section, is_path in _PATHS.items():
        config[section] = _without_paths(config.get(section, {}), is_path)
    config.to_disk(target / "config.cfg", interpolate=False)
    for path in sorted(target.glob("*/model")):
        _rewrite_model(path, names)
    return {old for old, new in names.items() if old != new}


def has_transformer(source: Path) -> bool:
    """Whether a pipeline holds a transformer of spacy-transformers."""
    return any(
        component.get("factory") == "transformer"
        or any(made_of in str(component) for made_of in _WITH_TRANSFORMER)
        for component in _components(source)
    )


def has_torch(source: Path) -> bool:
    """Whether a pipeline holds layers of torch, a transformer's or others."""
    return has_transformer(source) or any(
        made_of in str(component) for component in _components(source) for made_of in _WITH_TORCH
    )


def runs_on_onnx(source: Path) -> bool:
    """Whether a pipeline was made by `gmb_ner.deploy.export`."""
    return any(component.get("factory") == "onnx_ner" for component in _components(source))


def _components(source: Path) -> list[dict[str, Any]]:
    """The settings of each component of a pipeline."""
    return list(Config().from_disk(source / "config.cfg", interpolate=False)["components"].values())


def needs_tokenizers(source: Path) -> bool:
    """Whether a pipeline on onnxruntime has pieces that only the library tokenizers makes."""
    return runs_on_onnx(source) and any(
        not is_bert(file.read_text(encoding="utf-8")) for file in source.glob("*/tokenizer")
    )


def check_clean(archive: Path, folders: Iterable[Path]) -> None:
    """Look for paths of this machine in every file of a zip.

    folders: absolute paths, none of which may be mentioned.

    Raises InputError that names the file and the path if one is found.
    """
    patterns = {folder: _pattern(folder) for folder in folders if len(folder.parts) > 1}
    with zipfile.ZipFile(archive) as opened:
        for member in opened.namelist():
            data = opened.read(member)
            for folder, pattern in patterns.items():
                if pattern.search(data):
                    raise InputError(
                        f"{member} in {archive.name} mentions {folder}, a path of this machine; "
                        "take it out of the config or the training's settings and package again."
                    )


def _pattern(folder: Path) -> re.Pattern[bytes]:
    """Match a path as text files and JSON (which doubles backslashes) write it."""
    spellings = {str(folder), folder.as_posix(), json.dumps(str(folder))[1:-1]}
    text = b"|".join(re.escape(spelling.encode()) for spelling in sorted(spellings))
    # A folder like /root is short enough to be an ordinary word, so it has to go on.
    end = rb"[/\\]" if len(folder.parts) == 2 else rb"(?![\w-])"
    return re.compile(b"(?:" + text + b")" + end)


def _rename_encoders(section: Any, encoder: str | None) -> dict[str, str]:
    """Rename the encoders of a config's section in place; returns old name -> new name."""
    names: dict[str, str] = {}
    if not isinstance(section, dict):
        return names
    old = section.get("name")
    if "@architectures" in section and "TransformerModel" in section["@architectures"] and old:
        names[old] = section["name"] = encoder or (_UNPUBLISHED if _is_folder(old) else old)
    for value in section.values():
        names |= _rename_encoders(value, encoder)
    return names


def _is_folder(name: str) -> bool:
    path = Path(name)
    return path.is_absolute() or path.is_dir() or name.startswith((".", "~")) or "\\" in name


def _without_paths(value: Any, is_path: Callable[[str], bool]) -> Any:
    """The section with null for its paths; references to others stay."""
    if isinstance(value, dict):
        return {
            key: _without_paths(item, _any if key == "path" or key.endswith("_path") else is_path)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without_paths(item, is_path) for item in value]
    if not isinstance(value, str) or value.startswith("${"):
        return value
    return None if is_path(value) else value


def _any(text: str) -> bool:
    return True


def _has_separator(text: str) -> bool:
    return "/" in text or "\\" in text


def _is_absolute(text: str) -> bool:
    return Path(text).is_absolute()


# What counts as a path in each section that is read when training starts, and never after.
_PATHS = {
    "paths": _any,
    "corpora": _has_separator,
    "initialize": _has_separator,
    "training": _is_absolute,
    "pretraining": _is_absolute,
}


def _rewrite_model(path: Path, names: dict[str, str]) -> None:
    """Rename the encoders inside the file of a model, if it mentions any."""
    data = path.read_bytes()
    mentioned = [key.encode() for key in {*names, *_ORIGIN_KEYS}]
    if any(key in data for key in mentioned):
        path.write_bytes(srsly.msgpack_dumps(_renamed(srsly.msgpack_loads(data), names, mentioned)))


def _renamed(value: Any, names: dict[str, str], mentioned: list[bytes]) -> Any:
    """The value with the encoders' names replaced, through messages packed inside messages."""
    if isinstance(value, dict):
        return {
            # Where weights were read from is the name's new value, or nothing is known about it.
            key: _origin(item, names) if key in _ORIGIN_KEYS else _renamed(item, names, mentioned)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_renamed(item, names, mentioned) for item in value]
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, bytes) and any(key in value for key in mentioned):
        return _repacked(value, names, mentioned)
    return value


def _origin(old: str | None, names: dict[str, str]) -> str:
    if old in names:
        return names[old]
    return next(iter(names.values()), "") if len(names) == 1 else ""


def _repacked(data: bytes, names: dict[str, str], mentioned: list[bytes]) -> bytes:
    """Bytes that are a message or a JSON object (a tokenizer's file) in their turn, renamed."""
    try:
        if data.lstrip().startswith(b"{"):
            loaded = json.loads(data)
            return json.dumps(_renamed(loaded, names, mentioned), ensure_ascii=False).encode()
        loaded = srsly.msgpack_loads(data)
    except Exception:  # something else that happens to hold the words; `check_clean` has the say
        return data
    return srsly.msgpack_dumps(_renamed(loaded, names, mentioned))
