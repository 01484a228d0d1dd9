"""Scores of predicted entities against gold ones: strict, per sentence, and by token."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.training import Example

from gmb_ner.evaluation.scored import EntitySpan, ScoredDoc
from gmb_ner.pipeline.labels import LabelMap
from gmb_ner.pipeline.scorer import score_entities


def strict_scores(
    references: Iterable[Doc],
    predictions: Iterable[Doc],
    label_map: str | LabelMap | None = None,
) -> dict[str, Any]:
    """The scores of `gmb_ner.pipeline.scorer.score_entities` for Docs in the same order.

    Raises ValueError if one runs out before the other.
    """
    pairs = zip(references, predictions, strict=True)
    return score_entities((Example(predicted, gold) for gold, predicted in pairs), label_map)


def sentence_counts(docs: Iterable[ScoredDoc]) -> NDArray[np.int64]:
    """True positives, false positives and false negatives of each scored sentence.

    Returns shape (scored sentences, 3). An entity counts in the sentence where it starts, also
    when it runs on into the next, so that the columns add up to the counts of the strict scores.
    """
    rows: list[NDArray[np.int64]] = []
    for doc in docs:
        counts = np.zeros((len(doc.sentences), 3), dtype=np.int64)
        starts = [start for start, _ in doc.sentences]
        gold, predicted = set(doc.gold), set(doc.predicted)
        for column, spans in enumerate((gold & predicted, predicted - gold, gold - predicted)):
            for start, *_ in spans:
                counts[bisect_right(starts, start) - 1, column] += 1
        rows.append(counts)
    return np.concatenate(rows) if rows else np.zeros((0, 3), dtype=np.int64)


def f_score(true_positives: float, false_positives: float, false_negatives: float) -> float:
    """F1 of counts; 0 where there is neither gold nor prediction."""
    denominator = 2 * true_positives + false_positives + false_negatives
    return 2 * true_positives / denominator if denominator else 0.0


def token_f_without_o(docs: Iterable[ScoredDoc]) -> float:
    """Micro F1 (0..1) over tokens, with B and I merged and O left out.

    A token is right if its gold and predicted label are the same and not O. This is the measure
    of W. Lin and J. Liu, "Named Entity Recognition with pretrained BERT" (2020); it forgives
    wrong boundaries and is not comparable with the strict scores.
    """
    return f_score(*np.sum([np.zeros(3), *_token_counts(docs).values()], axis=0))


def token_f_by_label(docs: Iterable[ScoredDoc]) -> dict[str, float]:
    """The F1 (0..1) of each label by that measure, sorted by label."""
    return {label: f_score(*counts) for label, counts in sorted(_token_counts(docs).items())}


def _token_counts(docs: Iterable[ScoredDoc]) -> dict[str, NDArray[np.int64]]:
    """True positives, false positives and false negatives by label, B and I merged: (3,) each."""
    counts: dict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(3, dtype=np.int64))
    for doc in docs:
        gold, predicted = _labels_by_token(doc.gold), _labels_by_token(doc.predicted)
        for column, tokens in enumerate(
            (
                gold.items() & predicted.items(),
                predicted.items() - gold.items(),
                gold.items() - predicted.items(),
            )
        ):
            for _, label in tokens:
                counts[label][column] += 1
    return counts


def _labels_by_token(spans: Iterable[EntitySpan]) -> dict[int, str]:
    return {token: label for start, end, label in spans for token in range(start, end)}
