"""Whether two pipelines find the same entities, such as an exported one and its original."""

from collections.abc import Sequence
from dataclasses import dataclass

from spacy.language import Language
from spacy.tokens import Doc

from gmb_ner.evaluation.predict import predict_gold_tokens
from gmb_ner.evaluation.scored import entity_confidences, entity_spans


@dataclass(frozen=True)
class Difference:
    """What two pipelines agree and disagree on.

    same: entities that both found, borders and label. only_first, only_second: those of one alone.
    confidence: the largest difference of the confidences of what both found; None where one gives
        none or nothing is the same.
    """

    same: int
    only_first: int
    only_second: int
    confidence: float | None


def compare_pipelines(
    first: Language, second: Language, docs: Sequence[Doc], *, batch_size: int | None = None
) -> Difference:
    """Predict by both on the tokens of all Docs and compare every entity."""
    same = only_first = only_second = 0
    largest: list[float] = []
    told = True
    for one, other in zip(
        predict_gold_tokens(first, docs, batch_size=batch_size),
        predict_gold_tokens(second, docs, batch_size=batch_size),
        strict=True,
    ):
        places = [{span: i for i, span in enumerate(entity_spans(doc))} for doc in (one, other)]
        both = places[0].keys() & places[1].keys()
        same += len(both)
        only_first += len(places[0]) - len(both)
        only_second += len(places[1]) - len(both)
        confidences = [entity_confidences(doc) for doc in (one, other)]
        if both and confidences[0] is not None and confidences[1] is not None:
            rows = [[place[span] for span in both] for place in places]
            gap = abs(confidences[0][rows[0]] - confidences[1][rows[1]])
            largest.append(float(gap.max()))
        elif both:
            told = False
    return Difference(same, only_first, only_second, max(largest) if told and largest else None)
