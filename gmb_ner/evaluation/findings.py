"""Errors one by one: the frequent, the confident, and those that may be the corpus' own."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spacy.tokens import Doc

from gmb_ner.evaluation.errors import error_kind, pair_spans
from gmb_ner.evaluation.scored import EntitySpan, ScoredDoc

# A prediction as sure as this that gold contradicts is worth a second look at gold.
SUSPECT = 0.95


@dataclass(frozen=True)
class Mention:
    """An entity in a sentence: its characters there (end exclusive), label and text."""

    start: int
    end: int
    label: str
    text: str


@dataclass(frozen=True)
class Finding:
    """An error, or two of one place.

    document: its number among the test documents, from 1. sentence: text around it.
    gold, predicted: what it is about; None where it was spurious or missed.
    kind: as of `gmb_ner.evaluation.errors.error_kind`. confidence: of the prediction (0..1).
    """

    document: int
    sentence: str
    gold: Mention | None
    predicted: Mention | None
    kind: str
    confidence: float | None

    @property
    def labels(self) -> list[str]:
        """Those of both sides."""
        return sorted({side.label for side in (self.gold, self.predicted) if side})

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def findings(references: Sequence[Doc], docs: Sequence[ScoredDoc]) -> list[Finding]:
    """All errors, in the order of the text.

    references, docs: the same documents in the same order.
    """
    return [
        finding
        for number, (reference, doc) in enumerate(zip(references, docs, strict=True), 1)
        for finding in _of_document(number, reference, doc)
    ]


def _of_document(number: int, reference: Doc, doc: ScoredDoc) -> Iterator[Finding]:
    confidences: dict[EntitySpan, float] = {}
    if doc.confidences is not None:
        confidences = dict(zip(doc.predicted, doc.confidences.tolist(), strict=True))
    for gold, predicted in pair_spans(doc.gold, doc.predicted):
        kind = error_kind(gold, predicted)
        if kind == "correct":
            continue
        spans = [span for span in (gold, predicted) if span]
        first, last = min(span[0] for span in spans), max(span[1] for span in spans)
        # An entity may run over the border of a sentence.
        start = max(begin for begin, _ in doc.sentences if begin <= first)
        end = min(stop for _, stop in doc.sentences if stop >= last)
        around = reference[start:end]
        yield Finding(
            number,
            around.text,
            _mention(reference, around.start_char, gold),
            _mention(reference, around.start_char, predicted),
            kind,
            None if predicted is None else confidences.get(predicted),
        )


def _mention(reference: Doc, offset: int, span: EntitySpan | None) -> Mention | None:
    if span is None:
        return None
    chars = reference[span[0] : span[1]]
    return Mention(chars.start_char - offset, chars.end_char - offset, span[2], chars.text)


def most_confident(found: Sequence[Finding], most: int) -> list[Finding]:
    """The errors of the highest confidence; of pipelines without, the first ones."""
    return sorted(found, key=lambda finding: -(finding.confidence or 0.0))[:most]


def suspects(found: Sequence[Finding]) -> list[Finding]:
    """Errors so confident that the annotation may be at fault, the most confident first."""
    sure = [f for f in found if f.confidence is not None and f.confidence >= SUSPECT]
    return most_confident(sure, len(sure))


def most_frequent(found: Sequence[Finding], most: int) -> list[tuple[str, str, str, int]]:
    """The errors that come most often: kind, gold, prediction (text and label), and how often."""
    counts = Counter(
        (finding.kind, _named(finding.gold), _named(finding.predicted)) for finding in found
    )
    return [(*error, times) for error, times in counts.most_common(most)]


def _named(mention: Mention | None) -> str:
    return "" if mention is None else f"{mention.text} ({mention.label})"
