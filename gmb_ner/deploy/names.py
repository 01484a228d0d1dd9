"""What a packaged pipeline is called, and which versions it wants."""

import importlib.metadata
import re
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from gmb_ner.errors import InputError

LANG = "en"
SIZES = {
    "bert": "trf",
    "minilm": "sm",
    "minilm-fast": "sm_fast",
    "bert-stock": "trf_stock",
    "minilm-stock": "sm_stock",
    "cnn": "cnn",
    "crf": "crf",
}
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def package_name(name: str, config: str, corpus: str, sample: bool, onnx: bool = False) -> str:
    """The importable name of the package, as in en_ner_gmb_sm.

    name: the part in the middle, or "auto": ner_gmb for the corpus and its sample, and ner_ with
        the corpus' own name for a user's file. So a package is called after the Groningen Meaning
        Bank if it was trained on it, or if somebody says so on purpose (for a cleaned copy of it,
        say): a name is what people go by, long after the card is out of sight.
    config: a key of `SIZES`, or the path of another config, whose stem is the size then.
    sample: puts _sample at the end, whatever the name. onnx: puts _onnx after the size.

    Raises InputError if the name cannot be that of a package.
    """
    if name == "auto":
        name = "ner_gmb" if sample else f"ner_{slug(corpus)}"
    elif not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of a package; use lower-case letters and digits, words "
            "joined by single underscores and a letter first, as in ner_news."
        )
    elif name == LANG or name.startswith(f"{LANG}_"):
        raise InputError(
            f"{LANG}_ is put before the name by itself; give {name!r} without it, as in ner_news."
        )
    size = SIZES.get(config) or slug(Path(config).stem)
    return "_".join([LANG, name, size] + ["onnx"] * onnx + ["sample"] * sample)


def slug(text: str) -> str:
    """Lower-case letters and digits of a text, joined by underscores.

    Raises InputError if it has none.
    """
    words = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    if not words:
        raise InputError(
            f"{text!r} holds no letter or digit a package could be named after; rename it."
        )
    return words


def check_version(version: str) -> str:
    """The version, if it is written as a wheel writes it.

    Raises InputError otherwise: pip and spaCy would call the same package by two versions.
    """
    try:
        normal = str(Version(version))
    except InvalidVersion:
        raise InputError(f"{version!r} is not a version; give one like 0.1.0.") from None
    if normal != version:
        raise InputError(f"The version {version!r} has to be written {normal}.")
    return version


def requirements(
    *, torch: bool, transformer: bool, onnx: bool = False, tokenizers: bool = False
) -> list[str]:
    """What the package requires: the versions it was made with, up to the next minor ones.

    torch: whether the pipeline holds layers of torch; transformer: whether among them is a
        transformer of spacy-transformers; onnx: whether it runs on onnxruntime, which gmb-ner's
        extra brings; tokenizers: whether that needs the library of this name.
    """
    library = minor_range("gmb-ner")
    pinned = [
        minor_range("spacy"),
        library.replace("gmb-ner", "gmb-ner[onnx]") if onnx else library,
    ]
    if tokenizers:
        pinned.append(minor_range("tokenizers"))
    bounds: Iterable[str] = ()
    if transformer:
        carrier = "spacy-transformers"
        bounds = importlib.metadata.requires(carrier) or []
        pinned += [minor_range(carrier), minor_range("transformers", bounds)]
    if torch:
        pinned.append(minor_range("torch", bounds))
    return pinned


def minor_range(distribution: str, bounds: Iterable[str] = ()) -> str:
    """The installed version of a distribution up to the next minor one, as a requirement.

    bounds: requirements of others; an upper bound for this distribution that lies below the next
        minor version takes its place.
    """
    # Without a local suffix as in 2.13.0+cpu, which the index does not have.
    installed = Version(Version(importlib.metadata.version(distribution)).public)
    upper = Version(f"{installed.major}.{installed.minor + 1}.0")
    for requirement in map(Requirement, bounds):
        if requirement.name.lower() == distribution and not requirement.marker:
            below = [s.version for s in requirement.specifier if s.operator == "<"]
            upper = min([upper, *map(Version, below)])
    return f"{distribution}>={installed},<{upper}"
