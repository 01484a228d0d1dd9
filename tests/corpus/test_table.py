"""Reading tables of tagged words: what is understood, what is accounted for, what is refused."""

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmb_ner.corpus import textfile
from gmb_ner.corpus.table import MAX_SENTENCE_WORDS, Columns, Dropped, Table, read_table
from gmb_ner.errors import InputError

KAGGLE = """\
Sentence #,Word,POS,Tag
Sentence: 1,Ada,NNP,B-per
,sails,VBZ,O
Sentence: 2,None,NN,O
,left,VBD,O
,Oslo,NNP,B-geo
"""
CONLL = """\
word\ttag
Ada\tB-per
sails\tO

None\tO
left\tO
Oslo\tB-geo
"""
WORDS = [("Ada", "sails"), ("None", "left", "Oslo")]
TAGS = [("B-per", "O"), ("O", "O", "B-geo")]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "words.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


def words(table: Table) -> list[tuple[str, ...]]:
    return [sentence.words for sentence in table.sentences]


def refusal(path: Path, *args: object, **options: object) -> str:
    """The message with which `path` is refused, less the folder."""
    with pytest.raises(InputError) as error:
        read_table(path, *args, **options)  # type: ignore[arg-type]
    message = str(error.value)
    assert message.startswith(str(path)), message
    assert "\n" not in message
    return message.removeprefix(f"{path.parent}/")


# What is understood


def test_the_kaggle_form(write: Write) -> None:
    path = write(KAGGLE.replace("\n", "\r\n"))
    table = read_table(path)
    assert words(table) == WORDS
    assert [sentence.tags for sentence in table.sentences] == TAGS
    assert [sentence.id for sentence in table.sentences] == ["Sentence: 1", "Sentence: 2"]
    assert [list(sentence.rows) for sentence in table.sentences] == [[2, 3], [4, 5, 6]]
    assert table.sentences[1].row == 4
    assert table.columns == Columns("Sentence #", "Word", "Tag")
    assert (table.path, table.encoding, table.delimiter, table.header) == (path, "utf-8", ",", True)
    assert (table.rows_read, table.rows_kept) == (5, 5)
    assert (table.dropped, table.repairs, table.notes) == ([], {}, ())
    assert table.row_of_tag("B-geo") == 6
    assert table.row_of_tag("B-art") is None


def test_an_id_on_every_row(write: Write) -> None:
    table = read_table(
        write("sent_id;token;ner\n7;Ada;B-per\n7;sails;O\n3;None;O\n3;left;O\n3;Oslo;B-geo\n")
    )
    assert words(table) == WORDS
    assert [sentence.id for sentence in table.sentences] == ["7", "3"]
    assert table.delimiter == ";"


def test_blank_rows_between_sentences(write: Write) -> None:
    table = read_table(write(CONLL + "\n\n"))
    assert words(table) == WORDS
    assert [sentence.id for sentence in table.sentences] == ["1", "2"]
    assert [list(sentence.rows) for sentence in table.sentences] == [[2, 3], [5, 6, 7]]
    assert table.columns == Columns(None, "word", "tag")
    assert (table.rows_read, table.rows_kept) == (8, 5)
    assert [dropped.row for dropped in table.dropped] == [4, 8, 9]
    assert table.dropped_by_reason() == {"blank row (sentence border)": 3}


def test_blank_rows_made_of_delimiters_or_spaces(write: Write) -> None:
    table = read_table(write("Word,Tag\nAda,B-per\n,\nsails,O\n , \nOslo,B-geo\n  \n"))
    assert words(table) == [("Ada",), ("sails",), ("Oslo",)]
    assert table.dropped_by_reason() == {"blank row (sentence border)": 3}


def test_blank_rows_beside_ids(write: Write) -> None:
    table = read_table(write("id,word,tag\n1,Ada,O\n1,sails,O\n,,\n2,Oslo,B-geo\n"))
    assert words(table) == [("Ada", "sails"), ("Oslo",)]


