"""Every record of every kind of file, with its place, or why there is none."""

import bz2
import csv
import datetime
import gzip
import json
import lzma
import os
import re
import shutil
import subprocess
from decimal import Decimal

import pytest

from gmb_ner.annotate.records import (
    READERS,
    Record,
    check_columns,
    check_encodings,
    find_sources,
    read_records,
)
from gmb_ner.errors import InputError


def read(given, **options):
    return list(read_records(find_sources(str(given)), **options))


def rows(records):
    return [(record.file, record.row, record.text, record.error) for record in records]


def test_each_line_of_a_text_file_is_a_text(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffOne.\r\n\nZoë, 3.\x0c\nlast".encode())
    assert rows(read(tmp_path / "a.txt")) == [
        ("a.txt", 1, "One.", None),
        ("a.txt", 2, "", None),
        ("a.txt", 3, "Zoë, 3.\x0c", None),
        ("a.txt", 4, "last", None),
    ]


def test_lines_that_are_not_utf8_are_errors(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"good\nb\xffd\nagain\n")
    assert rows(read(tmp_path / "a.txt")) == [
        ("a.txt", 1, "good", None),
        ("a.txt", 2, None, "it is not UTF-8"),
        ("a.txt", 3, "again", None),
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize(
    ("name", "text"),
    [("a.txt", "One\nTwo\n"), ("a.jsonl.gz", '{"text": "One"}\n'), ("a.csv", "text\nOne\n")],
)
def test_utf16_and_utf32_are_refused(name, text, encoding, tmp_path):
    (tmp_path / "0.txt").write_text("")
    compress = gzip.compress if name.endswith(".gz") else bytes
    (tmp_path / name).write_bytes(compress(text.encode(encoding)))
    with pytest.raises(
        InputError, match=f"{name} begins as {encoding} does, and only UTF-8 can "
    ) as error:
        check_encodings(find_sources(str(tmp_path)))
    assert ("decompress and convert it" in str(error.value)) == name.endswith(".gz")
    # The remedy is a command that understands its own words.
    (command,) = re.findall(r"iconv -f \S+ -t utf-8", str(error.value))
    if iconv := shutil.which("iconv"):
        converted = subprocess.run(
            [iconv, *command.split()[1:]],
            input=text.encode(encoding),
            capture_output=True,
            check=True,
        )
        assert converted.stdout.decode() == text


def test_utf8_is_not_refused(tmp_path):
    for number, start in enumerate((b"", b"a", b"\xef\xbb\xbf", "Zoë".encode(), b"\xff\n")):
        (tmp_path / f"{number}.txt").write_bytes(start)
    (tmp_path / "broken.txt.gz").write_bytes(b"no gzip")
    check_encodings(find_sources(str(tmp_path)))


def test_utf16_after_the_beginning_is_an_error_of_its_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"One\n" + "Two\n".encode("utf-16-be") + b"Three\n")
    lines = [b'{"text": "A NUL: \\u0000"}\n', '{"text": "Two"}\n'.encode("utf-16-be")]
    (tmp_path / "b.jsonl").write_bytes(b"".join(lines))
    one, two, three, escaped, wide = read(tmp_path)
    assert (one.text, two.text, three.text) == ("One", None, "Three")
    assert two.error == "it holds a NUL character, as UTF-16 does: only UTF-8 can be read"
    assert (escaped.text, wide.text) == ("A NUL: \0", None)
    assert wide.error.startswith("it is not JSON (")


def test_json_lines(tmp_path):
    lines = [
        json.dumps({"text": "One", "id": 7, "more": []}),
        '{"text": ',
        "[]",
        json.dumps({"id": 8}),
        json.dumps({"text": 5}),
        "",
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    found = read(tmp_path / "a.jsonl", keep=["id"])
    assert found[0] == Record("a.jsonl", 1, "One", {"id": 7})
    assert [record.text for record in found[1:]] == [None] * 5
    assert [record.row for record in found] == [1, 2, 3, 4, 5, 6]
    assert [record.error.partition(" (")[0] for record in found[1:]] == [
        "it is not JSON",
        "it is no JSON object",
        "there is no text",
        "its text is of type int, not a string",
        "the line is empty",
    ]


def test_a_line_of_many_brackets_is_an_error_of_its_own(tmp_path):
    lines = ["[" * 100_000, json.dumps({"text": "Two"})]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    nested, two = read(tmp_path)
    assert nested.text is None and nested.error.startswith("it is not JSON (")
    assert two.text == "Two"


def test_texts_that_the_tokenizer_would_not_end_with_are_errors(tmp_path):
    (tmp_path / "a.txt").write_text(
        "\n".join(["-" * 5_001, "-" * 5_000, "x" * 9_000, "_(" * 2_501])
    )
    rule, shorter, word, mixed = read(tmp_path)
    told = "marks in a row, on which spaCy's tokenizer would spend minutes"
    assert rule.error == f"it has 5,001 {told}" and mixed.error == f"it has 5,002 {told}"
    assert shorter.text == "-" * 5_000 and word.text == "x" * 9_000


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t")])
def test_csv_with_lines_in_fields(suffix, delimiter, tmp_path):
    lines = [
        delimiter.join(["id", "body"]),
        delimiter.join(["1", '"Two\nlines, ""quoted"""']),
        "2",
        delimiter.join(["3", "x" * 200_000]),
    ]
    path = tmp_path / f"a{suffix}"
    path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", newline="")
    found = read(path, text_column="body", keep=["id"])
    assert found[0] == Record(path.name, 1, 'Two\nlines, "quoted"', {"id": "1"})
    assert found[1] == Record(path.name, 2, None, {"id": "2"}, "there is no text")
    assert found[2].text == "x" * 200_000 and len(found) == 3


def test_csv_where_a_c_long_has_32_bits(tmp_path, monkeypatch):
    before = csv.field_size_limit()

    def field_size_limit(limit):  # of Python before 3.13 on Windows
        if limit > 2**31 - 1:
            raise OverflowError("Python int too large to convert to C long")
        return before

    monkeypatch.setattr(csv, "field_size_limit", field_size_limit)
    (tmp_path / "a.csv").write_text("text\nOne\n")
    assert [record.text for record in read(tmp_path)] == ["One"]


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"text": ["One", None, "Three"], "id": [1, 2, 3], "more": [0, 0, 0]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", keep=["id"]) == [
        Record("a.parquet", 1, "One", {"id": 1}),
        Record("a.parquet", 2, None, {"id": 2}, "there is no text"),
        Record("a.parquet", 3, "Three", {"id": 3}),
    ]


def test_a_kept_column_that_is_not_utf8_is_an_error_of_its_record(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,author\nOne,Zo\xeb\nTwo,Zo\xc3\xab\n")
    (tmp_path / "b.jsonl").write_text('{"text": "One", "author": ["\\ud800"]}\n')
    assert read(tmp_path, keep=["author"]) == [
        Record("a.csv", 1, None, {}, "its author is not UTF-8"),
        Record("a.csv", 2, "Two", {"author": "Zoë"}),
        Record("b.jsonl", 1, None, {}, "its author is not UTF-8"),
    ]


def test_what_json_has_no_type_for_is_kept_as_text(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    noon = datetime.datetime(2020, 5, 8, 12)
    values = {
        "time": (noon, "2020-05-08T12:00:00"),
        "day": (noon.date(), "2020-05-08"),
        "price": (Decimal("1.50"), "1.50"),
        "bytes": (b"Zo\xc3\xab", "Zoë"),
        "share": (float("nan"), "NaN"),
        "nested": ([{"on": noon.date()}], [{"on": "2020-05-08"}]),
        "number": (2**62, 2**62),
    }
    columns = {name: [given] for name, (given, _) in values.items()}
    parquet.write_table(pyarrow.table({"text": ["One"], **columns}), tmp_path / "a.parquet")
    (record,) = read(tmp_path / "a.parquet", keep=list(values))
    assert record.kept == {name: kept for name, (_, kept) in values.items()}
    (tmp_path / "a.jsonl").write_text('{"text": "One", "id": 123456789012345678901234567890}\n')
    (record,) = read(tmp_path / "a.jsonl", keep=["id"])
    assert record.kept == {"id": "123456789012345678901234567890"}


def test_a_file_name_that_is_not_utf8_is_shown_with_its_byte(tmp_path):
    (tmp_path / os.fsdecode(b"Zo\xeb.txt")).write_text("One\n")
    assert rows(read(tmp_path)) == [("Zo\\udceb.txt", 1, "One", None)]


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)],
)
def test_compressed_files(suffix, compress, tmp_path):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(compress(b"One\nTwo\n"))
    assert [record.text for record in read(path)] == ["One", "Two"]


