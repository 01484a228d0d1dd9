import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc

from gmb_ner.pipeline.distinct import WordNumbers, distinct_words

VOCAB = spacy.blank("en").vocab
words = st.sampled_from(["Oslo", "oslo", " ", "the", "😀"])


@given(st.lists(st.lists(words, max_size=6), max_size=4))
def test_every_word_is_one_of_the_distinct_ones(batch):
    found = distinct_words([Doc(VOCAB, words=own) for own in batch])
    texts = [found.text(i) for i in range(len(found.orths))]
    assert [texts[i] for i in found.index] == [word for own in batch for word in own]
    assert sorted(texts) == sorted({word for own in batch for word in own})
    assert found.orths == [VOCAB.strings[text] for text in texts]


def test_docs_may_have_vocabularies_of_their_own():
    docs = [Doc(spacy.blank("en").vocab, words=[word]) for word in ("Zürich", "Oslo", "Zürich")]
    found = distinct_words(docs)
    assert [found.text(i) for i in found.index] == ["Zürich", "Oslo", "Zürich"]


@given(st.lists(st.lists(st.lists(words, max_size=6), max_size=3), max_size=4), st.integers(1, 9))
def test_a_word_keeps_its_number_until_there_are_too_many(batches, limit):
    numbers, known = WordNumbers(), []
    for batch in batches:
        index, first, new = numbers([Doc(VOCAB, words=own) for own in batch], limit)
        assert first in (0, len(known))
        forgot = known and new and not first
        assert bool(forgot) == bool(
            known
            and len({*known, *(word for own in batch for word in own)}) > max(limit, len(known))
        )
        known = new if not first and new else known + new
        assert len(set(known)) == len(known)
        assert [known[i] for i in index] == [word for own in batch for word in own]


def test_numbered_docs_may_have_vocabularies_of_their_own():
    docs = [Doc(spacy.blank("en").vocab, words=[word]) for word in ("Zürich", "Oslo", "Zürich")]
    index, first, new = WordNumbers()(docs, 9)
    assert (index.tolist(), first, new) == ([0, 1, 0], 0, ["Zürich", "Oslo"])