def test_ids_can_be_ignored(write: Write) -> None:
    # token numbers that begin again in each sentence, as in CoNLL-U
    path = write("ID\tFORM\tNER\n1\tAda\tB-per\n2\tsails\tO\n\n1\tOslo\tB-geo\n")
    assert words(read_table(path, Columns(sentence="none"))) == [("Ada", "sails"), ("Oslo",)]


def test_of_columns_named_alike_the_one_that_holds_tags_is_taken(write: Write) -> None:
    path = write("id,word,tag,label\n1,Ada,NNP,B-per\n1,sails,VBZ,O\n")
    assert read_table(path).columns == Columns("id", "word", "label")
    path = write("word,tag,ner\nAda,NNP,per\nsails,VBZ,O\n")  # the name says it
    assert read_table(path).columns.tag == "ner"
    path = write("word,tag,label\nAda,NNP,per\nsails,VBZ,O\n")
    with pytest.raises(InputError, match=r"row 1: the tags could be in 'tag', 'label'; say where"):
        read_table(path)
    assert read_table(path, Columns(tag="label")).columns.tag == "label"


def test_a_first_word_like_a_header_is_a_word_where_columns_have_numbers(write: Write) -> None:
    table = read_table(write("Text\tO\nOslo\tB-geo\n"), Columns(word="1", tag="2"))
    assert words(table) == [("Text", "Oslo")] and table.rows_read == 2


def test_document_borders_of_conll_are_dropped(write: Write) -> None:
    table = read_table(write("word\ttag\n-DOCSTART-\tO\n\nAda\tB-per\n"))
    assert words(table) == [("Ada",)]
    assert table.dropped == [
        Dropped(2, "document border (-DOCSTART-)", None),
        Dropped(3, "blank row (sentence border)", None),
    ]


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("Sentence #,Word,Tag", Columns("Sentence #", "Word", "Tag")),
        ("SENTENCE_ID,TOKEN,NER_TAG", Columns("SENTENCE_ID", "TOKEN", "NER_TAG")),
        ("sent-id,tokens,ner_tags", Columns("sent-id", "tokens", "ner_tags")),
        ("sentence_idx,text,iob", Columns("sentence_idx", "text", "iob")),
        ("id,form,label", Columns("id", "form", "label")),
        (" sent , words , Entity ", Columns("sent", "words", "Entity")),
    ],
)
def test_usual_column_names_are_recognised(write: Write, header: str, columns: Columns) -> None:
    assert read_table(write(f"{header}\n1,Ada,B-per\n")).columns == columns


def test_a_column_of_entity_tags_goes_before_one_of_parts_of_speech(write: Write) -> None:
    table = read_table(write("word,tag,ner\nAda,NNP,B-per\n"))
    assert table.sentences[0].tags == ("B-per",)


def test_columns_by_option(write: Write) -> None:
    path = write("satz|wort|wortart|marke\n1|Ada|NE|B-per\n2|segelt|VV|O\n")
    for columns in (Columns("satz", "wort", "marke"), Columns("Satz", "WORT", "4")):
        table = read_table(path, columns)
        assert words(table) == [("Ada",), ("segelt",)]
        assert table.columns == Columns("satz", "wort", "marke")


