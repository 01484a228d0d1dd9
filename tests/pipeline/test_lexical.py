"""What a feature reads, and what not."""

import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc

from gmb_ner.pipeline import lexical
from gmb_ner.pipeline.lexical import SENTENCE_ENDS, TEMPLATES, LexicalFeatures, word_shape

VOCAB = spacy.blank("en").vocab
FEATURES = LexicalFeatures()

words = st.lists(st.sampled_from(["Oslo", "oslo", "the", "1999", "2003", ".", ";"]), max_size=9)


def doc(text):
    return Doc(VOCAB, words=text.split() if isinstance(text, str) else text)


def hashes(text):
    return FEATURES([doc(text)])


def reads(token, other):
    """(templates,) whether the features of a token read another one."""
    return np.array([any(k == other - token for _, k in template) for template in TEMPLATES])


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("Oslo", "Xxxx"),
        ("Baghdad-2", "Xxxx-d"),
        ("NATO", "XXX"),
        ("U.S.", "X.X."),
        ("McDonald", "XxXxxx"),
        ("1990s", "dddx"),
        ("3,000", "d,ddd"),
        ("-----", "---"),
        ("snake_case", "xxx_xxx"),
        ("Ärger", "Xxxx"),
        ("北京", "xx"),
        ("٣", "d"),
        ("\n", "\n"),
        ("", ""),
    ],
)
def test_word_shapes(word, shape):
    assert word_shape(word) == shape


def test_one_row_a_word_and_one_column_a_template():
    features = hashes("Ada saw Oslo .")
    assert features.shape == (4, len(TEMPLATES)) and features.dtype == np.uint64
    assert len(set(TEMPLATES)) == len(TEMPLATES)


@pytest.mark.parametrize("docs", [[], [""], ["", ""]])
def test_no_words(docs):
    assert FEATURES([doc(text) for text in docs]).shape == (0, len(TEMPLATES))


def test_the_same_words_give_each_template_a_feature_of_its_own():
    features = hashes("the the the the the the the")
    assert len(set(features[3].tolist())) == len(TEMPLATES)


def test_equal_contexts_give_equal_features():
    first = hashes("a b c Oslo d e f")
    second = hashes("x y a b c Oslo d e f z")
    assert (first[3] == second[5]).all()
    assert not (first[2] == second[4]).all()  # x, y is three words away from there


@pytest.mark.parametrize("changed", range(8))
def test_a_changed_word_changes_the_features_that_read_it(changed):
    before = ["w1", "xb2", "ycc3", "zddd", "Veeee", "uFFF", "tGg5", "sHHH7"]
    after = list(before)
    after[changed] = "@-Other"  # no part is like a part of the words above
    differs = hashes(before) != hashes(after)
    expected = [reads(token, changed) for token in range(len(before))]
    assert differs.tolist() == np.array(expected).tolist()


@pytest.mark.parametrize("end", sorted(SENTENCE_ENDS))
def test_features_stop_at_the_end_of_a_sentence(end):
    """It belongs to the sentence that it ends."""
    before, after = hashes(f"Ada left {end} Oslo is cold"), hashes(f"so there {end} Oslo is cold")
    assert (before[3:] == after[3:]).all()
    assert (before[3:] == hashes("Oslo is cold")).all()
    assert (before[:3] == hashes(f"Ada left {end}")).all()
    assert not (before[2] == after[2]).all()


def test_the_start_of_a_sentence_is_a_feature():
    assert not (hashes("Oslo is cold")[0] == hashes("now Oslo is cold")[1]).all()


def test_a_comma_ends_nothing():
    assert not (hashes("Ada , Oslo")[2] == hashes("Bob , Oslo")[2]).all()


def test_digits_stand_for_each_other_but_in_affixes():
    differs = hashes("1999")[0] != hashes("2003")[0]
    affix = [any(part in lexical._AFFIXES for part, _ in template) for template in TEMPLATES]
    own = reads(0, 0)
    assert differs.tolist() == (np.array(affix) & own).tolist()


def test_case_is_read_and_left_out():
    same = hashes("Oslo")[0] == hashes("oslo")[0]
    assert same.any() and not same.all()


@given(st.lists(words, max_size=4))
def test_a_batch_is_each_doc_alone(batch):
    docs = [doc(text) for text in batch]
    alone = [FEATURES([one]) for one in docs]
    expected = np.concatenate([*alone, np.zeros((0, len(TEMPLATES)), dtype=np.uint64)])
    assert (FEATURES(docs) == expected).all()


def test_the_cache_is_bounded_and_changes_nothing(monkeypatch):
    text = "Ada Lin saw Oslo and the Nile in 1999 ."
    monkeypatch.setattr(lexical, "MAX_CACHED_WORDS", 2)
    small = LexicalFeatures()
    assert (small([doc(text)]) == hashes(text)).all()
    assert (small([doc(text)]) == hashes(text)).all()
    assert len(small._cache) <= 3


def test_saved_models_know_these_features():
    """They hold hashes: whoever changes what a feature reads makes all of them useless."""
    features = hashes("Ada Lin saw Oslo in 1999 ; U.S.")
    assert f"{int(np.bitwise_xor.reduce(features, axis=None)):016x}" == "b741fa9bfa70423f"
