"""How a table of tagged words is laid out: delimiter, quoting, header, columns."""

import csv
import re
from dataclasses import dataclass
from itertools import islice

from gmb_ner.corpus.textfile import TextFile
from gmb_ner.errors import InputError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar", " ": "space"}
_DETECTED = (",", ";", "\t", "|")  # a space only when asked for: it also stands inside fields
NO_COLUMN = "none"  # Columns(sentence="none"): go by blank rows although ids are there

# The csv module would go on to the next quote, however many rows further down, and hand them over
# as one field; a row of words never spans lines, so that it can be told where the quote opens.
UNCLOSED_QUOTE = (
    "a double quote opens a field and is not closed in the same row; close it (a word that is a "
    'quote is written as """")'
)

# Usual names, the most telling first: where a file has both `tag` (often part of speech) and
# `ner_tag`, the latter is meant.
_SPELLINGS = {
    "sentence": (
        "sentence #", "sentence no", "sentence number", "sentence id", "sentence idx",
        "sentence index", "sentenceid", "sent #", "sent id", "sent idx", "sentid", "sentence num",
        "sentence", "sent", "sid", "id",
    ),
    "word": ("word", "words", "token", "tokens", "form", "text"),
    "tag": (
        "ner tag", "ner tags", "ner label", "ner", "entity tag", "iob tag", "bio tag", "iob", "bio",
        "named entity", "entity", "entities", "tag", "tags", "label", "labels",
    ),
}  # fmt: skip
_TAG = re.compile(r"O|[BIELSU]-\S+")  # what only a row of data holds
_GENERAL = ("tag", "tags", "label", "labels")  # which may name tags of any kind


@dataclass(frozen=True)
class Columns:
    """Names of the columns (or 1-based numbers as text); None means: recognise it."""

    sentence: str | None = None
    word: str | None = None
    tag: str | None = None


@dataclass(frozen=True)
class Layout:
    """Where things stand in each row; `sentence`, `word`, `tag` are 0-based column indices."""

    delimiter: str
    quoted: bool
    header: bool
    first_row: int  # 1-based row of the header, or of the first words where there is no header
    width: int
    sentence: int | None
    word: int
    tag: int
    columns: Columns  # resolved names; numbers where there is no header
    notes: tuple[str, ...] = ()


def find_layout(file: TextFile, columns: Columns, delimiter: str | None = None) -> Layout:
    """Settle the layout from the first rows of `file`.

    Raises InputError if there is one column only, if a column is missing or if the delimiter is
    not a single character.
    """
    with file.lines() as lines:
        head = [(row, line) for row, line in enumerate(islice(lines, 100), 1) if line.strip()]
    first_row = head[0][0] if head else 1
    sample = [line.rstrip("\r\n") for _, line in head]
    if not sample:
        raise InputError(f"{file.name}: the first 100 rows are blank; remove them")
    delimiter = _detect_delimiter(file.name, sample) if delimiter is None else _named(delimiter)
    quoted = not (delimiter in "\t " and _quotes_are_plain(file, delimiter))
    names = [name.strip() for name in _split(sample[0], delimiter, quoted)]
    if len(names) < 2:
        raise InputError(
            f"{file.name}, row {first_row}: only one column with the delimiter "
            f"{_delimiter_name(delimiter)} ({_short(sample[0])}); give the right one with "
            "--vars.delimiter"
        )
    where = f"{file.name}, row {first_row}"
    guesses = {role: _recognise(names, role) for role in _SPELLINGS}
    notes = []
    header = not _begins_with_tag(columns, names) and (
        guesses["word"] is not None
        or guesses["tag"] is not None
        or any(
            asked in names and not asked.isdecimal()  # "1" is a number, also where a cell holds it
            for asked in (columns.sentence, columns.word, columns.tag)
            if asked is not None
        )
        or not any(_TAG.fullmatch(name) for name in names)
    )
    if not header:
        columns = _without_header(where, columns, names)
        guesses = dict.fromkeys(_SPELLINGS)
        notes.append(
            f"no header row: word from column {columns.word}, tag from column {columns.tag}"
        )
    if columns.tag is None and guesses["tag"] is not None:
        rows = [_split(line, delimiter, quoted) for line in sample[1:]]
        guesses["tag"] = _tag_column(where, names, rows)
    word = _column(where, names, "word", columns.word, guesses["word"], header)
    tag = _column(where, names, "tag", columns.tag, guesses["tag"], header)
    sentence = _column(where, names, "sentence", columns.sentence, guesses["sentence"], header)
    assert word is not None and tag is not None
    if len({word, tag, sentence}) < 3:
        raise InputError(
            f"{where}: the sentence, word and tag columns must differ; check "
            "--vars.column_sentence, --vars.column_word and --vars.column_tag"
        )
    if delimiter in "\t " and not quoted:
        notes.append("double quotes taken as they are: they are not written in the CSV manner")
    resolved = Columns(
        None if sentence is None else _label(names, sentence, header),
        _label(names, word, header),
        _label(names, tag, header),
    )
    return Layout(
        delimiter=delimiter,
        quoted=quoted,
        header=header,
        first_row=first_row,
        width=len(names),
        sentence=sentence,
        word=word,
        tag=tag,
        columns=resolved,
        notes=tuple(notes),
    )


