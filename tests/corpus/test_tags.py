"""Tag schemes: detected from the whole file, turned into IOB2, every change accounted for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmb_ner.corpus.tags import (
    LABEL_CHANGE,
    LOWER_CASE,
    NOT_CLOSED,
    ORPHAN,
    SCHEMES,
    Repair,
    TagError,
    detect_scheme,
    to_iob2,
)
from gmb_ner.errors import InputError

LABELS = ["geo", "per", "geo-loc", "e_mail"]
Span = tuple[int, int, str]  # first word, word after the last, label


def encode(length: int, spans: list[Span], scheme: str, separator: str = "-") -> list[str]:
    """Tags of `spans`, written down from the definition of each scheme."""
    tags = ["O"] * length
    ends = {end: label for _, end, label in spans}
    for start, end, label in spans:
        for index in range(start, end):
            first, last = index == start, index == end - 1
            if scheme == "iob2":
                prefix = "B" if first else "I"
            elif scheme == "iob1":
                prefix = "B" if first and ends.get(start) == label else "I"
            else:
                inside, end_sign, single = ("I", "E", "S") if scheme == "bioes" else ("I", "L", "U")
                prefix = (
                    single if first and last else "B" if first else end_sign if last else inside
                )
            tags[index] = label if scheme == "bare" else f"{prefix}{separator}{label}"
    return tags


def decode(tags: tuple[str, ...]) -> list[Span]:
    """Spans of well-formed IOB2; fails on anything else."""
    spans: list[Span] = []
    for index, tag in enumerate(tags):
        if tag == "O":
            continue
        prefix, label = tag[:2], tag[2:]
        if prefix == "B-":
            spans.append((index, index + 1, label))
        else:
            assert prefix == "I-"
            assert spans and spans[-1][1:] == (index, label), f"{tag} continues nothing in {tags}"
            spans[-1] = (spans[-1][0], index + 1, label)
    return spans


@st.composite
def sentences(draw: st.DrawFn) -> tuple[int, list[Span]]:
    spans: list[Span] = []
    position = 0
    for gap, size, label in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(LABELS)))
    ):
        spans.append((position + gap, position + gap + size, label))
        position += gap + size
    return position + draw(st.integers(0, 2)), spans


@settings(deadline=None)
@given(
    st.lists(sentences()),
    st.sampled_from(["iob2", "iob1", "bioes", "bilou"]),
    st.sampled_from("-_"),
)
def test_every_scheme_is_detected_and_keeps_its_spans(
    file: list[tuple[int, list[Span]]], scheme: str, separator: str
) -> None:
    file = [*file, (2, [(0, 1, "per")])]  # a file has at least one entity
    tags = [encode(length, spans, scheme, separator) for length, spans in file]
    detected = detect_scheme(iter(tags))
    assert detected == ("bioes" if scheme == "bilou" else scheme)
    for row, (_, spans) in zip(tags, file, strict=True):
        converted, repairs = to_iob2(row, detected)
        assert repairs == []
        assert decode(converted) == spans


@settings(deadline=None)
@given(st.lists(sentences()))
def test_bare_labels_keep_their_spans_but_for_equal_neighbours(
    file: list[tuple[int, list[Span]]],
) -> None:
    file = [*file, (2, [(0, 1, "per")])]
    tags = [encode(length, spans, "bare") for length, spans in file]
    assert detect_scheme(tags) == "bare"
    for row, (_, spans) in zip(tags, file, strict=True):
        merged: list[Span] = []
        for start, end, label in spans:
            if merged and merged[-1][1:] == (start, label):
                start = merged.pop()[0]
            merged.append((start, end, label))
        converted, repairs = to_iob2(row, "bare")
        assert repairs == []
        assert decode(converted) == merged


@settings(deadline=None)
@given(
    st.sampled_from(SCHEMES).flatmap(
        lambda scheme: st.tuples(
            st.just(scheme),
            st.lists(
                st.sampled_from(
                    ["O", "o", "geo", "per", "e-mail"]
                    if scheme == "bare"
                    else ["O", "o"]
                    + [
                        f"{prefix}{separator}{label}"
                        for prefix in ("BIESLUbieslu" if scheme == "bioes" else "BIbi")
                        for separator in "-_"
                        for label in ("geo", "per")
                    ]
                )
            ),
        )
    )
)
def test_any_tags_become_well_formed_and_converting_twice_changes_nothing(
    given_tags: tuple[str, list[str]],
) -> None:
    scheme, tags = given_tags
    converted, repairs = to_iob2(tags, scheme)
    assert len(converted) == len(tags)
    decode(converted)
    assert to_iob2(converted, "iob2") == (converted, [])
    for repair in repairs:
        assert repair.before == tags[repair.index]
        assert repair.after == converted[repair.index]


def test_a_well_formed_sentence_comes_back_as_it_is() -> None:
    tags = ("B-geo", "I-geo", "B-geo", "O", "B-per")
    assert to_iob2(tags, "iob2") == (tags, [])
    assert to_iob2(tags, "iob2")[0] is tags
    assert to_iob2((), "iob2") == ((), [])


@pytest.mark.parametrize(
    ("scheme", "tags", "expected", "repairs"),
    [
        ("iob2", "O I-geo I-geo", "O B-geo I-geo", [Repair(1, ORPHAN, "I-geo", "B-geo")]),
        ("iob2", "I-geo", "B-geo", [Repair(0, ORPHAN, "I-geo", "B-geo")]),
        ("iob2", "B-geo I-per", "B-geo B-per", [Repair(1, LABEL_CHANGE, "I-per", "B-per")]),
        ("iob2", "b-geo i-geo o", "B-geo I-geo O",
            [Repair(0, LOWER_CASE, "b-geo", "B-geo"), Repair(1, LOWER_CASE, "i-geo", "I-geo"),
             Repair(2, LOWER_CASE, "o", "O")]),
        ("iob2", "O i-geo", "O B-geo",
            [Repair(1, LOWER_CASE, "i-geo", "B-geo"), Repair(1, ORPHAN, "i-geo", "B-geo")]),
        ("iob2", "B_geo I_geo", "B-geo I-geo", []),
        ("iob2", "B-geo-loc I-geo-loc", "B-geo-loc I-geo-loc", []),
        ("iob1", "I-geo B-geo I-per", "B-geo B-geo B-per", []),
        ("iob1", "O B-geo I-geo", "O B-geo I-geo", []),
        ("bioes", "B-geo O", "B-geo O", [Repair(0, NOT_CLOSED, "B-geo", "B-geo")]),
        ("bioes", "B-geo I-geo", "B-geo I-geo", [Repair(1, NOT_CLOSED, "I-geo", "I-geo")]),
        ("bioes", "B-geo S-geo", "B-geo B-geo", [Repair(0, NOT_CLOSED, "B-geo", "B-geo")]),
        ("bioes", "B-geo E-per", "B-geo B-per", [Repair(1, LABEL_CHANGE, "E-per", "B-per")]),
        ("bioes", "S-geo E-geo", "B-geo B-geo", [Repair(1, ORPHAN, "E-geo", "B-geo")]),
        ("bioes", "O I-geo O", "O B-geo O", [Repair(1, ORPHAN, "I-geo", "B-geo")]),
        ("bioes", "U-geo B-per L-per", "B-geo B-per I-per", []),
        ("bare", "geo geo per O geo", "B-geo I-geo B-per O B-geo", []),
        ("bare", "geo o", "B-geo O", [Repair(1, LOWER_CASE, "o", "O")]),
    ],
)  # fmt: skip
def test_repairs(scheme: str, tags: str, expected: str, repairs: list[Repair]) -> None:
    assert to_iob2(tags.split(), scheme) == (tuple(expected.split()), repairs)


@pytest.mark.parametrize(
    ("scheme", "file"),
    [
        ("iob2", ["B-geo I-geo O", "O I-per O"]),  # a few orphans do not make it IOB1
        ("iob2", ["B-geo B-geo"]),
        ("iob1", ["I-geo B-geo O", "I-per O"]),
        ("iob1", ["O I-geo"]),
        ("iob1", ["I_geo b_geo"]),
        ("bioes", ["O S-geo"]),
        ("bioes", ["B-geo L-geo"]),
        ("bare", ["geo O"]),
        ("bare", ["e-mail per O"]),  # not the E- of BIOES
        ("bare", ["X-ray O"]),
    ],
)
def test_detection(scheme: str, file: list[str]) -> None:
    assert detect_scheme(line.split() for line in file) == scheme


@pytest.mark.parametrize(
    ("file", "tag", "message"),
    [
        (["O O", "O"], "O",
         "every tag is O, so there is nothing to learn; check the tag column (--vars.column_tag)"),
        (["B-geo O X-geo"], "X-geo",
         "tag 'X-geo' has an unknown prefix or no label; "
         "write O, or B-, I-, E-, S-, L- or U- and a label"),
        (["B-geo I-"], "I-",
         "tag 'I-' has an unknown prefix or no label; "
         "write O, or B-, I-, E-, S-, L- or U- and a label"),
        (["B-geo O per"], "per",
         "tag 'per' has no prefix, while others have one; "
         "write O, or B-, I-, E-, S-, L- or U- and a label"),
        (["B I I O"], "I", "tag 'I' has no label; write one behind each prefix, such as B-ENT"),
        (["0 3 3"], "3", "tag '3' is a number; write the labels themselves, and O for none"),
    ],
)  # fmt: skip
def test_a_file_that_fits_no_scheme_is_refused(file: list[str], tag: str, message: str) -> None:
    with pytest.raises(TagError) as error:
        detect_scheme(line.split() for line in file)
    assert (error.value.tag, str(error.value)) == (tag, message)


@pytest.mark.parametrize(
    ("tag", "scheme", "message"),
    [
        ("X-geo", "iob2", "tag 'X-geo' has an unknown prefix or no label; "
                          "write O, or B-, I-, E-, S-, L- or U- and a label"),
        ("S-geo", "iob2", "tag 'S-geo' does not belong to the scheme iob2; "
                          "correct it, or the scheme"),
        ("geo", "bioes", "tag 'geo' has no prefix, while others have one; "
                         "write O, or B-, I-, E-, S-, L- or U- and a label"),
    ],
)  # fmt: skip
def test_a_tag_outside_the_scheme_is_refused(tag: str, scheme: str, message: str) -> None:
    with pytest.raises(TagError) as error:
        to_iob2(["O", tag], scheme)
    assert str(error.value) == message
    placed = error.value.at("words.csv, row 3")
    assert isinstance(placed, InputError)
    assert str(placed) == f"words.csv, row 3: {message}"


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(InputError) as error:
        to_iob2(["O"], "iob3")
    assert str(error.value) == (
        "there is no tag scheme 'iob3'; give one of iob2, iob1, bioes, bare"
    )