def test_no_header(write: Write) -> None:
    table = read_table(write("Ada\tB-per\nsails\tO\n\nOslo\tB-geo\n"))
    assert words(table) == [("Ada", "sails"), ("Oslo",)]
    assert (table.header, table.rows_read, table.sentences[0].row) == (False, 4, 1)
    assert table.columns == Columns(None, "1", "2")
    assert table.notes == ("no header row: word from column 1, tag from column 2",)
    table = read_table(
        write("1,Ada,NNP,B-per\n1,sails,VBZ,O\n2,Oslo,NNP,O\n"), Columns("1", "2", "4")
    )
    assert words(table) == [("Ada", "sails"), ("Oslo",)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_detected(write: Write, delimiter: str) -> None:
    signs = [",", ";", "|", "."]  # the words are the traps
    lines = [f'"{sign}"{delimiter}O' if delimiter != "\t" else f"{sign}\tO" for sign in signs]
    table = read_table(write("\n".join([f"word{delimiter}tag", *lines])))
    assert (table.delimiter, words(table)) == (delimiter, [tuple(signs)])


def test_delimiter_by_option(write: Write) -> None:
    assert words(read_table(write("word tag\nAda B-per\n"), delimiter="space")) == [("Ada",)]
    assert words(read_table(write("word\ttag\nAda\tO\n"), delimiter="tab")) == [("Ada",)]
    assert words(read_table(write("word~tag\nAda~O\n"), delimiter="~")) == [("Ada",)]


@pytest.mark.parametrize(
    ("written_as", "detected"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("cp1252", "cp1252"),
    ],
)
@pytest.mark.parametrize("quote", ["", '"'])
def test_encodings_are_detected(write: Write, written_as: str, detected: str, quote: str) -> None:
    # the quoted header is the trap: a byte order mark left in front would hide the quote
    text = f"{quote}word{quote},tag\r\nCafé,B-org\r\n€,O\r\n…,O\r\n"
    path = write(text, encoding=written_as)
    for encoding in (None, written_as):
        table = read_table(path, encoding=encoding)
        assert words(table) == [("Café", "€", "…")]
        assert table.columns.word == "word"
    assert read_table(path).encoding == detected


def test_a_big_endian_byte_order_mark(write: Write) -> None:
    path = write("\ufeffword,tag\nCafé,O\n", encoding="utf-16-be")
    for encoding in (None, "utf-16-be", "utf-16"):
        assert words(read_table(path, encoding=encoding)) == [("Café",)]


def test_latin_1_where_cp1252_has_no_character(write: Write) -> None:
    table = read_table(write(b"word,tag\ncaf\xe9,O\n\x81x,O\n"))
    assert (table.encoding, words(table)) == ("latin-1", [("café", "\x81x")])
    assert table.notes == (
        "read as latin-1: byte 0xe9 in row 2 is not UTF-8 (--vars.encoding chooses another)",
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(write: Write, end: str) -> None:
    # U+0085 and U+2028 are line ends to str.splitlines, not to a table
    table = read_table(write(end.join(["word,tag", "a\u0085b,O", "c\u2028d,O", "", "e,O"])))
    assert words(table) == [("a_b", "c_d"), ("e",)]


def test_words_are_text(write: Write) -> None:
    odd = [
        "None",
        "NA",
        "null",
        "nan",
        "1,00,000",
        "06-Mar",
        "0.5",
        "=A1",
        "'",
        '"',
        '""',
        "\\",
        "#",
    ]
    out = io.StringIO()
    csv.writer(out).writerows([("Word", "Tag"), *((word, "O") for word in odd)])
    assert words(read_table(write(out.getvalue()))) == [tuple(odd)]


def test_quotes_in_tab_separated_files(write: Write) -> None:
    # CoNLL style: a quote is a word
    table = read_table(write('word\ttag\n"\tO\nyes\tO\n"\tO\n'))
    assert words(table) == [('"', "yes", '"')]
    assert table.notes == (
        "double quotes taken as they are: they are not written in the CSV manner",
    )
    # spreadsheet style: it is doubled and quoted
    table = read_table(write('word\ttag\n""""\tO\n"yes"\tO\n""""\tO\n'))
    assert words(table) == [('"', "yes", '"')]
    assert table.notes == ()


def test_a_zip_with_one_table(tmp_path: Path) -> None:
    path = tmp_path / "words.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/words.csv", KAGGLE)
        archive.writestr("data/readme.md", "words")
        archive.writestr("__MACOSX/data/._words.csv", b"\0\5\x16\7")
    assert words(read_table(path)) == WORDS


def test_progress_tells_the_rows_read(write: Write) -> None:
    calls: list[int] = []
    read_table(write("Word,Tag\n" + ("a,O\n" * 999 + ",\n") * 50), progress=calls.append)
    assert calls == [20_000, 40_000, 50_000]


def test_equal_words_are_one_object(write: Write) -> None:
    first, second = words(read_table(write("id,word,tag\n1,Reykjavik,O\n2,Reykjavik,O\n")))
    assert first[0] is second[0]


# What is accounted for


def test_white_space_in_words_and_tags_is_repaired(write: Write) -> None:
    table = read_table(
        write("Word,Tag\n5\u00a0storm,O\n New York ,B-geo\n10 000,O\nAda,B-per \n5\u00a0storm,O\n")
    )
    assert words(table) == [("5_storm", "New_York", "10000", "Ada", "5_storm")]
    assert table.sentences[0].tags == ("O", "B-geo", "O", "B-per", "O")
    assert table.repairs == {
        "white space inside word": [2, 3, 4, 6],
        "white space around word": [3],
        "white space around tag": [5],
    }


def test_white_space_for_a_word_drops_the_row(write: Write) -> None:
    table = read_table(
        write("id,word,tag\n1,Ada,B-per\n1, ,I-per\n1,sails,O\n2,\u00a0,O\n2,So,O\n")
    )
    assert words(table) == [("Ada", "sails"), ("So",)]
    assert [tuple(sentence.rows) for sentence in table.sentences] == [(2, 4), (6,)]
    assert table.dropped == [
        Dropped(3, "word is empty or white space", "1"),
        Dropped(5, "word is empty or white space", "2"),
    ]
    assert (table.rows_read, table.rows_kept) == (5, 3)


def test_a_dropped_first_row_still_opens_its_sentence(write: Write) -> None:
    table = read_table(write("id,word,tag\n1,Ada,O\n2,,O\n,Oslo,O\n"))
    assert [(sentence.id, sentence.words) for sentence in table.sentences] == [
        ("1", ("Ada",)),
        ("2", ("Oslo",)),
    ]


WORD = st.text(st.characters(codec="cp1252", exclude_categories=["C", "Z"]), min_size=1, max_size=5)
ROW = st.tuples(WORD, st.sampled_from(["O", "B-geo", "I-geo"]))


@given(
    file=st.lists(st.lists(ROW, min_size=1, max_size=4), min_size=1, max_size=6),
    form=st.sampled_from(["every", "first", "blank"]),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
@settings(deadline=None)  # a busy disk is no failure
def test_any_table_comes_back_as_written(
    tmp_path_factory: pytest.TempPathFactory,
    file: list[list[tuple[str, str]]],
    form: str,
    delimiter: str,
    encoding: str,
    end: str,
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(["Sentence #", "Word", "Tag"])
    for number, sentence in enumerate(file, 1):
        for index, (word, tag) in enumerate(sentence):
            named = form == "every" or (form == "first" and index == 0)
            writer.writerow([f"s{number}" if named else "", word, tag])
        if form == "blank":
            out.write(end)
    path = tmp_path_factory.mktemp("any") / "words.csv"
    path.write_bytes(out.getvalue().encode(encoding))
    table = read_table(path, encoding=encoding)
    assert [list(zip(s.words, s.tags, strict=True)) for s in table.sentences] == file
    assert table.rows_read == len(out.getvalue().split(end)) - 2
    assert table.rows_read == table.rows_kept + sum(table.dropped_by_reason().values())
    lines = out.getvalue().split(end)
    for s in table.sentences:
        for row, tag in zip(s.rows, s.tags, strict=True):
            assert lines[row - 1].endswith(f'"{tag}"')


# What is refused: each message says what, where and what to do


def test_no_such_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "words.csv") == "words.csv: there is no such file; check the path"


def test_a_directory(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    assert refusal(tmp_path / "words") == (
        "words: this is a directory; give the CSV or TSV file itself"
    )


@pytest.mark.parametrize("content", [b"", b"\r\n \n", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_an_empty_file(write: Write, content: bytes) -> None:
    assert refusal(write(content)) == (
        "words.csv: the file is empty; give a CSV or TSV of tagged words"
    )


@pytest.mark.parametrize("content", ["Word,Tag", "Word,Tag\r\n"])
def test_a_header_only(write: Write, content: str) -> None:
    assert refusal(write(content)) == (
        "words.csv: there is a header but no rows; give a file with tagged words"
    )


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("id,wort,Tag",
         "no column recognised as the word, columns found: 'id', 'wort', 'Tag'; "
         "name it with --vars.column_word"),
        ("id,Word,marke",
         "no column recognised as the tag, columns found: 'id', 'Word', 'marke'; "
         "name it with --vars.column_tag"),
        ("a,b,c",
         "no column recognised as the word, columns found: 'a', 'b', 'c'; "
         "name it with --vars.column_word"),
        ("Word,Word,Tag",
         "there are 2 columns named 'Word'; "
         "rename them, or give the column's number with --vars.column_word"),
    ],
)  # fmt: skip
def test_missing_columns(write: Write, header: str, message: str) -> None:
    assert refusal(write(f"{header}\n1,Ada,B-per\n")) == f"words.csv, row 1: {message}"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(word="wort"),
         "there is no column 'wort', columns found: 'Sentence #', 'Word', 'POS', 'Tag'; "
         "give one of them with --vars.column_word"),
        (Columns(tag="5"),
         "there is no column '5', columns found: 'Sentence #', 'Word', 'POS', 'Tag'; "
         "give one of them with --vars.column_tag"),
        (Columns(sentence="satz"),
         "there is no column 'satz', columns found: 'Sentence #', 'Word', 'POS', 'Tag'; "
         "give one of them with --vars.column_sentence"),
        (Columns(word="Tag"),
         "the sentence, word and tag columns must differ; "
         "check --vars.column_sentence, --vars.column_word and --vars.column_tag"),
    ],
)  # fmt: skip
def test_columns_that_do_not_exist(write: Write, columns: Columns, message: str) -> None:
    assert refusal(write(KAGGLE), columns) == f"words.csv, row 1: {message}"