def wrong_width(layout: Layout, fields: list[str]) -> str:
    """What to say of a row with too few or too many fields."""
    few = "few" if len(fields) < layout.width else "many"
    return (
        f"too {few} fields, {len(fields)} instead of {layout.width} with the delimiter "
        f"{_delimiter_name(layout.delimiter)}; correct the row, or quote a field that holds the "
        "delimiter"
    )


def unreadable(error: csv.Error, lines: int) -> str:
    """What to say of a row the csv module refused after taking so many `lines` for it."""
    if lines > 1 or "end of data" in str(error):
        return UNCLOSED_QUOTE
    if "field limit" in str(error):
        return (
            f"a field is longer than {csv.field_size_limit():,} characters; check the delimiter "
            "(--vars.delimiter) and the line ends"
        )
    return "text follows a closing double quote; write quotes inside a quoted field twice"


def _delimiter_name(delimiter: str) -> str:
    return DELIMITERS.get(delimiter, f"'{delimiter}'")


def _named(delimiter: str) -> str:
    by_name = {name: sign for sign, name in DELIMITERS.items()} | {"\\t": "\t", "pipe": "|"}
    delimiter = by_name.get(delimiter.lower(), delimiter)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise InputError(
            f"--vars.delimiter: '{delimiter}' is not a single character; give one such as ',' or "
            "'tab'"
        )
    return delimiter


def _detect_delimiter(name: str, sample: list[str]) -> str:
    """The delimiter whose first row has known names, or that cuts most rows alike."""
    best, best_score = "", (-1, -1.0, 0)
    for delimiter in _DETECTED:
        cut = [_split(line, delimiter, quoted=delimiter != "\t") for line in sample]
        width = len(cut[0])
        if width < 2:
            continue
        known = sum(_recognise(cut[0], role) is not None for role in _SPELLINGS)
        score = (known, sum(len(row) == width for row in cut) / len(cut), width)
        if score > best_score:
            best, best_score = delimiter, score
    if not best:
        raise InputError(
            f"{name}, row 1: only one column ({_short(sample[0])}) with comma, semicolon, tab or "
            "vertical bar as delimiter; give the right one with --vars.delimiter"
        )
    return best


def _quotes_are_plain(file: TextFile, delimiter: str) -> bool:
    '''Whether double quotes in a tab-separated file are words as they stand, not CSV quoting.

    CoNLL files write a quote as a bare `"`; spreadsheet exports write it as `""""`. One doubled
    quote inside a quoted field settles it for CSV (a bad quote elsewhere is then an error); else
    one field that opens a quote and does not close it settles it for plain quotes.
    '''
    plain = False
    with file.lines() as lines:
        for line in lines:
            if '"' not in line:
                continue
            for field in line.rstrip("\r\n").split(delimiter):
                if not field.startswith('"'):
                    continue
                inner = field[1:-1]
                closed = len(field) > 1 and field.endswith('"')
                if closed and '""' in inner and '"' not in inner.replace('""', ""):
                    return False
                plain = plain or not closed or '"' in inner
    return plain


