"""What of a document is scored: its annotated tokens, the sentences they form, the entities there.

Everything measured beside spaCy's own scores starts from here, so that all figures agree on what
counts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc

from gmb_ner.pipeline.scorer import confidence_places

EntitySpan = tuple[int, int, str]
"""Start token, end token (exclusive), label."""


@dataclass(frozen=True)
class ScoredDoc:
    """A document reduced to what is scored, gold and prediction on the same tokens.

    annotated: (tokens,) bool, whether a token has gold annotation.
    sentences: start and end (exclusive) of the sentences with annotation, in order.
    gold, predicted: entities in order, without overlaps; predictions that touch a token without
        annotation are left out, as spaCy does.
    confidences: (predicted,) the pipeline's probability (0..1) of each prediction; None where it
        gives none.
    """

    annotated: NDArray[np.bool_]
    sentences: list[tuple[int, int]]
    gold: list[EntitySpan]
    predicted: list[EntitySpan]
    confidences: NDArray[np.float64] | None


def scored_doc(reference: Doc, predicted: Doc) -> ScoredDoc:
    """Reduce a reference and a prediction on the same tokens to what is scored.

    Raises ValueError if the two differ in their number of tokens.
    """
    if len(reference) != len(predicted):
        raise ValueError(
            f"reference and prediction have {len(reference)} and {len(predicted)} tokens"
        )
    annotated = np.array([token.ent_iob != 0 for token in reference], dtype=bool)
    spans, confidences = entity_spans(predicted), entity_confidences(predicted)
    scored = np.array([annotated[start:end].all() for start, end, _ in spans], dtype=bool)
    return ScoredDoc(
        annotated=annotated,
        sentences=[span for span in sentence_bounds(reference) if annotated[slice(*span)].any()],
        gold=entity_spans(reference),
        predicted=[span for span, counts in zip(spans, scored, strict=True) if counts],
        confidences=None if confidences is None else confidences[scored],
    )


def only_label(doc: ScoredDoc, label: str) -> ScoredDoc:
    """The document with the entities of one label, without confidences."""
    gold, predicted = (
        [span for span in spans if span[2] == label] for spans in (doc.gold, doc.predicted)
    )
    return ScoredDoc(doc.annotated, doc.sentences, gold, predicted, None)


def is_scored(reference: Doc) -> bool:
    """Whether any token of a reference has annotation."""
    return any(token.ent_iob != 0 for token in reference)


def entity_spans(doc: Doc) -> list[EntitySpan]:
    """The entities of a Doc, in order."""
    return [(ent.start, ent.end, ent.label_) for ent in doc.ents]


def entity_confidences(doc: Doc) -> NDArray[np.float64] | None:
    """The confidences (entities,) of a Doc's entities, in order; None where they are not known.

    They are known if the group `CONFIDENCES` holds exactly the entities: one that holds something
    else, as where another component adds entities, does not tell the confidence of all.
    """
    known = confidence_places(doc)
    if known is None:
        return None
    places, scores = known
    if places.tolist() != [[ent.start_char, ent.end_char, ent.label] for ent in doc.ents]:
        return None
    return np.asarray(scores, dtype=np.float64)


def sentence_bounds(doc: Doc) -> list[tuple[int, int]]:
    """Start and end (exclusive) of a Doc's sentences; one sentence where no starts are set."""
    starts = [token.i for token in doc if token.i == 0 or token.is_sent_start]
    return list(zip(starts, [*starts[1:], len(doc)], strict=True))
