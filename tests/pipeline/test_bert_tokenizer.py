"""Pieces are those of the library tokenizers, letter by letter."""

import sys

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from gmb_ner.pipeline.bert_tokenizer import BertTokenizer, encode_words_with, is_bert

LETTERS = "abcdefxyzABCÄäßéñ\u03c3\u03c2\u03a3İ\u0131жя0123456789.,-'$[]()"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "aff", "##able", "##ff", "日", "ab", "##abc"]
PIECES += [*LETTERS, *(f"##{letter}" for letter in LETTERS), "e", "n", "i", "##i"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]

# Unicode grows, and with it what counts as a mark or a control: these have been there for long.
ALPHABET = st.one_of(
    st.sampled_from(LETTERS),
    st.characters(min_codepoint=0, max_codepoint=0x24F),
    st.sampled_from("\u0301\u0308\u00ad\u200b\u200d\ufeff\ufffd\u2028\u3000日本語ﬁ“”—…€😀٣ا"),
)
WORDS = st.lists(
    st.one_of(st.text(ALPHABET, max_size=12), st.sampled_from(SPECIAL), st.just("x[SEP]y")),
    max_size=5,
)
KINDS = [
    {"lowercase": lowercase, "strip_accents": strip, "clean_text": clean, "handle_chinese_chars": c}
    for lowercase, strip, clean, c in (
        (True, None, True, True),
        (False, None, True, True),
        (False, True, True, False),
        (True, False, False, True),
    )
]


def library(max_chars=100, **settings):
    """A tokenizer of the library, with special pieces."""
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(PIECES))}
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=max_chars)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(**settings)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(
        [AddedToken(piece, normalized=False, special=True) for piece in SPECIAL]
    )
    return tokenizer


def expected(tokenizer, words):
    return [tokenizer.encode(word, add_special_tokens=False).ids for word in words]


@pytest.mark.parametrize("settings", KINDS)
@given(words=WORDS)
@example(words=["a\x1fb", "a\x85b", "a\tb"])
def test_pieces_are_those_of_the_library(settings, words):
    tokenizer = library(**settings)
    assert BertTokenizer(tokenizer.to_str())(words) == expected(tokenizer, words)


@pytest.mark.parametrize(
    ("word", "pieces"),
    [
        ("unaffable", ["un", "##a", "##ff", "##able"]),
        ("", []),
        ("Q", ["[UNK]"]),
        ("abQ", ["[UNK]"]),
        ("x.y", ["x", ".", "y"]),
        ("É", ["e"]),
        ("日日", ["日", "日"]),
        ("[SEP]", ["[SEP]"]),
    ],
)
def test_longest_pieces_first(word, pieces):
    tokenizer = BertTokenizer(library(**KINDS[0]).to_str())
    names = {i: piece for piece, i in tokenizer.vocabulary.items()}
    assert [names[i] for i in tokenizer([word])[0]] == pieces


def test_a_word_of_too_many_letters_is_unknown():
    tokenizer = library(max_chars=3, **KINDS[0])
    words = ["abc", "abca"]
    assert BertTokenizer(tokenizer.to_str())(words) == expected(tokenizer, words)


def test_the_tokenizer_of_a_checkpoint(tiny_bert):
    stored = (tiny_bert / "tokenizer.json").read_text(encoding="utf-8")
    assert is_bert(stored)
    words = ["Ada", "visited", "Nile", "don't", "U.S.", "[MASK]", "naïve", "\n"]
    found = encode_words_with(stored, "")(words)
    assert found == expected(Tokenizer.from_str(stored), words)


def test_another_kind_needs_the_library(monkeypatch):
    tokenizer = Tokenizer(models.BPE({"a": 0, "Ġ": 1, "Ġa": 2}, [("Ġ", "a")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    stored = tokenizer.to_str()
    assert not is_bert(stored)
    assert encode_words_with(stored, " ")(["a", "aa"]) == [[2], [2, 0]]
    monkeypatch.setitem(sys.modules, tokenizers.__name__, None)
    with pytest.raises(ImportError):
        encode_words_with(stored, " ")
