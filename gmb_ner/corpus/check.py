"""Read the converted corpus back and hold it to its manifest and audit."""

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.vocab import Vocab

from gmb_ner.corpus.convert import AUDIT, MANIFEST
from gmb_ner.corpus.split import DEV, PARTS, TEST, TRAIN, normalise
from gmb_ner.errors import InputError
from gmb_ner.files import read_object

_LEAKED = "test_sentences_also_in_train_or_dev"
_REMEDY = "convert again with `spacy project run convert`"


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
    vocab = spacy.blank("en").vocab
    parts = {part: _recount(_docs(folder / f"{part}.spacy", vocab), part) for part in PARTS}
    seen = {*parts[TRAIN].texts, *parts[DEV].texts}
    leaked = sum(text in seen for text in parts[TEST].texts)
    try:
        _check_audit(audited)
        _check_manifest(manifest, audited, parts)
        for name, record in ((MANIFEST, manifest), (AUDIT, audited)):
            _hold(f"test sentences also in train or dev ({name})", leaked, record[_LEAKED])
        if manifest["protocol"] != "canonical" and leaked:
            raise InputError(
                f"{folder / 'test.spacy'}: test sentences also in train or dev: {leaked}, and the "
                f"protocol {manifest['protocol']} allows none; {_REMEDY}."
            )
        return {
            "corpus": manifest["corpus"],
            "sample": manifest["sample"],
            "protocol": manifest["protocol"],
            "holds": True,
            "parts": {part: recounted.figures() for part, recounted in parts.items()},
            _LEAKED: leaked,
        }
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{folder}: {MANIFEST} and {AUDIT} are not as they are written here (at {error}); "
            f"{_REMEDY}."
        ) from error


@dataclass
class _Part:
    """What the Docs of one part hold: `longest` in sentences, `texts` normalised."""

    docs: int = 0
    words: int = 0
    longest: int = 0
    entities: Counter[str] = field(default_factory=Counter)
    texts: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        return {
            "docs": self.docs,
            "sentences": len(self.texts),
            "words": self.words,
            "entities": dict(self.entities.most_common()),
        }


def _check_audit(audited: Mapping[str, Any]) -> None:
    """The audit's own sums."""
    rows = audited["rows"]
    _hold("rows kept and dropped", rows["kept"] + sum(rows["dropped"].values()), rows["read"])
    _hold("words by tag", sum(audited["tags"].values()), rows["kept"])
    entities = {label: n for label, n in audited["entities"].items() if label != "count"}
    _hold("entities by label", sum(entities.values()), audited["entities"]["count"])
    for label, known in entities.items():
        _hold(f"entities {label} by tag", audited["tags"].get(f"B-{label}", 0), known)


def _check_manifest(
    manifest: Mapping[str, Any], audited: Mapping[str, Any], parts: Mapping[str, _Part]
) -> None:
    """Every figure of the manifest, against the Docs, and all parts together against the audit."""
    for part, recounted in parts.items():
        known, found = manifest["parts"][part], recounted.figures()
        for figure in ("docs", "sentences", "words"):
            _hold(f"{figure} of {part}", found[figure], known[figure])
        for label in sorted({*found["entities"], *known["entities"]} - {"count"}):
            counted = found["entities"].get(label, 0)
            _hold(f"entities {label} of {part}", counted, known["entities"].get(label, 0))
        _hold(f"entities of {part}", sum(found["entities"].values()), known["entities"]["count"])
    sentences = audited["sentences"]["count"]
    left_out = manifest["sentences_left_out"]
    in_parts = sum(len(part.texts) for part in parts.values())
    _hold("sentences", sentences, manifest["sentences"])
    _hold("sentences of all parts and left out", in_parts + left_out, sentences)
    longest = max(part.longest for part in parts.values())
    _hold("sentences per Doc", longest, min(manifest["sentences_per_doc"], sentences))
    labels = sorted(label for label in audited["entities"] if label != "count")
    _hold("labels", labels, manifest["labels"])
    if not left_out:
        words = sum(part.words for part in parts.values())
        _hold("words of all parts", words, audited["rows"]["kept"])
        for label in labels:
            in_parts = sum(part.entities[label] for part in parts.values())
            _hold(f"entities {label} of all parts", in_parts, audited["entities"][label])


def _recount(docs: Iterator[Doc], part: str) -> _Part:
    recounted = _Part()
    for doc in docs:
        recounted.docs += 1
        recounted.entities.update(entity.label_ for entity in doc.ents)
        sentences = 0
        for sentence in doc.sents:
            sentences += 1
            if _is_annotated(sentence, part):
                recounted.words += len(sentence)
                recounted.texts.append(normalise([token.text for token in sentence]))
        recounted.longest = max(recounted.longest, sentences)
    return recounted


def _is_annotated(sentence: Span, part: str) -> bool:
    """Whether a sentence belongs to the part: all of its tokens are annotated, or none."""
    annotated = {token.ent_iob != 0 for token in sentence}
    if len(annotated) > 1:
        raise InputError(
            f"{part}.spacy: the sentence '{sentence.text[:60]}' is annotated in part only; "
            f"{_REMEDY}."
        )
    return annotated.pop()


def _docs(path: Path, vocab: Vocab) -> Iterator[Doc]:
    try:
        yield from DocBin().from_disk(path).get_docs(vocab)
    except (OSError, ValueError, KeyError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: make it with `spacy project run convert`.") from (
            error
        )


def _hold(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise InputError(f"{what}: {found} were counted and {expected} are on record; {_REMEDY}.")
