"""The two protocols: which sentence trains, tunes and tests a model."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from gmb_ner.corpus.docs import blocks
from gmb_ner.corpus.split import (
    DEV,
    LEFT_OUT,
    TEST,
    TRAIN,
    canonical,
    contiguous,
    fold,
    fold_of,
    leaked,
    normalise,
)


def in_part(ids, parts, part):
    return {id_ for id_, own in zip(ids, parts, strict=True) if own == part}


# canonical


def test_canonical_test_is_what_scikit_learn_takes_from_the_ids_sorted_as_strings():
    ids = [f"Sentence: {number}" for number in range(1, 13)]
    as_strings = [f"Sentence: {number}" for number in (1, 10, 11, 12, *range(2, 10))]
    _, test = train_test_split(as_strings, test_size=0.2, random_state=42)
    _, by_number = train_test_split(ids, test_size=0.2, random_state=42)
    assert set(test) != set(by_number)  # otherwise this example would show nothing
    assert in_part(ids, canonical(ids, blocks(12, 1)), TEST) == set(test)


@settings(deadline=None)
@given(st.lists(st.text(max_size=8), min_size=10, max_size=60, unique=True), st.randoms())
def test_the_order_of_the_file_does_not_matter_to_canonical(ids, shuffler):
    _, expected = train_test_split(sorted(ids), test_size=0.2, random_state=42)
    shuffler.shuffle(ids)
    assert in_part(ids, canonical(ids, blocks(len(ids), 5)), TEST) == set(expected)


def test_as_many_sentences_as_the_corpus_give_the_published_sizes():
    n = 47_959
    parts = canonical([f"Sentence: {number}" for number in range(1, n + 1)], blocks(n, 5))
    sizes = Counter(parts)
    assert sizes[TEST] == 9_592
    assert sizes[TRAIN] + sizes[DEV] == 38_367
    assert sizes[DEV] == pytest.approx(0.05 * 38_367, rel=0.02)
    assert sizes[LEFT_OUT] == 0


@settings(deadline=None)
@given(st.integers(10, 80), st.integers(1, 7), st.floats(0, 0.9))
def test_dev_is_made_of_whole_blocks(n, per_doc, share):
    groups = blocks(n, per_doc)
    parts = canonical([str(i) for i in range(n)], groups, share)
    outside_test = {(group, part) for group, part in zip(groups, parts, strict=True)} - {
        (group, TEST) for group in groups
    }
    assert len(outside_test) == len({group for group, _ in outside_test})  # never train and dev


def test_dev_is_the_same_ever_after():
    parts = canonical([str(i) for i in range(200)], blocks(200, 5), 0.1)
    dev_blocks = {i // 5 for i, part in enumerate(parts) if part == DEV}
    assert dev_blocks == {5, 9, 27, 32}


def test_dev_does_not_depend_on_the_order_of_the_blocks():
    n = 200
    ids, groups = [str(i) for i in range(n)], blocks(n, 5)
    in_order = dict(zip(ids, canonical(ids, groups), strict=True))
    shuffled = random.Random(1).sample(list(zip(ids, groups, strict=True)), n)
    other_ids, other_groups = zip(*shuffled, strict=True)
    assert dict(zip(other_ids, canonical(other_ids, other_groups), strict=True)) == in_order


@pytest.mark.parametrize(
    ("share", "dev_blocks"),
    [(0.0, 0), (0.01, 1), (0.25, 10), (0.5, 20)],  # at least one, or nothing could be tuned on
)
def test_the_share_of_dev_is_one_of_blocks(share, dev_blocks):
    # Blocks of 20: none lies in test as a whole.
    parts = canonical([str(i) for i in range(800)], blocks(800, 20), share)
    assert len({i // 20 for i, part in enumerate(parts) if part == DEV}) == dev_blocks


# contiguous


def test_contiguous_takes_the_last_fifth_as_test_and_the_tenth_before_as_dev():
    texts = [f"story {chr(97 + i)}" for i in range(20)]
    assert contiguous(texts) == [TRAIN] * 14 + [DEV] * 2 + [TEST] * 4


@given(st.integers(0, 500))
def test_contiguous_parts_follow_each_other_and_hold_their_shares(n):
    parts = contiguous([str(i) for i in range(n)])
    assert parts == sorted(parts, key=[TRAIN, DEV, TEST].index)
    assert abs(parts.count(TEST) - 0.2 * n) <= 0.5
    assert abs(parts.count(DEV) - 0.1 * n) <= 0.5


@pytest.mark.parametrize(
    ("at", "like", "part"),
    [
        (8, 0, TEST),  # place 8 of 0 to 9 is in test, 7 in dev; the text is that of `like`
        (7, 0, DEV),
        (8, 7, TEST),
    ],
)
def test_a_text_of_an_earlier_part_is_left_out_of_the_later_one(at, like, part):
    texts = list("abcdefghij")
    assert contiguous(texts)[at] == part
    texts[at] = texts[like]
    parts = contiguous(texts)
    assert parts[at] == LEFT_OUT
    assert parts.count(LEFT_OUT) == 1  # the earlier one stays


@pytest.mark.parametrize("first", [0, 14, 16])
def test_copies_within_one_part_stay(first):
    texts = list("abcdefghijklmnopqrst")
    texts[first + 1] = texts[first]
    assert LEFT_OUT not in contiguous(texts)


def test_what_is_left_out_of_dev_is_left_out_of_test_too():
    texts = list("abcdefghij")
    texts[7] = texts[9] = texts[2]
    assert contiguous(texts) == [*[TRAIN] * 7, LEFT_OUT, TEST, LEFT_OUT]


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60))
def test_contiguous_never_leaks_and_leaves_out_no_more_than_it_must(texts):
    parts = contiguous(texts)
    borders = contiguous([str(i) for i in range(len(texts))])
    assert leaked(texts, parts) == []
    rank = [TRAIN, DEV, TEST].index
    for i, (part, place) in enumerate(zip(parts, borders, strict=True)):
        earlier = {texts[j] for j in range(i) if rank(borders[j]) < rank(place)}
        assert part == (LEFT_OUT if texts[i] in earlier else place)


# folds


@given(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=10, max_size=60), st.integers(2, 5))
def test_folds_test_each_place_once_and_leak_nothing(texts, of):
    groups = blocks(len(texts), 2)
    folds = [fold(texts, groups, number, of, 0.1) for number in range(1, of + 1)]
    for parts in folds:
        assert leaked(texts, parts) == []
        assert DEV in parts and TRAIN in parts
    for i, of_place in enumerate(zip(*folds, strict=True)):
        assert sum(part in (TEST, LEFT_OUT) for part in of_place) == 1
        copies = {j for j, text in enumerate(texts) if text == texts[i]}
        if copies == {i}:
            assert TEST in of_place


def test_a_fold_is_a_stretch_of_the_file():
    texts = [f"story {chr(97 + i)}" for i in range(10)]
    parts = fold(texts, blocks(10, 1), 2, 5, 0.2)
    assert [i for i, part in enumerate(parts) if part == TEST] == [2, 3]
    texts[9] = texts[2]
    assert fold(texts, blocks(10, 1), 2, 5, 0.2)[2] == LEFT_OUT


@pytest.mark.parametrize(
    ("protocol", "found"),
    [
        *[("fold-1-of-5", (1, 5)), ("fold-5-of-5", (5, 5)), ("fold-6-of-5", None)],
        *[("fold-0-of-5", None), ("fold-1-of-1", None), ("canonical", None)],
    ],
)
def test_fold_of(protocol, found):
    assert fold_of(protocol) == found


# leaks


def test_leaked_names_test_sentences_whose_text_is_trained_or_tuned_on():
    texts = ["a", "b", "c", "a", "b", "c", "c", "d"]
    parts = [TRAIN, DEV, LEFT_OUT, TEST, TEST, TEST, TEST, TEST]
    assert leaked(texts, parts) == [3, 4]  # "c" is context only, and twice in test is no leak


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["Ada", "left", "OSLO", "."], "ada left oslo ."),
        (["In", "1987", ",", "5.5", "%"], "in 0000 , 0.0 %"),
        (["Straße", "№", "\u0663"], "strasse № 0"),  # any script's digits
        ([], ""),
    ],
)
def test_normalise(words, text):
    assert normalise(words) == text


@given(st.lists(st.text()))
def test_normalised_text_is_normal_and_blind_to_case_and_figures(words):
    text = normalise(words)
    assert normalise([text]) == text
    assert normalise([word.translate({ord("7"): "4"}) for word in words]) == text
