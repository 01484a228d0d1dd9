"""Words as windows of pieces: nothing lost, nothing misaligned, enough context."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.vocab import Vocab

from gmb_ner.pipeline import wordpieces
from gmb_ner.pipeline.wordpieces import (
    CASES,
    SPECIAL,
    Window,
    WordPieces,
    bucket,
    case_class,
    split_windows,
)

START, END, PAD = 1, 2, 0
VOCAB = Vocab()


def encode_letters(words):
    """A piece for each letter, its code; none for "~", as of characters a tokenizer drops."""
    return [[ord(char) for char in word if char != "~"] for word in words]


def letter_pieces(size=12, context=2, encode_words=encode_letters):
    return WordPieces(
        encode_words, start_id=START, end_id=END, pad_id=PAD, size=size, context=context
    )


def make_doc(words, sent_starts=None):
    return Doc(VOCAB, words=words, sent_starts=sent_starts)


def windows_of(pieces, size, context, sentences=()):
    starts = np.isin(np.arange(len(pieces)), sentences)
    return split_windows(np.array(pieces, dtype=np.int64), starts, size, context)


@pytest.mark.parametrize(
    ("word", "case"),
    [
        ("nile", "lower"),
        ("don't", "lower"),
        ("東京", "lower"),
        ("J.", "initial"),
        ("I", "initial"),
        ("Nile", "Title"),
        ("Jean-luc", "Title"),
        ("U.S.", "UPPER"),
        ("NATO", "UPPER"),
        ("al-Din", "miXed"),
        ("McDonald", "miXed"),
        ("Jean-Luc", "miXed"),
        ("2006", "digits"),
        ("1,000", "digits"),
        ("Sept11", "mixed digits"),
        ("1st", "mixed digits"),
        ("--", "other"),
        ("\n", "other"),
        ("", "other"),
    ],
)
def test_case_of_a_word(word, case):
    assert CASES[case_class(word)] == case


@given(st.text())
def test_every_word_has_a_case_of_its_own_kind(word):
    case = case_class(word)
    assert case in range(len(CASES))
    assert case != SPECIAL


def test_a_doc_that_fits_is_one_window():
    assert windows_of([3, 3, 4], size=10, context=4) == [Window(0, 3, 0, 3)]
    assert windows_of([0, 0], size=10, context=4) == [Window(0, 2, 0, 2)]
    assert windows_of([], size=10, context=4) == []


def test_a_longer_doc_is_read_in_overlapping_windows():
    assert windows_of([1] * 20, size=10, context=2) == [
        Window(0, 9, 0, 7),
        Window(5, 15, 7, 13),
        Window(11, 20, 13, 20),
    ]


def test_cores_end_at_the_last_sentence_border_in_reach():
    assert windows_of([1] * 12, size=10, context=2, sentences=[0, 2, 4]) == [
        Window(0, 6, 0, 4),
        Window(2, 12, 4, 12),
    ]


def test_a_word_longer_than_a_core_has_one_of_its_own():
    assert windows_of([1, 9, 1, 1], size=10, context=4) == [
        Window(0, 1, 0, 1),
        Window(1, 2, 1, 2),
        Window(2, 4, 2, 4),
    ]


@pytest.mark.parametrize(("size", "context"), [(8, 4), (8, 5), (0, 0), (8, -1)])
def test_windows_need_room_between_contexts(size, context):
    with pytest.raises(ValueError, match=f"Windows of {size} pieces have no room for {context} "):
        windows_of([1, 2], size, context)


@st.composite
def long_docs(draw):
    size = draw(st.integers(1, 16))
    context = draw(st.integers(0, (size - 1) // 2))
    pieces = np.array(draw(st.lists(st.integers(0, size), max_size=40)), dtype=np.int64)
    starts = np.array([draw(st.booleans()) for _ in pieces], dtype=bool)
    return pieces, starts, size, context


@given(long_docs())
def test_windows_of_any_doc(case):
    pieces, _, size, _ = case
    windows = split_windows(*case)
    # Cores follow each other without gap or overlap, each with words and inside its window.
    cores = [i for window in windows for i in range(window.core_start, window.core_end)]
    assert cores == list(range(len(pieces)))
    for window in windows:
        assert 0 <= window.start <= window.core_start < window.core_end <= window.end
        assert window.end <= len(pieces)
        assert pieces[window.start : window.end].sum() <= size
    assert (len(windows) <= 1) == (pieces.sum() <= size)


@given(long_docs())
def test_cores_end_inside_a_sentence_only_where_no_border_is_in_reach(case):
    _, starts, _, _ = case
    for window in split_windows(*case)[:-1]:
        if not starts[window.core_end]:
            assert not starts[window.core_start + 1 : window.core_end].any()


@given(n=st.integers(1, 200), size=st.integers(1, 40), share=st.floats(0, 1))
def test_windows_are_as_few_as_possible_and_their_cores_alike(n, size, share):
    context = int(share * ((size - 1) // 2))
    windows = windows_of([1] * n, size, context)
    # The first and the last core have context on one side.
    room = [size] if n <= size else [size - context] * 2
    while sum(room) < n:
        room.append(size - 2 * context)
    cores = [window.core_end - window.core_start for window in windows]
    assert len(cores) == len(room)
    fair = -(-n // len(room))
    assert max(cores[1:-1], default=0) <= size - 2 * context
    # Those at the borders take more only where those between have no room for their part.
    assert max(cores) <= fair or fair > size - 2 * context


@given(long_docs())
def test_each_side_has_its_context_but_for_a_part_of_a_word(case):
    """Only beside a word that is itself longer than a core is there no room for that."""
    pieces, _, size, context = case
    windows = split_windows(*case)
    for window in windows if len(windows) > 1 else []:
        core = pieces[window.core_start : window.core_end].sum()
        before = pieces[window.start : window.core_start].sum()
        after = pieces[window.core_end : window.end].sum()
        share = context
        if core > size - 2 * context and window.core_end == window.core_start + 1:
            share = min(context, (size - core) // 2)
        assert before <= context and after <= context
        if window.start > 0:
            assert before + pieces[window.start - 1] > share
        if window.end < len(pieces):
            assert after + pieces[window.end] > share


def test_pieces_of_a_batch():
    batch = letter_pieces()([make_doc(["Ab", "\n", "c"]), make_doc([]), make_doc(["~", "d"])])
    lower, title, special = (CASES.index(name) for name in ("lower", "Title", "special"))
    a, b, c, d = map(ord, "Abcd")
    assert batch.input_ids.tolist() == [[START, a, b, c, END], [START, d, END, PAD, PAD]]
    assert batch.case_ids.tolist() == [
        [special, title, title, lower, special],
        [special, lower, special, special, special],
    ]
    assert batch.lengths.tolist() == [5, 3]
    assert batch.attention_mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert batch.windows == [[Window(0, 3, 0, 3)], [], [Window(0, 2, 0, 2)]]
    # White space and the word without pieces take their window's first, special piece.
    assert batch.align_lengths.tolist() == [2, 1, 1, 1, 1]
    assert batch.align.tolist() == [1, 2, 0, 3, 5, 6]


@pytest.mark.parametrize("docs", [[], [[]], [[], []]])
def test_empty_docs_have_no_windows(docs):
    batch = letter_pieces()([make_doc(words) for words in docs])
    assert batch.input_ids.shape == batch.case_ids.shape == batch.attention_mask.shape == (0, 0)
    assert batch.windows == [[] for _ in docs]
    assert len(batch.lengths) == len(batch.align_lengths) == len(batch.align) == 0


def test_a_doc_of_white_space_is_a_window_of_special_pieces():
    batch = letter_pieces()([make_doc(["\n", " "])])
    assert batch.input_ids.tolist() == [[START, END]]
    assert batch.align.tolist() == [0, 0]


def test_words_longer_than_a_window_are_cut():
    batch = letter_pieces(size=6, context=1)([make_doc(["abcdefgh", "i"])])
    assert batch.input_ids.tolist() == [
        [START, *map(ord, "abcd"), END],
        [START, ord("i"), END, PAD, PAD, PAD],
    ]
    assert batch.align_lengths.tolist() == [4, 1]


def test_windows_end_at_the_sentences_of_a_doc():
    words = list("abcdefghijkl")
    sentences = [word in "ad" for word in words]
    known = letter_pieces(size=10, context=2)([make_doc(words, sentences)])
    assert [window.core_start for window in known.windows[0]] == [0, 3, 7]
    unknown = letter_pieces(size=10, context=2)([make_doc(words)])
    assert [window.core_start for window in unknown.windows[0]] == [0, 6]


words = st.text("abC1~ \n", min_size=1, max_size=14)


@given(
    docs=st.lists(st.lists(words, max_size=25), max_size=4),
    size=st.integers(3, 20),
    share=st.floats(0, 1),
)
def test_every_word_finds_its_own_pieces(docs, size, share):
    context = int(share * ((size - 3) // 2))
    batch = letter_pieces(size, context)([make_doc(doc) for doc in docs])
    assert batch.input_ids.shape == (len(batch.lengths), max(batch.lengths, default=0))
    assert (batch.input_ids[~batch.attention_mask] == PAD).all()
    assert (batch.case_ids[~batch.attention_mask] == SPECIAL).all()
    for row, length in enumerate(batch.lengths):
        assert 2 <= length <= size
        assert batch.input_ids[row, [0, length - 1]].tolist() == [START, END]
        assert batch.case_ids[row, [0, length - 1]].tolist() == [SPECIAL, SPECIAL]
    ids, cases = batch.input_ids.ravel(), batch.case_ids.ravel()
    row_of = [
        row
        for row, window in enumerate(window for windows in batch.windows for window in windows)
        for _ in range(window.core_start, window.core_end)
    ]
    positions = np.split(batch.align, np.cumsum(batch.align_lengths)[:-1]) if row_of else []
    flat = [word for doc in docs for word in doc]
    assert len(batch.align_lengths) == len(row_of) == len(flat)
    for word, row, where in zip(flat, row_of, positions, strict=True):
        (pieces,) = [[]] if word.isspace() else encode_letters([word])
        # In the window whose core has the word, side by side.
        assert set(where // batch.input_ids.shape[1]) == {row}
        assert (np.diff(where) == 1).all()
        assert ids[where].tolist() == (pieces[: size - 2] or [START])
        assert set(cases[where]) == {case_class(word) if pieces else SPECIAL}


def test_words_are_encoded_once():
    asked = []

    def encode(words):
        asked.extend(words)
        return encode_letters(words)

    pieces = letter_pieces(encode_words=encode)
    pieces([make_doc(["a", "b", "a"]), make_doc(["a", " "])])
    pieces([make_doc(["b", "c"])])
    assert sorted(asked) == ["a", "b", "c"]


def test_a_full_cache_is_emptied(monkeypatch):
    monkeypatch.setattr(wordpieces, "MAX_CACHED_WORDS", 2)
    pieces = letter_pieces()
    for words in (["a", "b", "c"], ["c", "d"], ["a"]):
        assert pieces([make_doc(words)]).input_ids.tolist() == [[START, *map(ord, words), END]]


def test_windows_of_similar_length_are_read_together():
    lengths = np.array([3, 9, 5, 4, 20])
    assert [part.tolist() for part in bucket(lengths, 10)] == [[4], [1], [2, 3], [0]]
    assert list(bucket(np.array([], dtype=np.int64), 10)) == []


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(1, 60))
def test_buckets_of_any_lengths(lengths, max_pieces):
    parts = [part.tolist() for part in bucket(np.array(lengths, dtype=np.int64), max_pieces)]
    assert sorted(index for part in parts for index in part) == list(range(len(lengths)))
    ordered = [lengths[index] for part in parts for index in part]
    assert ordered == sorted(lengths, reverse=True)
    for part in parts:
        padded = len(part) * max(lengths[index] for index in part)
        assert padded <= max_pieces or len(part) == 1
