"""Three definitions of the same F1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmb_ner.evaluation.agreement import agreement, conll_f1


@pytest.mark.parametrize(
    ("gold", "predicted", "f1"),
    [
        # A border is where the prefix or the label says so.
        ("B-x I-x O", "B-x I-x O", 1),
        ("B-x I-x O", "B-x O O", 0),
        ("B-x B-x", "B-x I-x", 0),
        ("B-x I-x", "O I-x", 0),
        ("B-x O", "I-x O", 1),  # IOB1 and IOB2 alike
        ("B-x I-y", "B-x B-y", 1),
        ("B-x O B-y", "B-x O O", 2 / 3),
        ("O O", "O O", 0),
    ],
)
def test_conlls_chunks(gold, predicted, f1):
    assert conll_f1([gold.split()], [predicted.split()]) == pytest.approx(f1)


def test_a_chunk_ends_with_its_sentence():
    assert conll_f1([["B-x"], ["I-x"]], [["B-x"], ["B-x"]]) == 1


def test_all_three_agree(tagged):
    doc = tagged(
        [("B-geo", "B-geo"), ("O", "O"), ("B-per", "B-per"), ("I-per", "O")],
        [("O", "B-org"), ("B-tim", "B-tim"), ("", "B-geo"), ("B-geo", "B-org")],
    )
    scores = agreement([doc])
    assert scores == pytest.approx(dict.fromkeys(("gmb_ner", "seqeval", "conlleval"), 4 / 9))


TAGS = ["O", "B-x", "I-x", "B-y", "I-y"]


@given(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1))
def test_conll_reads_valid_tags_as_seqeval_does(pairs):
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    sides = []
    for tags in zip(*pairs, strict=True):
        repaired = ["O"]
        for tag in tags:
            same = tag.startswith("I-") and repaired[-1][2:] == tag[2:]
            repaired.append(tag if same or not tag.startswith("I-") else f"B-{tag[2:]}")
        sides.append([repaired[1:]])
    expected = f1_score(*sides, mode="strict", scheme=IOB2, zero_division=0)
    assert conll_f1(*sides) == pytest.approx(expected)