def test_a_file_that_breaks_off_loses_only_its_rest(tmp_path):
    whole = gzip.compress("".join(f"Line {i}\n" for i in range(50_000)).encode())
    (tmp_path / "a.txt.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.txt").write_text("after\n")
    found = read(tmp_path)
    *good, broken, after = found
    assert [record.text for record in good] == [f"Line {i}" for i in range(len(good))]
    assert good and broken.row == len(good) + 1
    assert broken.error.startswith("the rest cannot be read (")
    assert after.text == "after"


def test_a_lack_of_memory_loses_no_rest_of_a_file(tmp_path, monkeypatch):
    def breaks_off(source, raw, text_column, keep):
        yield Record(source.name, 1, "One")
        raise MemoryError

    monkeypatch.setitem(READERS, ".txt", breaks_off)
    (tmp_path / "a.txt").write_text("One\nTwo\n")
    with pytest.raises(InputError, match=r"Memory did not suffice to read a\.txt, row 2: end"):
        read(tmp_path)


def test_a_file_that_is_not_what_it_says_loses_only_itself(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"x" * 9999)[:20] + b"\xff" * 30)
    (tmp_path / "b.txt").write_text("after\n")
    check_columns(find_sources(str(tmp_path)), "text", [])
    found = read(tmp_path)
    assert [record.text for record in found] == [None, None, "after"]
    assert all("the rest cannot be read" in record.error for record in found[:2])


