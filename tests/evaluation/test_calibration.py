import json
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, precision_recall_fscore_support

from gmb_ner.evaluation.calibration import THRESHOLDS, calibration
from gmb_ner.evaluation.scored import ScoredDoc

PROBABILITY = st.floats(0, 1)
PREDICTIONS = st.lists(st.tuples(PROBABILITY, st.booleans()), min_size=1, max_size=30)


def make_doc(*predictions: tuple[float, bool], missed: int = 0) -> ScoredDoc:
    """A document of (confidence, is it right?), one token each, and missed entities after them."""
    length = len(predictions) + missed
    right = [is_right for _, is_right in predictions] + [True] * missed
    return ScoredDoc(
        annotated=np.ones(length, dtype=bool),
        sentences=[(0, length)],
        gold=[(i, i + 1, "x") for i in range(length) if right[i]],
        predicted=[(i, i + 1, "x") for i in range(len(predictions))],
        confidences=np.array([confidence for confidence, _ in predictions], dtype=np.float64),
    )


def unknown(*predictions: tuple[float, bool]) -> ScoredDoc:
    """The same, without confidences."""
    doc = make_doc(*predictions)
    return ScoredDoc(doc.annotated, doc.sentences, doc.gold, doc.predicted, None)


def test_worked_example():
    doc = make_doc((0.25, False), (0.75, True), (0.75, False), (1.0, True), missed=2)
    result = calibration([doc], bins=2)
    thresholds = result.pop("thresholds")
    assert result == {
        "entities": 4,
        "mean_confidence": 2.75 / 4,
        # The lower bin is off by 1/4, the upper one by 2.5/3 - 2/3 = 1/6.
        "ece": pytest.approx(1 / 4 * 1 / 4 + 3 / 4 * 1 / 6),
        "brier": pytest.approx((1 / 16 + 1 / 16 + 9 / 16 + 0) / 4),
        "reliability": [
            {"lower": 0.0, "upper": 0.5, "count": 1, "mean_confidence": 0.25, "precision": 0.0},
            {
                "lower": 0.5,
                "upper": 1.0,
                "count": 3,
                "mean_confidence": pytest.approx(2.5 / 3),
                "precision": pytest.approx(2 / 3),
            },
        ],
    }
    assert [row["threshold"] for row in thresholds] == [0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]
    # Recall is of all four gold entities, also of those not found or left out.
    scores = [[row[key] for key in ("kept", "precision", "recall", "f")] for row in thresholds]
    assert scores[0] == [4, 0.5, 0.5, 0.5]
    assert scores[1:4] == [[3, pytest.approx(2 / 3), 0.5, pytest.approx(4 / 7)]] * 3
    assert scores[4:] == [[1, 1.0, 0.25, 0.4]] * 4


def test_an_entity_is_right_only_with_the_boundaries_and_the_label_of_gold():
    doc = ScoredDoc(
        annotated=np.ones(9, dtype=bool),
        sentences=[(0, 9)],
        gold=[(0, 2, "x"), (3, 5, "x"), (6, 8, "x")],
        predicted=[(0, 2, "x"), (3, 4, "x"), (6, 8, "y")],
        confidences=np.ones(3),
    )
    assert calibration([doc])["thresholds"][0]["precision"] == pytest.approx(1 / 3)


def test_entities_count_in_their_own_document():
    first, second = make_doc((1.0, True)), make_doc((1.0, False))
    assert calibration([first, second])["thresholds"][0]["precision"] == 0.5


def test_a_confidence_on_an_edge_belongs_to_the_bin_below_and_0_to_the_first():
    edges = [0.0, *(i / 15 for i in range(1, 16))]
    counts = [
        row["count"] for row in calibration([make_doc(*((e, True) for e in edges))])["reliability"]
    ]
    assert counts == [2, *[1] * 14]


def test_a_threshold_keeps_entities_of_just_that_confidence():
    docs = [make_doc(*((threshold, True) for threshold in THRESHOLDS))]
    kept = [row["kept"] for row in calibration(docs)["thresholds"]]
    assert kept == list(range(len(THRESHOLDS), 0, -1))


