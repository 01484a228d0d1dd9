"""Entities whose borders spaCy's own tokens have, and those that they cannot express."""

import pytest
import spacy

from gmb_ner.corpus.alignment import Alignment, Misaligned, measure_alignment

NLP = spacy.blank("en")


def test_entities_that_are_spans_of_spacys_tokens_are_aligned(sentence):
    measured = measure_alignment(
        NLP,
        [
            sentence('" Ada|B-per Hill|I-per \'s U.S.|B-gpe friends left ( for Oslo|B-geo ) . "'),
            sentence("It rained ."),
            sentence("Al-Rustam|B-org 's men ca n't pay $ 5 in May|B-tim 2007|I-tim ."),
        ],
    )
    assert measured == Alignment(entities=5, misaligned=[])
    assert measured.share == 1.0


@pytest.mark.parametrize(
    ("text", "label", "entity", "tokens", "row"),
    [
        # "R&B" is one of spaCy's tokens: the entity ends, or begins, inside of it.
        ("He plays R|B-art & B tonight", "art", "R", "R&B", 12),
        ("He plays R & B|B-art tonight", "art", "B", "R&B", 14),
        ("He plays R & B|B-art Days|I-art", "art", "B Days", "R&B Days", 14),
    ],
)
def test_a_border_inside_a_token_is_listed(sentence, text, label, entity, tokens, row):
    measured = measure_alignment(NLP, [sentence(text, "Sentence: 7", 10)])
    expected = Misaligned("Sentence: 7", row, label, entity, tokens)
    assert measured == Alignment(1, [expected])
    assert measured.share == 0.0
    assert expected.as_dict() == {
        "sentence": "Sentence: 7",
        "row": row,
        "label": label,
        "entity": entity,
        "tokens": tokens,
    }


def test_an_entity_that_covers_its_tokens_whole_is_aligned_whatever_they_are(sentence):
    assert measure_alignment(NLP, [sentence("Loud R|B-art &|I-art B|I-art music")]).share == 1.0


def test_the_share_is_one_of_entities(sentence):
    sentences = [sentence("Ada|B-per in Oslo|B-geo with Bo|B-per"), sentence("R|B-art & B")]
    assert measure_alignment(NLP, sentences).share == 0.75
    assert measure_alignment(NLP, []).share == 1.0
    assert measure_alignment(NLP, [sentence("Nobody came .")]).share == 1.0