def test_no_header_and_too_many_columns_to_guess(write: Write) -> None:
    assert refusal(write("Sentence: 1,Ada,NNP,B-per\n,sails,VBZ,O\n")) == (
        "words.csv, row 1: there is no header row (found 'Sentence: 1', 'Ada', 'NNP', 'B-per'); "
        "add one, or give the columns by number with --vars.column_word and --vars.column_tag, and "
        "--vars.column_sentence if there are ids"
    )


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PAR1\x15\x04\x15", "a Parquet file, not text; save or unpack it"),
        (b"\x1f\x8b\x08\x00words", "a gzip archive, not text; save or unpack it"),
        (b"\xd0\xcf\x11\xe0words", "an old Excel workbook, not text; save or unpack it"),
        (bytes(range(256)) * 40, "a binary file, not text; save it"),
    ],
)
def test_a_binary_file(write: Write, content: bytes, kind: str) -> None:
    assert refusal(write(content)) == f"words.csv: this is {kind} as CSV or TSV"


def test_a_workbook_named_csv(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    assert refusal(path) == "words.csv: this is an office document; save it as CSV"


def test_nul_bytes(write: Write) -> None:
    message = (
        "words.csv, row 3: NUL character at byte 22 of the file; remove it, or name the file's "
        "encoding with --vars.encoding if it is not plain text"
    )
    path = write(b"word,tag\nAda,B-per\nOs\0lo,O\n")
    assert refusal(path) == message
    assert refusal(path, encoding="cp1252") == message


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (b"word,tag\nAda,O\ncaf\xe9,O\n", "utf-8",
         ", row 3: byte 19 of the file cannot be read as utf-8; "
         "correct it, or name the file's true encoding with --vars.encoding"),
        ("word,tag\nAda,O\n".encode("utf-16") + b"x", None,
         ", row 3: byte 33 of the file cannot be read as utf-16; "
         "correct it, or name the file's true encoding with --vars.encoding"),
        (b"word,tag\nAda,O\n", "klingon",
         ": 'klingon' is no text encoding known to Python; "
         "give --vars.encoding a name such as utf-8, cp1252, latin-1 or utf-16"),
        (b"word,tag\nAda,O\n", "hex",
         ": 'hex' is no text encoding known to Python; "
         "give --vars.encoding a name such as utf-8, cp1252, latin-1 or utf-16"),
    ],
)  # fmt: skip
def test_bytes_that_cannot_be_decoded(
    write: Write, content: bytes, encoding: str | None, message: str
) -> None:
    assert refusal(write(content), encoding=encoding) == f"words.csv{message}"


