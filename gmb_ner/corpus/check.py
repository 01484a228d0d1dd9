"""Read the converted corpus back and hold it to its manifest and audit."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.vocab import Vocab

from ..errors import InputError
from ..files import read_object
from .convert import AUDIT, MANIFEST
from .split import DEV, PARTS, TEST, TRAIN, normalise


def check_corpus(folder: Path) -> dict[str, Any]:
    """Recount the Docs of a converted corpus.

    folder: with train.spacy, dev.spacy, test.spacy, manifest.json and audit.json.
    Returns, ready for JSON, the checks that hold and the recounted figures: sentences, words and
    entities by label of each part, and `test_sentences_also_in_train_or_dev`, found from the
    Docs' own texts.
    Raises InputError that names the first figure that does not hold: a part that differs from
    its manifest, rows that do not add up, an entity in a sentence that is only partly annotated,
    or, under the contiguous protocol, a test sentence whose text is trained or tuned on.
    """
    remedy = "make it with `spacy project run convert`"
    manifest = read_object(folder / MANIFEST, remedy)
    audited = read_object(folder / AUDIT, remedy)
    rows = audited["rows"]
    _hold("rows kept and dropped", rows["kept"] + sum(rows["dropped"].values()), rows["read"])
    _hold("words by tag", sum(audited["tags"].values()), rows["kept"])
    entities = {label: n for label, n in audited["entities"].items() if label != "count"}
    _hold("entities by label", sum(entities.values()), audited["entities"]["count"])

    vocab = spacy.blank("en").vocab
    parts: dict[str, dict[str, Any]] = {}
    texts: dict[str, list[str]] = {}
    for part in PARTS:
        parts[part], texts[part] = _recount(_docs(folder / f"{part}.spacy", vocab), part)
        for figure in ("docs", "sentences", "words"):
            _hold(f"{figure} of {part}", parts[part][figure], manifest["parts"][part][figure])
        known = {k: n for k, n in manifest["parts"][part]["entities"].items() if k != "count"}
        _hold(f"entities of {part}", parts[part]["entities"], known)
    in_parts = sum(about["sentences"] for about in parts.values())
    _hold(
        "sentences of all parts and left out",
        in_parts + manifest["sentences_left_out"],
        audited["sentences"]["count"],
    )
    seen = {*texts[TRAIN], *texts[DEV]}
    leaked = sum(text in seen for text in texts[TEST])
    _hold("test sentences also in train or dev", leaked, audited[_LEAKED])
    if manifest["protocol"] == "contiguous":
        _hold("test sentences also in train or dev", leaked, 0)
    return {
        "corpus": manifest["corpus"],
        "sample": manifest["sample"],
        "protocol": manifest["protocol"],
        "holds": True,
        "parts": parts,
        _LEAKED: leaked,
    }


_LEAKED = "test_sentences_also_in_train_or_dev"


def _recount(docs: Iterator[Doc], part: str) -> tuple[dict[str, Any], list[str]]:
    """Figures of one part, and the normalised text of each of its sentences."""
    n_docs, words, entities, texts = 0, 0, Counter[str](), list[str]()
    for doc in docs:
        n_docs += 1
        entities.update(entity.label_ for entity in doc.ents)
        for sentence in doc.sents:
            if _is_annotated(sentence, part):
                words += len(sentence)
                texts.append(normalise([token.text for token in sentence]))
    figures = {
        "docs": n_docs,
        "sentences": len(texts),
        "words": words,
        "entities": dict(entities.most_common()),
    }
    return figures, texts


def _is_annotated(sentence: Span, part: str) -> bool:
    """Whether a sentence belongs to the part: all of its tokens are annotated, or none."""
    annotated = {token.ent_iob != 0 for token in sentence}
    if len(annotated) > 1:
        raise InputError(
            f"{part}.spacy: the sentence '{sentence.text[:60]}' is annotated in part only; "
            "convert again with `spacy project run convert`."
        )
    return annotated.pop()


def _docs(path: Path, vocab: Vocab) -> Iterator[Doc]:
    try:
        return DocBin().from_disk(path).get_docs(vocab)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: make it with `spacy project run convert`.") from (
            error
        )


def _hold(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise InputError(
            f"{what}: {found} were counted and {expected} are on record; convert again with "
            "`spacy project run convert`."
        )