def _split(line: str, delimiter: str, quoted: bool) -> list[str]:
    if not quoted or '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return line.split(delimiter)


def _normal(name: str) -> str:
    return re.sub(r"[\s_.:-]+", " ", name.replace("#", " #").lower()).strip()


def _recognise(names: list[str], role: str) -> int | None:
    normal = [_normal(name) for name in names]
    for spelling in _SPELLINGS[role]:
        if spelling in normal:
            return normal.index(spelling)
    return None


def _tag_column(where: str, names: list[str], rows: list[list[str]]) -> int:
    """Of the columns named as if they held the tags, the one that does.

    Raises InputError where neither names nor cells tell which that is.
    """
    normal = [_normal(name) for name in names]
    named = [normal.index(spelling) for spelling in _SPELLINGS["tag"] if spelling in normal]
    cells = {i: {row[i].strip() for row in rows if len(row) > i} - {""} for i in named}
    for i in named:
        if cells[i] and all(_TAG.fullmatch(cell) for cell in cells[i]):
            return i
    if len(named) > 1 and normal[named[0]] in _GENERAL:
        raise InputError(
            f"{where}: the tags could be in {_listed([names[i] for i in named])}; say where with "
            "--vars.column_tag"
        )
    return named[0]


def _begins_with_tag(columns: Columns, names: list[str]) -> bool:
    """Whether word and tag are given by number, and the first row's tag is one."""
    if not (columns.word and columns.tag and columns.word.isdecimal() and columns.tag.isdecimal()):
        return False
    index = int(columns.tag) - 1
    return 0 <= index < len(names) and bool(_TAG.fullmatch(names[index]))


def _without_header(where: str, columns: Columns, names: list[str]) -> Columns:
    if columns.word is not None and columns.tag is not None:
        return columns
    # Two columns can only be word and tag; with more, a guess could read ids as words.
    if len(names) == 2 and columns.word is columns.tag is None and _TAG.fullmatch(names[1]):
        return Columns(None, "1", "2")
    raise InputError(
        f"{where}: there is no header row (found {_listed(names)}); add one, or give the columns "
        "by number with --vars.column_word and --vars.column_tag, and --vars.column_sentence if "
        "there are ids"
    )


def _column(
    where: str, names: list[str], role: str, asked: str | None, guess: int | None, header: bool
) -> int | None:
    """0-based index of the column for `role`; None only for a missing sentence column."""
    if asked is None:
        if guess is None and role != "sentence":
            raise InputError(
                f"{where}: no column recognised as the {role}, columns found: {_listed(names)}; "
                f"name it with --vars.column_{role}"
            )
        index = guess
    else:
        folded = asked.strip().lower()
        exact = [i for i, name in enumerate(names) if header and name == asked.strip()]
        alike = [i for i, name in enumerate(names) if header and name.lower() == folded]
        index = next(iter(exact or alike), None)
        if index is None and role == "sentence" and folded == NO_COLUMN:
            return None
        if index is None and asked.isdecimal() and 1 <= int(asked) <= len(names):
            return int(asked) - 1
        if index is None:
            raise InputError(
                f"{where}: there is no column '{asked}', columns found: {_listed(names)}; give "
                f"one of them with --vars.column_{role}"
            )
    if header and index is not None and names.count(names[index]) > 1:
        raise InputError(
            f"{where}: there are {names.count(names[index])} columns named '{names[index]}'; "
            f"rename them, or give the column's number with --vars.column_{role}"
        )
    return index


def _label(names: list[str], index: int, header: bool) -> str:
    return names[index] if header else str(index + 1)


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:20])
    return _short(shown, 400) + (", ..." if len(names) > 20 else "")


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[:limit] + "..."