def test_one_broken_byte_in_a_utf_8_file(write: Write) -> None:
    content = "word,tag\nŁódź,B-geo\nKraków,B-geo\nGdańsk,B-geo\nPoznań,B-geo\nToruń,B-geo\n" * 2
    broken = content.encode() + b"Chlo\xf3,O\n"
    assert refusal(write(broken)) == (
        f"words.csv, row 13: byte {len(content.encode()) + 5} of the file (0xf3) is not UTF-8, "
        "while 14 other characters are; correct it, or name the file's encoding with "
        "--vars.encoding"
    )


@pytest.mark.parametrize(
    ("content", "delimiter", "message"),
    [
        ("Word~Tag\nAda~B-per\n", None,
         "only one column (Word~Tag) with comma, semicolon, tab or vertical bar as delimiter; "
         "give the right one with --vars.delimiter"),
        (KAGGLE, ";",
         "only one column with the delimiter semicolon (Sentence #,Word,POS,Tag); "
         "give the right one with --vars.delimiter"),
    ],
)  # fmt: skip
def test_a_wrong_delimiter(write: Write, content: str, delimiter: str | None, message: str) -> None:
    assert refusal(write(content), delimiter=delimiter) == f"words.csv, row 1: {message}"


def test_a_delimiter_of_several_characters(write: Write) -> None:
    with pytest.raises(InputError) as error:
        read_table(write(KAGGLE), delimiter="::")
    assert str(error.value) == (
        "--vars.delimiter: '::' is not a single character; give one such as ',' or 'tab'"
    )


