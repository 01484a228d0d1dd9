from hypothesis import given
from hypothesis import strategies as st

from gmb_ner.evaluation.errors import confusion_table, error_kind, error_kinds, pair_spans


def test_same_boundaries_are_paired_before_overlaps():
    gold = [(0, 2, "geo"), (2, 3, "org")]
    predicted = [(0, 1, "geo"), (2, 3, "per")]
    assert pair_spans(gold, predicted) == list(zip(gold, predicted, strict=True))


def test_the_largest_overlap_wins_then_the_same_label_then_the_leftmost():
    gold = [(0, 5, "geo")]
    assert ((0, 5, "geo"), (2, 5, "per")) in pair_spans(gold, [(0, 2, "geo"), (2, 5, "per")])
    assert ((0, 5, "geo"), (3, 5, "geo")) in pair_spans(gold, [(0, 2, "per"), (3, 5, "geo")])
    assert ((0, 5, "geo"), (0, 2, "per")) in pair_spans(gold, [(0, 2, "per"), (3, 5, "org")])


def test_each_entity_is_paired_once():
    assert pair_spans([(0, 1, "a"), (2, 3, "a")], [(0, 3, "a")]) == [
        ((0, 1, "a"), (0, 3, "a")),
        ((2, 3, "a"), None),
    ]


@st.composite
def spans(draw):
    """Entities in order, without overlaps."""
    drawn, end = [], 0
    for gap, length, label in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from("ab")), max_size=6)
    ):
        drawn.append((end + gap, end + gap + length, label))
        end += gap + length
    return drawn


@given(spans(), spans())
def test_every_entity_is_in_exactly_one_pair_and_pairs_overlap(gold, predicted):
    pairs = pair_spans(gold, predicted)
    assert sorted(g for g, _ in pairs if g) == sorted(gold)
    assert sorted(p for _, p in pairs if p) == sorted(predicted)
    assert all(g or p for g, p in pairs)
    for g, p in pairs:
        if g and p:
            assert max(g[0], p[0]) < min(g[1], p[1])
    matched = {(g, p) for g, p in pairs if g and g == p}
    assert len(matched) == len(set(gold) & set(predicted))
    # Nothing is left over on both sides where it could still have been paired.
    left_gold = [g for g, p in pairs if p is None]
    left_predicted = [p for g, p in pairs if g is None]
    assert not any(max(g[0], p[0]) < min(g[1], p[1]) for g in left_gold for p in left_predicted)


def test_kinds_of_error():
    gold = (0, 2, "geo")
    assert error_kind(gold, gold) == "correct"
    assert error_kind(gold, (0, 2, "org")) == "label"
    assert error_kind(gold, (0, 1, "geo")) == "boundary"
    assert error_kind(gold, (1, 3, "org")) == "both"
    assert error_kind(gold, None) == "missed"
    assert error_kind(None, gold) == "spurious"


def test_confusion_table_and_kinds_of_a_small_document(tagged):
    doc = tagged(
        [("B-geo", "B-org"), ("O", "O"), ("B-per", "B-per"), ("I-per", "O"), ("O", "O")],
        [("B-zoo", "O"), ("O", "O"), ("O", "B-geo"), ("O", "O"), ("B-geo", "B-geo")],
        [("", "B-geo"), ("", "O")],
    )
    table = confusion_table([doc])
    assert list(table.index) == ["geo", "org", "per", "zoo", "spurious"]
    assert list(table.columns) == ["geo", "org", "per", "zoo", "missed"]
    assert table.to_numpy().tolist() == [
        [1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1],
        [1, 0, 0, 0, 0],
    ]
    assert error_kinds([doc]) == {
        "correct": 1,
        "label": 1,
        "boundary": 1,
        "both": 0,
        "missed": 1,
        "spurious": 1,
    }


def test_no_entities_leave_an_empty_table(tagged):
    assert confusion_table([tagged([("O", "O")])]).to_dict(orient="index") == {
        "spurious": {"missed": 0}
    }
