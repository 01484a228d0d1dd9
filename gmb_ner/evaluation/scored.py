"""What of a document is scored: its annotated tokens, the sentences they form, the entities there.

Everything measured beside spaCy's own scores starts from here, so that all figures agree on what
counts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc

EntitySpan = tuple[int, int, str]
"""Start token, end token (exclusive), label."""


@dataclass(frozen=True)
class ScoredDoc:
    """A document reduced to what is scored, gold and prediction on the same tokens.

    annotated: (tokens,) bool, whether a token has gold annotation.
    sentences: start and end (exclusive) of the sentences with annotation, in order.
    gold, predicted: entities in order, without overlaps; predictions that touch a token without
        annotation are left out, as spaCy does.
    """

    annotated: NDArray[np.bool_]
    sentences: list[tuple[int, int]]
    gold: list[EntitySpan]
    predicted: list[EntitySpan]


def scored_doc(reference: Doc, predicted: Doc) -> ScoredDoc:
    """Reduce a reference and a prediction on the same tokens to what is scored.

    Raises ValueError if the two differ in their number of tokens.
    """
    if len(reference) != len(predicted):
        raise ValueError(
            f"reference and prediction have {len(reference)} and {len(predicted)} tokens"
        )
    annotated = np.array([token.ent_iob != 0 for token in reference], dtype=bool)
    return ScoredDoc(
        annotated=annotated,
        sentences=[span for span in sentence_bounds(reference) if annotated[slice(*span)].any()],
        gold=entity_spans(reference),
        predicted=[span for span in entity_spans(predicted) if annotated[span[0] : span[1]].all()],
    )


def is_scored(reference: Doc) -> bool:
    """Whether any token of a reference has annotation."""
    return any(token.ent_iob != 0 for token in reference)


def entity_spans(doc: Doc) -> list[EntitySpan]:
    """The entities of a Doc, in order."""
    return [(ent.start, ent.end, ent.label_) for ent in doc.ents]


def sentence_bounds(doc: Doc) -> list[tuple[int, int]]:
    """Start and end (exclusive) of a Doc's sentences; one sentence where no starts are set."""
    starts = [token.i for token in doc if token.i == 0 or token.is_sent_start]
    return list(zip(starts, [*starts[1:], len(doc)], strict=True))


def annotated_runs(annotated: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Start and end (exclusive) of the longest stretches of annotated tokens."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], annotated, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]
