"""Test documents with gold and predicted entities side by side, cut to what is scored."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc

from gmb_ner.corpus.docs import annotated_runs
from gmb_ner.evaluation.errors import error_kind, pair_spans
from gmb_ner.evaluation.predict import as_trained, predict_gold_tokens
from gmb_ner.evaluation.scored import ScoredDoc, scored_doc

CUT = " […] "
"""Stands for the sentences left out, which belong to other parts of the corpus."""


@dataclass(frozen=True)
class ComparedEntity:
    """An entity by its characters (end exclusive), and the `error_kind` of its pair."""

    start: int
    end: int
    label: str
    kind: str


@dataclass(frozen=True)
class Comparison:
    """One document: its number among the test documents (from 1), text, entities and counts."""

    number: int
    sentences: int
    text: str
    gold: list[ComparedEntity]
    predicted: list[ComparedEntity]
    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def errors(self) -> int:
        """False positives and false negatives together."""
        return self.false_positives + self.false_negatives

    @property
    def error_rate(self) -> float:
        """Errors by entities, counting an entity found or predicted once."""
        return self.errors / max(1, self.errors + self.true_positives)


def compare_documents(
    nlp: Language,
    references: Iterable[Doc],
    *,
    at_most: int = 400,
    batch_size: int | None = None,
) -> list[Comparison]:
    """Predict on references and set both sides beside each other, in the order of the documents.

    at_most: how many documents are predicted on; of more, as many are taken evenly spaced. Where
        the pipeline learned from single sentences, these are its documents.
    """
    numbered = [(i, part) for i, doc in enumerate(references, 1) for part in as_trained(nlp, [doc])]
    if len(numbered) > at_most:
        picks = np.linspace(0, len(numbered) - 1, at_most).round().astype(int)
        numbered = [numbered[i] for i in picks]
    predictions = predict_gold_tokens(nlp, (doc for _, doc in numbered), batch_size=batch_size)
    return [
        compare(number, reference, scored_doc(reference, predicted))
        for (number, reference), predicted in zip(numbered, predictions, strict=True)
    ]


def compare(number: int, reference: Doc, scored: ScoredDoc) -> Comparison:
    """Cut a document to its scored sentences and set gold beside prediction."""
    text, offsets = _annotated_text(reference, scored)
    gold: list[ComparedEntity] = []
    predicted: list[ComparedEntity] = []
    kinds: Counter[str] = Counter()
    for gold_span, predicted_span in pair_spans(scored.gold, scored.predicted):
        kind = error_kind(gold_span, predicted_span)
        kinds[kind] += 1
        for span, side in ((gold_span, gold), (predicted_span, predicted)):
            if span:
                start, end, label = span
                chars, shift = reference[start:end], offsets[start]
                start_char, end_char = chars.start_char + shift, chars.end_char + shift
                side.append(ComparedEntity(start_char, end_char, label, kind))
    right = kinds["correct"]
    return Comparison(
        number=number,
        sentences=len(scored.sentences),
        text=text,
        gold=gold,
        predicted=predicted,
        true_positives=right,
        false_positives=len(predicted) - right,
        false_negatives=len(gold) - right,
    )


def _annotated_text(reference: Doc, scored: ScoredDoc) -> tuple[str, dict[int, int]]:
    """The text of the annotated stretches, and by token how far its characters moved."""
    text, offsets = "", {}
    position = 0
    for start, end in annotated_runs(scored.annotated):
        if start > position:
            text += CUT.lstrip() if not text else CUT
        shift = len(text) - reference[start].idx
        offsets.update(dict.fromkeys(range(start, end), shift))
        text += reference[start:end].text
        position = end
    return text + (CUT.rstrip() if position < len(reference) else ""), offsets
