"""Files that cannot be used, as a user meets them: one sentence with file, row and remedy."""

from pathlib import Path

import pytest

KAGGLE = """\
Sentence #,Word,POS,Tag
Sentence: 1,Ada,NNP,B-per
,sails,VBZ,O
Sentence: 2,Oslo,NNP,B-geo
,waits,VBZ,O
"""


def long_sentence():
    return "id,word,tag\n1,Ada,B-per\n" + "1,sails,O\n" * 99_999


def far_apart():
    rows = [f"{number},Ada,B-per\n{number},sails,O\n" for number in (*range(1, 5001), 7)]
    return "id,word,tag\n" + "".join(rows)


def stray_white_space():
    return "id,word,tag\n" + "1,Ada,B-per\n1,sails,O\n" * 40 + "1, ,O\n" * 5


BAD = {
    "empty file": ("", [], "words.csv: the file is empty; give a CSV or TSV of tagged words"),
    "missing columns": (
        "Sentence #,Word,POS\nSentence: 1,Ada,NNP\n",
        [],
        "words.csv, row 1: no column recognised as the tag, columns found: 'Sentence #', 'Word', "
        "'POS'; name it with --vars.column_tag",
    ),
    "column that is not there": (
        KAGGLE,
        ["--column-tag", "NER"],
        "words.csv, row 1: there is no column 'NER', columns found: 'Sentence #', 'Word', 'POS', "
        "'Tag'; give one of them with --vars.column_tag",
    ),
    "binary file": (
        bytes(range(256)) * 20,
        [],
        "words.csv: this is a binary file, not text; save it as CSV or TSV",
    ),
    "wrong delimiter": (
        KAGGLE,
        ["--delimiter", ";"],
        "words.csv, row 1: only one column with the delimiter semicolon (Sentence "
        "#,Word,POS,Tag); give the right one with --vars.delimiter",
    ),
    "NUL bytes": (
        KAGGLE.replace("sails", "sa\0ils"),
        [],
        "words.csv, row 3: NUL character at byte 54 of the file; remove it, or name the file's "
        "encoding with --vars.encoding if it is not plain text",
    ),
    "unclosed quote": (
        KAGGLE.replace(",sails", ',"sails'),
        [],
        "words.csv, row 3: a double quote opens a field and is not closed in the same row; close "
        'it (a word that is a quote is written as """")',
    ),
    "only O tags": (
        KAGGLE.replace("B-per", "O").replace("B-geo", "O"),
        [],
        "words.csv, row 2: every tag is O, so there is nothing to learn; check the tag column "
        "(--vars.column_tag)",
    ),
    "only O tags, scheme given": (
        KAGGLE.replace("B-per", "O").replace("B-geo", "O"),
        ["--scheme", "bioes"],
        "words.csv, row 2: every tag is O, so there is nothing to learn; check the tag column "
        "(--vars.column_tag)",
    ),
    "unknown tag prefix": (
        KAGGLE.replace("B-geo", "Q-geo"),
        [],
        "words.csv, row 4: tag 'Q-geo' has an unknown prefix or no label; write O, or B-, I-, "
        "E-, S-, L- or U- and a label",
    ),
    "unknown scheme": (
        KAGGLE,
        ["--scheme", "iob3"],
        "words.csv: there is no tag scheme 'iob3'; give one of iob2, iob1, bioes, bare",
    ),
    "white space for every word": (
        "id,word,tag\n1, ,B-per\n1,\u00a0,O\n",
        [],
        "words.csv: none of the 2 rows holds a word in column 'word'; name the right one with "
        "--vars.column_word",
    ),
    "white space for some words": (
        stray_white_space,
        [],
        "words.csv, row 82: 5.88% of the rows need repair, mostly 'word is empty or white space' "
        "(5 rows, first here), and 1.00% are allowed; correct the file, or allow more with "
        "--vars.max_repairs 0.06",
    ),
    "a 100,000-word sentence": (
        long_sentence,
        [],
        "words.csv, row 2: sentence '1' has 100,000 words, more than 2,000; name the column of "
        "sentence ids with --vars.column_sentence, or separate sentences by blank rows",
    ),
    "duplicate ids far apart": (
        far_apart,
        [],
        "words.csv, row 10002: sentence id '7' comes back after it was used in row 14; give each "
        "sentence an id of its own and keep its rows together, name another column with "
        "--vars.column_sentence, or 'none' to go by blank rows",
    ),
    "too few sentences": (
        KAGGLE,
        [],
        "words.csv: 2 sentences are too few to split; give at least 10, or name the column that "
        "tells sentences apart with --vars.column_sentence",
    ),
    "too few sentences, contiguous": (
        KAGGLE,
        ["--protocol", "contiguous"],
        "words.csv: 2 sentences are too few to split; give at least 10, or name the column that "
        "tells sentences apart with --vars.column_sentence",
    ),
    "unknown protocol": (
        KAGGLE,
        ["--protocol", "random"],
        "There is no protocol random; give one of canonical, contiguous, or such as fold-1-of-5.",
    ),
}


def squeezed(text):
    """Without white space: the console breaks lines at 80 columns, also behind a hyphen."""
    return "".join(text.split())


@pytest.fixture
def refused(command, tmp_path, monkeypatch):
    """Convert words.csv, which must fail with this message alone and leave no file."""
    monkeypatch.chdir(tmp_path)

    def refuse(message, *options):
        before = sorted(tmp_path.rglob("*"))
        code, output = command("convert.py", "words.csv", "record.json", "corpus", *options)
        assert code == 1
        assert squeezed(output) == squeezed(f"✘ {message}")
        assert sorted(tmp_path.rglob("*")) == before

    return refuse


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_sentence(fetched, refused, case):
    content, options, message = BAD[case]
    fetched(content() if callable(content) else content)
    refused(message, *options)


def test_no_such_file(refused):
    refused("There is no file words.csv: bring it with `spacy project run fetch`.")


def test_no_record_of_the_file(fetched, refused):
    fetched(KAGGLE)
    Path("record.json").unlink()
    refused("There is no file record.json; make it with `spacy project run fetch`.")


def test_a_part_without_an_entity(fetched, refused):
    rows = "".join(f"{letter},r{letter}in,O\n{letter},.,O\n" for letter in "abcdefghijklmnopqrs")
    fetched("id,word,tag\n1,Ada,B-per\n" + rows)
    message = "words.csv: the dev part (2 sentences) holds no entity; give more sentences"
    refused(message, "--protocol", "contiguous")


def test_the_remedy_for_too_many_repairs_works(fetched, kaggle, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fetched(kaggle(30).replace("Ada,NNP,B-per", "Ada,NNP,I-per"))
    command_line = ("convert.py", "words.csv", "record.json", "corpus")
    code, output = command(*command_line)
    assert code == 1
    assert squeezed(output).endswith("--vars.max_repairs0.03")
    assert command(*command_line, "--max-repairs", "0.03")[0] == 0
    assert sorted(path.name for path in Path("corpus").iterdir())[-1] == "train.spacy"
