"""Every row is accounted for: kept, repaired or dropped, and why."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmb_ner.corpus.audit import (
    audit,
    check_share,
    count_entities,
    normalise_tags,
    rows_table,
    share_changed,
)
from gmb_ner.corpus.table import read_table
from gmb_ner.errors import InputError


@pytest.fixture
def read(tmp_path):
    """Write a file in the manner of CoNLL and read it: a word and a tag a line, "," between."""

    def read_(text, scheme=None):
        path = tmp_path / "words.csv"
        path.write_text(text, encoding="utf-8")
        return normalise_tags(read_table(path), scheme)

    return read_


MIXED = """\
id,word,tag
1,Ada,B-per
1,,O
1,sailed,O
,,
2,Bo,I-per
2, New York ,B-geo
2,\u00a0,O
2,slept,O
3,Ada,B-per
3,sailed,b-tim
"""


def test_rows_read_are_rows_kept_and_rows_dropped(read):
    rows = audit(read(MIXED))["rows"]
    assert rows == {
        "read": 10,
        "kept": 7,
        "dropped": {"word is empty or white space": 2, "blank row (sentence border)": 1},
    }


def test_drops_and_repairs_are_listed_with_row_sentence_and_kind(read):
    audited = audit(read(MIXED))
    empty = "word is empty or white space"
    # Blank rows, which every file of CoNLL has by the thousand, are counted and not listed.
    assert audited["dropped"] == [
        {"row": 3, "sentence": "1", "reason": empty},
        {"row": 8, "sentence": "2", "reason": empty},
    ]
    around, inside = "white space around word", "white space inside word"
    orphan, lower = "I- without a B- before it", "lower-case prefix"
    assert audited["repaired"] == [
        {"row": 6, "sentence": "2", "kind": orphan, "before": "I-per", "after": "B-per"},
        {"row": 7, "sentence": "2", "kind": around, "after": "New_York"},
        {"row": 7, "sentence": "2", "kind": inside, "after": "New_York"},
        {"row": 11, "sentence": "3", "kind": lower, "before": "b-tim", "after": "B-tim"},
    ]
    assert audited["repairs"] == {orphan: 1, lower: 1, around: 1, inside: 1}
    assert audited["share_changed"] == 5 / 10  # rows 3, 6, 7 (once), 8 and 11


def test_a_repaired_tag_is_listed_as_the_tag_that_it_became(read):
    audited = audit(read("word,tag\nAda,B-per \nleft, O\n"))
    assert [(one["row"], one["after"]) for one in audited["repaired"]] == [(2, "B-per"), (3, "O")]


def test_a_row_that_is_repaired_and_then_dropped_is_listed_in_both_ways(read):
    audited = audit(read("word,tag\n -DOCSTART-,O\n\nAda,B-per\n"))
    assert audited["rows"]["dropped"] == {
        "document border (-DOCSTART-)": 1,
        "blank row (sentence border)": 1,
    }
    assert [one["row"] for one in audited["dropped"]] == [2]
    assert [one["row"] for one in audited["repaired"]] == [2]


def test_sentences_tags_and_entities_are_counted(read):
    audited = audit(read(MIXED.replace("b-tim", "B-tim") + "4,ADA,O\n4,sailed,O\n"))
    assert audited["sentences"] == {
        "count": 4,
        "without_entities": 1,
        "words_min": 2,
        "words_median": 2.0,
        "words_max": 3,
        "surplus_copies": 1,  # 3 has the words of 1, and other tags
        "repeated_groups": 1,
        "repeated_groups_with_conflicting_tags": 1,
        "agreement": pytest.approx(2 / 3),  # of the entities per and per, tim
        "distinct_normalised": 2,  # 4 is another copy but for its letters' case
    }
    assert audited["tags"] == {"O": 4, "B-per": 3, "B-geo": 1, "B-tim": 1}
    assert audited["entities"] == {"count": 5, "per": 3, "geo": 1, "tim": 1}


def test_repeated_sentences_agree_as_far_as_their_first_two(read):
    def agreement(*tags):
        rows = "".join(f"{n},Oslo,{tag}\n" for n, tag in enumerate(tags))
        return audit(read(f"id,word,tag\n{rows}8,slept,O\n9,Ada,B-per\n"))["sentences"]["agreement"]

    assert agreement("B-geo", "B-geo", "O") == 1.0
    assert agreement("B-geo", "B-org", "B-geo") == 0.0
    assert agreement("O", "O") is None
    assert agreement("B-geo") is None


def test_the_account_says_how_the_file_was_read_and_is_json(read):
    audited = audit(read(MIXED))
    assert audited["read_as"] == {
        "encoding": "utf-8",
        "delimiter": ",",
        "header": True,
        "columns": {"sentence": "id", "word": "word", "tag": "tag"},
        "scheme": "iob2",
        "notes": [],
    }
    assert json.loads(json.dumps(audited)) == audited
    assert rows_table(audited)[:4] == [
        ("rows read", "10"),
        ("rows kept", "7"),
        ("rows dropped: word is empty or white space", "2"),
        ("rows dropped: blank row (sentence border)", "1"),
    ]


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("iob2", "B-per O B-geo I-geo"),
        ("iob1", "I-per O I-geo I-geo"),
        ("bioes", "S-per O B-geo E-geo"),
        ("bare", "per O geo geo"),
    ],
)
@pytest.mark.parametrize("given_", [True, False])
def test_every_scheme_becomes_iob2(read, scheme, tags, given_):
    rows = zip(("Ada", "left", "New", "York"), tags.split(), strict=True)
    tagged = read(
        "word,tag\n" + "".join(f"{word},{tag}\n" for word, tag in rows), scheme if given_ else None
    )
    assert (tagged.scheme, tagged.repaired) == (scheme, [])
    assert tagged.sentences[0].tags == ("B-per", "O", "B-geo", "I-geo")
    assert count_entities(tagged.sentences) == {"per": 1, "geo": 1}


ONLY_O = (
    "row 2: every tag is O, so there is nothing to learn; check the tag column (--vars.column_tag)"
)


@pytest.mark.parametrize(
    ("tags", "scheme", "message"),
    [
        ("O O", None, ONLY_O),
        ("O O", "iob2", ONLY_O),  # a scheme given by hand does not get around it
        ("o o", "bare", ONLY_O),
        ("B-geo X-geo", None, "row 3: tag 'X-geo' has an unknown prefix or no label; "
         "write O, or B-, I-, E-, S-, L- or U- and a label"),
        ("B-geo E-geo", "iob2", "row 3: tag 'E-geo' does not belong to the scheme iob2; "
         "correct it, or the scheme"),
        ("O B-count", None, "row 3: the label 'count' is what the records call their totals; "
         "rename it"),
        ("B-missed O", None, "row 2: the label 'missed' is what the records call entities that "
         "are not found; rename it"),
    ],
)  # fmt: skip
def test_tags_that_cannot_be_used_are_named_with_their_row(read, tmp_path, tags, scheme, message):
    first, second = tags.split()
    with pytest.raises(InputError) as error:
        read(f"word,tag\nAda,{first}\nleft,{second}\n", scheme)
    assert str(error.value) == f"{tmp_path / 'words.csv'}, {message}"


def test_an_unknown_scheme_is_named(read, tmp_path):
    with pytest.raises(InputError) as error:
        read("word,tag\nAda,B-per\n", "iob3")
    assert str(error.value) == (
        f"{tmp_path / 'words.csv'}: there is no tag scheme 'iob3'; "
        "give one of iob2, iob1, bioes, bare"
    )


def test_too_many_repairs_name_file_first_row_and_remedy(read, tmp_path):
    tagged = read("word,tag\n" + "Ada,B-per\n" * 95 + "Bo ,O\n" + "sails,b-tim\n" * 4)
    assert share_changed(tagged) == 0.05
    check_share(tagged, 0.05)
    with pytest.raises(InputError) as error:
        check_share(tagged, 0.01)
    assert str(error.value) == (
        f"{tmp_path / 'words.csv'}, row 98: 5.00% of the rows need repair, mostly "
        "'lower-case prefix' (4 rows, first here), and 1.00% are allowed; correct the file, or "
        "allow more with --vars.max_repairs 0.06"
    )


TAG = st.sampled_from(["O", "B-per", "I-per", "I-geo", "b-geo", " O"])
WORD = st.sampled_from(["Ada", "New York", " Oslo", "", "5 5"])


@settings(deadline=None)
@given(st.lists(st.tuples(WORD, TAG), max_size=30))
def test_the_account_adds_up_for_any_rows(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("audit") / "words.csv"
    lines = [f"{word},{tag}" if word else f" ,{tag}" for word, tag in rows]
    path.write_text("\n".join(["word,tag", "Ada,B-per", *lines]) + "\n", encoding="utf-8")
    audited = audit(normalise_tags(read_table(path), "iob2"))
    assert audited["rows"]["read"] == len(rows) + 1
    dropped = audited["rows"]["dropped"]
    assert audited["rows"]["kept"] + sum(dropped.values()) == len(rows) + 1
    assert sum(audited["tags"].values()) == audited["rows"]["kept"]
    assert len(audited["dropped"]) == sum(dropped.values())
    assert len(audited["repaired"]) == sum(audited["repairs"].values())
    touched = {one["row"] for one in audited["dropped"] + audited["repaired"]}
    assert audited["share_changed"] == len(touched) / (len(rows) + 1)