@pytest.mark.parametrize(
    ("row", "found"), [(",1,000,CD,O", "many fields, 5"), (",sails,VBZ", "few fields, 3")]
)
def test_too_few_or_too_many_fields(write: Write, row: str, found: str) -> None:
    assert refusal(write(KAGGLE.replace(",sails,VBZ,O", row))) == (
        f"words.csv, row 3: too {found} instead of 4 with the delimiter comma; "
        "correct the row, or quote a field that holds the delimiter"
    )


@pytest.mark.parametrize(
    "rest",
    [
        "",  # the quote swallows the rest of the file
        ',",``,O\n,sails,VBZ,O\n',  # up to the next quote
        ",sails,VBZ,O\n" * 20_000,  # beyond the csv module's limit for a field
    ],
)
def test_an_unclosed_quote(write: Write, rest: str) -> None:
    assert refusal(write(KAGGLE.replace(",sails", ',"sails') + rest)) == (
        "words.csv, row 3: a double quote opens a field and is not closed in the same row; "
        'close it (a word that is a quote is written as """")'
    )


def test_a_line_break_inside_quotes(write: Write) -> None:
    assert "row 3: a double quote opens" in refusal(write(KAGGLE.replace(",sails,", ',"sa\nils",')))


def test_text_behind_a_closing_quote(write: Write) -> None:
    assert refusal(write(KAGGLE.replace(",sails,", ',"sa"ils,'))) == (
        "words.csv, row 3: text follows a closing double quote; "
        "write quotes inside a quoted field twice"
    )


def test_an_enormous_field(write: Write) -> None:
    assert refusal(write(KAGGLE.replace("sails", "x" * 200_000))) == (
        "words.csv, row 3: a field is longer than 131,072 characters; "
        "check the delimiter (--vars.delimiter) and the line ends"
    )


def test_a_word_without_a_tag(write: Write) -> None:
    assert refusal(write(KAGGLE.replace("VBZ,O", "VBZ, "))) == (
        "words.csv, row 3: the word 'sails' has no tag; give it one (O for none), or drop the row"
    )


def test_white_space_for_every_word(write: Write) -> None:
    assert refusal(write("Word,Tag\n ,O\n\u00a0,B-geo\n,\n")) == (
        "words.csv: none of the 3 rows holds a word in column 'Word'; "
        "name the right one with --vars.column_word"
    )


