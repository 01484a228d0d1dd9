"""Gold tags on the tokens of the predicted side."""

import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from spacy.training import Example

from gmb_ner.pipeline.decoding import tag_names
from gmb_ner.pipeline.gold import MISSING, gold_tags

VOCAB = spacy.blank("en").vocab
NAMES = tag_names(["geo", "per"])
TAGS = {name: i for i, name in enumerate(NAMES)}


def example(predicted, reference, ents=None):
    """predicted, reference: words by spaces, "New York|-|based" without. ents: IOB tags."""

    def doc(text, ents=None):
        words, spaces = [], []
        for group in text.split():
            parts = group.split("|")
            words += parts
            spaces += [False] * (len(parts) - 1) + [True]
        return Doc(VOCAB, words=words, spaces=spaces, ents=ents)

    return Example(doc(predicted), doc(reference, ents and ents.split()))


def names(eg):
    return [NAMES[i] if i != MISSING else None for i in gold_tags(eg, TAGS)]


def test_the_same_tokens():
    eg = example("Ada Lin saw Oslo .", "Ada Lin saw Oslo .", "B-per I-per O B-geo O")
    assert names(eg) == ["B-per", "I-per", "O", "B-geo", "O"]
    assert gold_tags(eg, TAGS).tolist() == [3, 4, 0, 1, 0]


def test_entities_side_by_side():
    eg = example("Oslo Bergen", "Oslo Bergen", "B-geo B-geo")
    assert names(eg) == ["B-geo", "B-geo"]


def test_missing_annotation():
    reference = Doc(VOCAB, words=["In", "Oslo", "it", "rains"])
    reference.set_ents(
        [Span(reference, 1, 2, label="geo")],
        outside=[reference[0:1]],
        missing=[reference[2:4]],
        default="missing",
    )
    predicted = Doc(VOCAB, words=["In", "Oslo", "it", "rains"])
    assert names(Example(predicted, reference)) == ["O", "B-geo", None, None]


def test_no_annotation_at_all():
    assert names(example("In Oslo", "In Oslo")) == [None, None]
    assert names(example("In Os|lo", "In Oslo")) == [None] * 3


def test_labels_that_are_not_known():
    assert names(example("In Oslo now", "In Oslo now", "O B-xyz O")) == ["O", None, "O"]
    assert names(example("In Os|lo now", "In Oslo now", "O B-xyz O")) == ["O", None, None, "O"]


def test_a_token_that_is_split():
    eg = example("In New|-|York now", "In New-York now", "O B-geo O")
    assert names(eg) == ["O", "B-geo", "I-geo", "I-geo", "O"]


def test_tokens_that_are_joined():
    eg = example("In New-York now", "In New|-|York now", "O B-geo I-geo I-geo O")
    assert names(eg) == ["O", "B-geo", "O"]


def test_an_entity_that_ends_within_a_token():
    """Nothing is known of the token that holds both the entity and more."""
    eg = example("In Oslo-based firms", "In Oslo|-based firms", "O B-geo O O")
    assert names(eg) == ["O", None, "O"]


def test_the_rest_of_an_entity_that_ends_within_a_token_is_not_known_either():
    eg = example("In New York-based firms", "In New York|-based firms", "O B-geo I-geo O O")
    assert names(eg) == ["O", None, None, "O"]


def test_missing_annotation_on_other_tokens():
    reference = Doc(VOCAB, words=["In", "New-York", "it", "rains"])
    reference.set_ents([Span(reference, 1, 2, label="geo")], missing=[reference[2:3]])
    predicted = Doc(
        VOCAB,
        words=["In", "New", "-", "York", "it", "rains"],
        spaces=[True, False, False, True, True, True],
    )
    eg = Example(predicted, reference)
    assert names(eg) == ["O", "B-geo", "I-geo", "I-geo", None, "O"]


def test_what_is_blocked_is_not_known():
    reference = Doc(VOCAB, words=["In", "Oslo"])
    reference.set_ents([], blocked=[reference[1:2]], default="outside")
    assert names(Example(Doc(VOCAB, words=["In", "Oslo"]), reference)) == ["O", None]


def test_nothing():
    tags = gold_tags(Example(Doc(VOCAB), Doc(VOCAB)), TAGS)
    assert tags.shape == (0,) and tags.dtype.kind == "i"


def test_both_ways_agree():
    """What is looked up at once is what spaCy's alignment gives token by token."""
    eg = example("Ada Lin saw Oslo .", "Ada Lin saw Oslo .", "B-per I-per O B-geo O")
    assert eg.get_aligned_ner() == ["B-per", "L-per", "O", "U-geo", "O"]


@given(st.lists(st.integers(0, len(NAMES) - 1), max_size=12), st.data())
def test_valid_tags_come_back(tags, data):
    for t, tag in enumerate(tags):
        if tag and tag % 2 == 0 and (t == 0 or tags[t - 1] not in (tag, tag - 1)):
            tags[t] = tag - 1
    words = [f"w{t}" for t in range(len(tags))]
    reference = Doc(VOCAB, words=words, ents=[NAMES[tag] for tag in tags])
    assert gold_tags(Example(Doc(VOCAB, words=words), reference), TAGS).tolist() == tags
