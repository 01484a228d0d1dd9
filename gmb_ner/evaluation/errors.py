"""What goes wrong: gold and predicted entities paired up, confusions and kinds of error counted."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from gmb_ner.evaluation.scored import EntitySpan, ScoredDoc
from gmb_ner.pipeline.labels import LABELS

MISSED = "missed"
SPURIOUS = "spurious"
ERROR_KINDS = ("correct", "label", "boundary", "both", MISSED, SPURIOUS)

SpanPair = tuple[EntitySpan | None, EntitySpan | None]


def pair_spans(gold: Sequence[EntitySpan], predicted: Sequence[EntitySpan]) -> list[SpanPair]:
    """Pair each gold entity with at most one prediction, and each prediction with at most one gold.

    Entities with the same boundaries are paired first, whatever their labels. The rest is paired
    where it overlaps: most shared tokens first; among equals the same label first, then the
    leftmost. What is left over is paired with None.

    gold, predicted: in order, without overlaps within each. Returns the pairs in order of text.
    """
    overlaps = []
    for i, (g_start, g_end, g_label) in enumerate(gold):
        for j, (p_start, p_end, p_label) in enumerate(predicted):
            if p_start >= g_end:
                break
            shared = min(g_end, p_end) - max(g_start, p_start)
            if shared > 0:
                same = (g_start, g_end) == (p_start, p_end)
                overlaps.append((not same, -shared, g_label != p_label, i, j))
    gold_left, predicted_left = dict(enumerate(gold)), dict(enumerate(predicted))
    pairs: list[SpanPair] = []
    for *_, i, j in sorted(overlaps):
        if i in gold_left and j in predicted_left:
            pairs.append((gold_left.pop(i), predicted_left.pop(j)))
    pairs += [(span, None) for span in gold_left.values()]
    pairs += [(None, span) for span in predicted_left.values()]
    return sorted(pairs, key=lambda pair: (pair[0] or pair[1] or (0, 0, ""))[:2])


def confusion_table(docs: Iterable[ScoredDoc]) -> pd.DataFrame:
    """Count gold label (rows) by predicted label (columns) over the pairs of `pair_spans`.

    The column "missed" holds gold entities that no prediction overlaps, the row "spurious"
    predictions that overlap no gold entity (or only one that is paired already). The diagonal
    holds entities found with their label, also with other boundaries than gold: it is not the
    number of true positives, which `error_kinds` gives as "correct".

    Returns integer counts; rows are the labels and "spurious", columns the labels and "missed".
    A gold row adds up to its support.
    """
    counts: Counter[tuple[str, str]] = Counter(
        (gold[2] if gold else SPURIOUS, predicted[2] if predicted else MISSED)
        for doc in docs
        for gold, predicted in pair_spans(doc.gold, doc.predicted)
    )
    found = {label for pair in counts for label in pair} - {MISSED, SPURIOUS}
    labels = [label for label in LABELS if label in found] + sorted(found - LABELS.keys())
    columns = [*labels, MISSED]
    rows = {row: [counts[row, column] for column in columns] for row in [*labels, SPURIOUS]}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype="int64")
    return table.rename_axis(index="gold", columns="predicted")


def error_kind(gold: EntitySpan | None, predicted: EntitySpan | None) -> str:
    """Name what happened to a pair: one of ERROR_KINDS.

    "label": right boundaries, wrong label; "boundary": right label, wrong boundaries; "both":
    overlapping, but neither is right.
    """
    if predicted is None:
        return MISSED
    if gold is None:
        return SPURIOUS
    if gold == predicted:
        return "correct"
    if gold[:2] == predicted[:2]:
        return "label"
    return "boundary" if gold[2] == predicted[2] else "both"


def error_kinds(docs: Iterable[ScoredDoc]) -> dict[str, int]:
    """Count the pairs of `pair_spans` by kind of error."""
    kinds = Counter(
        error_kind(*pair) for doc in docs for pair in pair_spans(doc.gold, doc.predicted)
    )
    return {kind: kinds[kind] for kind in ERROR_KINDS}
