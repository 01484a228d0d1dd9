"""Three definitions of the same F1."""

import pytest
from seqeval.metrics import f1_score

from gmb_ner.evaluation.agreement import agreement


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
def test_seqevals_default_counts_chunks_as_conlls_script_does(gold, predicted, f1):
    assert f1_score([gold.split()], [predicted.split()], zero_division=0) == pytest.approx(f1)


def test_a_chunk_ends_with_its_sentence():
    assert f1_score([["B-x"], ["I-x"]], [["B-x"], ["B-x"]]) == 1


def test_all_three_agree(tagged):
    doc = tagged(
        [("B-geo", "B-geo"), ("O", "O"), ("B-per", "B-per"), ("I-per", "O")],
        [("O", "B-org"), ("B-tim", "B-tim"), ("", "B-geo"), ("B-geo", "B-org")],
    )
    scores = agreement([doc])
    assert scores == pytest.approx(dict.fromkeys(("gmb_ner", "seqeval", "conlleval"), 4 / 9))
