import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc

from gmb_ner.pipeline.distinct import WordTable, distinct_words

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


def texts_so_far(rows, new):
    return [*(rows or []), *new]


def docs_of(*batch):
    return [Doc(VOCAB, words=own) for own in batch]


@given(st.lists(st.lists(st.lists(words, max_size=6), max_size=3), max_size=4), st.integers(1, 9))
def test_a_word_keeps_its_row_until_there_are_too_many(batches, limit):
    table, known = WordTable(texts_so_far, limit), []
    for batch in batches:
        index, rows = table(docs_of(*batch))
        read = [word for own in batch for word in own]
        assert [rows[i] for i in index] == read
        distinct = [*dict.fromkeys([*known, *read])]
        fits = len(distinct) <= max(limit, len(known)) or not known
        known = distinct if fits else [*dict.fromkeys(read)]
        assert rows == known


def test_rows_are_made_once():
    made = []
    table = WordTable(lambda rows, new: made.append(new) or texts_so_far(rows, new), 9)
    for batch in (["Oslo", "the"], ["the"], ["Oslo", "😀"]):
        table(docs_of(batch))
    assert made == [["Oslo", "the"], ["😀"]]


def test_an_error_leaves_the_table_as_it_was():
    failing = []

    def extend(rows, new):
        if failing:
            raise MemoryError(failing.pop())
        return texts_so_far(rows, new)

    table = WordTable(extend, 9)
    table(docs_of(["Oslo"]))
    failing.append("once")
    with pytest.raises(MemoryError):
        table(docs_of(["the", "Oslo"]))
    index, rows = table(docs_of(["oslo", "the", "Oslo"]))
    assert [rows[i] for i in index] == ["oslo", "the", "Oslo"]


def test_threads_share_a_table():
    table = WordTable(texts_so_far, 50)
    batches = [[f"w{i % 70}" for i in range(k, k + 9)] for k in range(400)]

    def read(batch):
        index, rows = table(docs_of(batch))
        return [rows[i] for i in index]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(read, batches)) == batches
    finally:
        sys.setswitchinterval(interval)


def test_a_copy_knows_no_word():
    table = WordTable(texts_so_far, 9)
    table(docs_of(["Oslo"]))
    assert pickle.loads(pickle.dumps(table))(docs_of(["the"]))[1] == ["the"]


def test_rows_of_docs_with_vocabularies_of_their_own():
    docs = [Doc(spacy.blank("en").vocab, words=[word]) for word in ("Zürich", "Oslo", "Zürich")]
    index, rows = WordTable(texts_so_far, 9)(docs)
    assert (index.tolist(), rows) == ([0, 1, 0], ["Zürich", "Oslo"])
