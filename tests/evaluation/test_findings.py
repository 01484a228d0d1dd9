import numpy as np
import pytest
from spacy.tokens import Span, SpanGroup

from gmb_ner.evaluation.findings import findings, most_confident, most_frequent, suspects
from gmb_ner.evaluation.scored import scored_doc


@pytest.fixture
def found(ruler, reference):
    """Two sentences: Bush missed, Washington as org instead of geo, Darfur spurious."""
    gold = reference(
        ("Mr. Bush left Iraq .", [("per", "Mr. Bush"), ("geo", "Iraq")]),
        ("Washington is not Darfur .", [("geo", "Washington")]),
    )
    predicted = gold.copy()
    sides = [(1, 2, "per"), (3, 4, "geo"), (5, 6, "org"), (8, 9, "geo")]
    spans = [Span(predicted, start, end, label) for start, end, label in sides]
    predicted.set_ents(spans, default="outside")
    scores = np.array([0.7, 0.99, 0.96, 0.4])
    predicted.spans["ner"] = SpanGroup(predicted, name="ner", spans=spans, attrs={"scores": scores})
    return findings([gold], [scored_doc(gold, predicted)])


def test_each_error_with_its_sentence(found):
    assert [(f.kind, f.confidence, f.sentence) for f in found] == [
        ("boundary", 0.7, "Mr. Bush left Iraq ."),
        ("label", 0.96, "Washington is not Darfur ."),
        ("spurious", 0.4, "Washington is not Darfur ."),
    ]
    boundary, label, spurious = found
    assert (boundary.gold.text, boundary.predicted.text) == ("Mr. Bush", "Bush")
    assert label.labels == ["geo", "org"]
    assert spurious.gold is None
    for error in found:
        for side in (error.gold, error.predicted):
            assert side is None or error.sentence[side.start : side.end] == side.text
    assert label.as_dict()["predicted"]["label"] == "org"


def test_their_order(found):
    assert [f.kind for f in most_confident(found, 2)] == ["label", "boundary"]
    assert [f.kind for f in suspects(found)] == ["label"]
    assert most_frequent([*found, found[1]], 2) == [
        ("label", "Washington (geo)", "Washington (org)", 2),
        ("boundary", "Mr. Bush (per)", "Bush (per)", 1),
    ]
