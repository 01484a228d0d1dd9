"""Load an installed pipeline where there is no network, use it, and write down what it does.

A program of its own, which `gmb_ner.deploy.prove` runs in a clean environment: it must not import
anything but spaCy and the standard library. Usage: _proof.py job.json result.json
"""

import importlib.metadata
import json
import platform
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ATTEMPTS: list[str] = []


def block_network() -> None:
    """Let every attempt to reach a network fail, and remember it."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        ATTEMPTS.append(repr(args[-1] if args else kwargs))
        raise OSError("there is no network here")

    for name in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, refuse)
    socket.getaddrinfo = refuse
    socket.create_connection = refuse


def entities(doc: Any) -> list[list[Any]]:
    """Text, first and last character, label."""
    return [[ent.text, ent.start_char, ent.end_char, ent.label_] for ent in doc.ents]


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Do the job; returns entities, versions, and the complaints of each check (none: passed).

    job: model (name of a package, or a path), sentences, colors (label -> hex RGB), explain
        (labels that spaCy has to know the meaning of).
    """
    import spacy
    from spacy import displacy

    started = time.perf_counter()
    nlp = spacy.load(job["model"])
    seconds = time.perf_counter() - started
    # Before anything else could have brought them.
    explained = {label: spacy.explain(label) for label in job["explain"]}
    sentences: list[str] = job["sentences"]
    found = [entities(nlp(text)) for text in sentences]

    def pipe() -> list[str]:
        together = [entities(doc) for doc in nlp.pipe(sentences)]
        return [
            f"sentence {i}: alone {alone}, in a batch {batched}"
            for i, (alone, batched) in enumerate(zip(found, together, strict=True))
            if alone != batched
        ]

    def round_trip() -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            nlp.to_disk(folder)
            again = spacy.load(folder)
        return [
            f"sentence {i}: before {before}, after saving and loading {after}"
            for i, (before, after) in enumerate(
                zip(found, (entities(again(text)) for text in sentences), strict=True)
            )
            if before != after
        ]

    def explain() -> list[str]:
        return [
            f"spacy.explain({label!r}) is None" for label, text in explained.items() if not text
        ]

    def draw() -> list[str]:
        colors = job["colors"]
        texts = [{"start": i, "end": i + 1, "label": label} for i, label in enumerate(colors)]
        page = displacy.render(
            {"text": "x" * len(colors), "ents": texts}, style="ent", manual=True, jupyter=False
        )
        missing = [f"{label} is not {rgb}" for label, rgb in colors.items() if rgb not in page]
        drawn = "".join(
            displacy.render(nlp(text), style="ent", jupyter=False)
            for text, ents in zip(sentences, found, strict=True)
            if ents
        )
        labels = {label for ents in found for *_, label in ents}
        return missing + [f"{label} is not drawn" for label in labels if label not in drawn]

    checks: dict[str, Callable[[], list[str]]] = {
        "nlp.pipe gives what nlp() gives": pipe,
        "the same after to_disk and from_disk": round_trip,
        "spacy.explain answers": explain,
        "displaCy draws with the palette": draw,
    }
    complaints = {name: complaint(check) for name, check in checks.items()}
    complaints["no network asked for"] = list(ATTEMPTS)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "prefix": sys.prefix,
        "path": sys.path,
        "files": {
            name: str(module.__file__)
            for name, module in sorted(sys.modules.items())
            if "." not in name and getattr(module, "__file__", None)
        },
        "packages": {
            str(dist.metadata["Name"]): dist.version for dist in importlib.metadata.distributions()
        },
        "load_seconds": seconds,
        "entities": found,
        "checks": complaints,
    }


def complaint(check: Callable[[], list[str]]) -> list[str]:
    """What a check has to complain about; that it fails is a complaint too."""
    try:
        return check()
    except Exception:
        return [traceback.format_exc().strip().splitlines()[-1]]


if __name__ == "__main__":
    block_network()
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    result = main(order)
    Path(sys.argv[2]).write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