def test_empty_bins_and_thresholds_that_keep_nothing_have_no_precision():
    result = calibration([make_doc((0.1, False))])
    *_, last_bin = result["reliability"]
    assert last_bin["count"] == 0
    assert last_bin["mean_confidence"] is None and last_bin["precision"] is None
    # Nor is there a recall without gold entities.
    nothing = {"threshold": 0.99, "kept": 0, "precision": None, "recall": None, "f": 0.0}
    assert result["thresholds"][-1] == nothing


@pytest.mark.parametrize(
    "docs",
    [
        [],
        [make_doc(missed=1)],
        [unknown((0.5, True))],
        # Figures of a part of the entities would look like those of all.
        [make_doc((0.5, True)), unknown((0.5, True))],
    ],
    ids=["no documents", "no predictions", "unknown", "partly unknown"],
)
def test_without_confidences_there_is_no_calibration(docs):
    assert calibration(docs) is None


def test_documents_without_predictions_need_no_confidences_but_their_gold_counts():
    nothing_found = unknown()
    missed = ScoredDoc(np.ones(1, dtype=bool), [(0, 1)], [(0, 1, "x")], [], None)
    result = calibration([make_doc((0.5, True)), nothing_found, missed])
    assert result["thresholds"][0]["recall"] == 0.5


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(confidence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration([make_doc((0.5, True), (confidence, True))])


def test_no_bins_are_refused():
    with pytest.raises(ValueError, match="at least one bin, not 0"):
        calibration([make_doc((0.5, True))], bins=0)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(1, 30))
@settings(max_examples=50, deadline=None)
def test_perfect_calibration_has_no_error(twentieths, bins):
    # Of twenty entities with confidence k / 20, just k are right.
    docs = [make_doc(*((k / 20, i < k) for i in range(20))) for k in twentieths]
    result = calibration(docs, bins)
    assert result["ece"] == pytest.approx(0, abs=1e-12)
    assert result["mean_confidence"] == pytest.approx(result["thresholds"][0]["precision"])


@given(st.lists(PREDICTIONS, min_size=1, max_size=3), st.integers(0, 3), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_figures_hold_together(documents, missed, bins):
    docs = [make_doc(*predictions, missed=missed) for predictions in documents]
    result = calibration(iter(docs), bins)
    confidence, right = map(np.array, zip(*chain(*documents), strict=True))
    assert 0 <= result["ece"] <= 1
    # In one bin over- and underconfidence cancel out most.
    assert result["ece"] >= abs(confidence.mean() - right.mean()) - 1e-12
    assert result["brier"] == pytest.approx(brier_score_loss(right, confidence, pos_label=True))

    rows = result["reliability"]
    assert len(rows) == bins and (rows[0]["lower"], rows[-1]["upper"]) == (0, 1)
    assert sum(row["count"] for row in rows) == result["entities"] == len(confidence)
    for row in rows:
        if row["count"]:
            slack = 1e-12
            assert row["lower"] - slack <= row["mean_confidence"] <= row["upper"] + slack

    thresholds = result["thresholds"]
    recalls = [row["recall"] for row in thresholds if row["recall"] is not None]
    assert recalls == sorted(recalls, reverse=True)
    assert len(recalls) == (len(THRESHOLDS) if any(doc.gold for doc in docs) else 0)
    gold = np.concatenate([right, np.ones(missed * len(docs), dtype=bool)])
    for row in thresholds:
        kept = np.concatenate([confidence >= row["threshold"], np.zeros(missed * len(docs))])
        precision, recall, f, _ = precision_recall_fscore_support(
            gold, kept.astype(bool), average="binary", pos_label=True, zero_division=0
        )
        assert (row["precision"] or 0) == pytest.approx(precision)
        assert (row["recall"] or 0) == pytest.approx(recall)
        assert row["f"] == pytest.approx(f)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
