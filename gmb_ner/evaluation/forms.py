"""Names that the training part has, and others: what was learned by heart, and what was not."""

from collections.abc import Iterable, Sequence
from typing import Any

from spacy.tokens import Doc

from gmb_ner.evaluation.scored import EntitySpan, ScoredDoc
from gmb_ner.evaluation.scores import f_score


def forms_of(docs: Iterable[Doc]) -> set[str]:
    """The texts of the annotated entities, as they are written."""
    return {ent.text for doc in docs for ent in doc.ents}


def by_form(
    references: Sequence[Doc], docs: Sequence[ScoredDoc], known: set[str]
) -> dict[str, dict[str, Any]]:
    """Strict scores of entities whose text is among the known ones ("seen") and of the others.

    references, docs: the same documents, in the same order. A gold entity and a prediction belong
    where their own text does. Returns by kind: p, r and f (0..1) and support, the gold entities.
    """
    counts = {"seen": [0, 0, 0], "unseen": [0, 0, 0]}
    for reference, doc in zip(references, docs, strict=True):

        def kind(span: EntitySpan, reference: Doc = reference) -> str:
            return "seen" if reference[span[0] : span[1]].text in known else "unseen"

        gold, predicted = set(doc.gold), set(doc.predicted)
        for column, spans in enumerate((gold & predicted, predicted - gold, gold - predicted)):
            for span in spans:
                counts[kind(span)][column] += 1
    return {
        name: {
            "p": right / max(1, right + spurious),
            "r": right / max(1, right + missed),
            "f": f_score(right, spurious, missed),
            "support": right + missed,
        }
        for name, (right, spurious, missed) in counts.items()
    }