@pytest.mark.parametrize(
    ("header", "row", "id_"), [("word,tag", "a,O", "1"), ("id,word,tag", "x,a,O", "x")]
)
def test_a_sentence_of_100_000_words(write: Write, header: str, row: str, id_: str) -> None:
    assert refusal(write(f"{header}\n" + f"{row}\n" * 100_000)) == (
        f"words.csv, row 2: sentence '{id_}' has 100,000 words, more than 2,000; name the column "
        "of sentence ids with --vars.column_sentence, or separate sentences by blank rows"
    )


def test_the_longest_sentence_allowed(write: Write) -> None:
    table = read_table(write("word,tag\n" + "a,O\n" * MAX_SENTENCE_WORDS))
    assert table.rows_kept == MAX_SENTENCE_WORDS


@pytest.mark.parametrize(
    "content",
    [
        "id,word,tag\n7,Ada,O\n8,Bo,O\n8,So,O\n7,Cy,O\n",
        "id,word,tag\n7,Ada,O\n,Bo,O\n,So,O\n7,Cy,O\n",  # ids on first rows: a second sentence 7
    ],
)
def test_a_sentence_id_that_comes_back(write: Write, content: str) -> None:
    assert refusal(write(content)) == (
        "words.csv, row 5: sentence id '7' comes back after it was used in row 2; give each "
        "sentence an id of its own and keep its rows together, name another column with "
        "--vars.column_sentence, or 'none' to go by blank rows"
    )


def test_a_first_sentence_without_an_id(write: Write) -> None:
    assert refusal(write("id,word,tag\n,Ada,O\n,Bo,O\n8,So,O\n")) == (
        "words.csv, row 2: the first word has no sentence id, while row 4 has '8'; give every "
        "sentence an id on its first row, or ignore ids with --vars.column_sentence none"
    )


@pytest.mark.parametrize("id_", ["", "7"])
def test_a_blank_row_inside_a_sentence(write: Write, id_: str) -> None:
    assert refusal(write(f"id,word,tag\n7,Ada,O\n,,\n{id_},Bo,O\n")) == (
        "words.csv, row 3: blank row inside sentence '7', which goes on in row 4; delete it, give "
        "the words after it an id of their own, or ignore ids with --vars.column_sentence none"
    )


def test_row_numbers_taken_for_sentence_ids(write: Write) -> None:
    path = write("id,word,tag\n" + "".join(f"{number},a,O\n" for number in range(30)))
    assert refusal(path) == (
        "words.csv, row 3: column 'id' has a new id on every row, so that every sentence has one "
        "word; name the column of sentence ids with --vars.column_sentence (this one, if it is "
        "right; 'none' if blank rows separate the sentences)"
    )
    assert len(read_table(path, Columns(sentence="id")).sentences) == 30


@pytest.mark.parametrize(
    ("members", "found"), [(["a.csv", "b.tsv"], "a.csv, b.tsv"), (["readme.md"], "none")]
)
def test_a_zip_without_exactly_one_table(tmp_path: Path, members: list[str], found: str) -> None:
    path = tmp_path / "words.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, KAGGLE)
    assert refusal(path) == (
        f"words.zip: the archive must hold exactly one CSV or TSV file, found {found}; "
        "unpack it and give the file"
    )


def test_a_zip_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textfile, "MAX_UNPACKED_BYTES", 100)
    path = tmp_path / "words.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("words.csv", KAGGLE)
    assert refusal(path) == (
        f"words.zip: words.csv is {len(KAGGLE)} bytes unpacked, more than 100; "
        "unpack it and give the file"
    )


def test_a_damaged_zip(tmp_path: Path) -> None:
    path = tmp_path / "words.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("words.csv", KAGGLE)
    path.write_bytes(path.read_bytes()[:-30])
    assert refusal(path) == (
        "words.zip: the archive cannot be unpacked (File is not a zip file); "
        "fetch it again or unpack it"
    )


def test_errors_inside_a_zip_name_the_member(tmp_path: Path) -> None:
    path = tmp_path / "words.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/words.csv", "Word,Tag\nAda,\n")
    assert refusal(path).startswith("words.zip (data/words.csv), row 2: the word 'Ada' has no tag")