def test_files_of_folders_and_patterns_in_order(tmp_path):
    for name in ("b.txt", "a.txt", "sub/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n")
    assert [record.file for record in read(tmp_path)] == ["a.txt", "b.txt", "sub/c.txt"]
    assert [record.file for record in read(f"{tmp_path}/[ab].txt")] == ["a.txt", "b.txt"]
    assert [record.file for record in read(f"{tmp_path}/**/c.*")] == ["sub/c.txt"]


def test_progress_adds_up_to_the_bytes_of_all_files(tmp_path):
    (tmp_path / "a.txt").write_text("One\n" * 100_000)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"Two\n" * 1000))
    told = []
    read(tmp_path, progress=told.append)
    assert sum(told) == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert len(told) > 10


def test_nothing_to_read(tmp_path):
    for given in (tmp_path, tmp_path / "missing.txt", f"{tmp_path}/*.txt"):
        with pytest.raises(InputError, match="There is no file"):
            find_sources(str(given))


def test_files_of_other_kinds_are_refused(tmp_path):
    (tmp_path / "a.docx.gz").touch()
    with pytest.raises(InputError, match=r"a\.docx\.gz is of no kind that can be read"):
        find_sources(str(tmp_path))


def test_compressed_parquet_is_refused_before_the_work(tmp_path):
    for name in ("a.parquet", "A.PARQUET"):
        (tmp_path / name).touch()
    find_sources(str(tmp_path))
    (tmp_path / "b.parquet.gz").touch()
    with pytest.raises(InputError, match=r"b\.parquet\.gz is a compressed Parquet file, which"):
        find_sources(str(tmp_path))


def test_a_column_that_is_not_there_is_told_before_the_work(tmp_path):
    (tmp_path / "a.csv").write_text("id,body\n1,x\n")
    sources = find_sources(str(tmp_path))
    check_columns(sources, "body", ["id"])
    with pytest.raises(InputError, match="has no column text, only id, body; name that of the te"):
        check_columns(sources, "text", [])
    with pytest.raises(InputError, match="has no column day, only id, body; name others by --keep"):
        check_columns(sources, "body", ["day"])
