import numpy as np
import pytest
from spacy.tokens import Doc
from spacy.vocab import Vocab

from gmb_ner.benchmark.cleaning import hide_doubtful

MANY = 80


@pytest.fixture
def docs():
    """Docs in which Ada is a person and Oslo a place, but for one of each kind of error."""
    vocab = Vocab()

    def doc(tags):
        return Doc(vocab, words=["Ada", "saw", "Oslo"], ents=tags)

    return [
        *(doc(["B-per", "O", "B-geo"]) for _ in range(MANY)),
        doc(["B-org", "O", "B-geo"]),  # wrong label
        doc(["O", "O", "B-geo"]),  # missed
        doc(["B-per", "O", ""]),  # not annotated at all
        doc(["B-per", "I-per", "B-geo"]),  # wrong border
    ]


def annotation(doc):
    return [token.ent_iob_ + (f"-{token.ent_type_}" if token.ent_type_ else "") for token in doc]


def test_contradicted_annotation_is_hidden_and_the_rest_stays(docs):
    before = [annotation(doc) for doc in docs]
    cleaned = [annotation(doc) for doc in hide_doubtful(docs, sure=0.5)]
    assert cleaned == [
        *[["B-per", "O", "B-geo"]] * MANY,
        ["", "O", "B-geo"],
        ["", "O", "B-geo"],
        ["B-per", "O", ""],
        ["", "", "B-geo"],  # an entity with a doubtful token is hidden as a whole
    ]
    assert [annotation(doc) for doc in docs] == before


def test_nothing_is_sure_enough(docs):
    assert [annotation(doc) for doc in hide_doubtful(docs, sure=1.0)] == [
        annotation(doc) for doc in docs
    ]


def test_words_spaces_and_sentences_stay(docs):
    docs[0][2].is_sent_start = True
    cleaned = hide_doubtful(docs[:8])
    assert [[sent.text for sent in doc.sents] for doc in cleaned[:1]] == [["Ada saw", "Oslo"]]
    assert np.array_equal(docs[0].to_array("SPACY"), cleaned[0].to_array("SPACY"))
