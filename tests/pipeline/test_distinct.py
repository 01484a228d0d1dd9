import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc

from gmb_ner.pipeline.distinct import distinct_words

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
