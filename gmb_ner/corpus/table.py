"""Read any CSV or TSV of tagged words into sentences, accounting for every row."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gmb_ner.corpus.dialect import (
    UNCLOSED_QUOTE,
    Columns,
    Layout,
    find_layout,
    unreadable,
    wrong_width,
)
from gmb_ner.corpus.textfile import TextFile, read_text_file
from gmb_ner.errors import InputError

__all__ = ["MAX_SENTENCE_WORDS", "Columns", "Dropped", "Sentence", "Table", "read_table"]

MAX_SENTENCE_WORDS = 2000

# Reasons for dropping a row
BLANK_ROW = "blank row (sentence border)"
EMPTY_WORD = "word is empty or white space"
DOCUMENT_BORDER = "document border (-DOCSTART-)"
# Kinds of repair
SPACE_INSIDE = "white space inside word"
SPACE_AROUND_WORD = "white space around word"
SPACE_AROUND_TAG = "white space around tag"

_PROGRESS_EVERY = 20_000
_ROW_NUMBERS = 20  # so many one-word sentences in an id column and nothing else: row numbers


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence: words and raw tags of equal length, and the file row of each word.

    `id` is as in the file ("Sentence: 1"), or the 1-based number of the sentence where the file
    has no ids. `rows` are 1-based, a header being row 1; a `range` where nothing was dropped.
    """

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...]
    rows: Sequence[int]

    @property
    def row(self) -> int:
        """1-based row of the first word."""
        return self.rows[0]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A data row that is in no sentence, and why; `sentence` is the id it stood under."""

    row: int
    reason: str
    sentence: str | None


@dataclass(frozen=True)
class Table:
    """A file of tagged words; `rows_read == rows_kept + len(dropped)` always holds.

    `name` is what messages call it. `encoding`, `delimiter`, `quoted`, `header` and `columns` say
    how it was read, `notes` what was guessed. `repairs` maps each kind of repaired word or tag to
    its rows.
    """

    path: Path
    name: str
    encoding: str
    delimiter: str
    quoted: bool
    header: bool
    columns: Columns
    rows_read: int
    sentences: list[Sentence]
    dropped: list[Dropped]
    repairs: dict[str, list[int]]
    notes: tuple[str, ...]

    @property
    def rows_kept(self) -> int:
        return sum(len(sentence.words) for sentence in self.sentences)

    def dropped_by_reason(self) -> Counter[str]:
        """Number of dropped rows for each reason."""
        return Counter(dropped.reason for dropped in self.dropped)

    def row_of_tag(self, tag: str) -> int | None:
        """First row with this raw tag: what an error about a tag wants to name."""
        for sentence in self.sentences:
            if tag in sentence.tags:
                return sentence.rows[sentence.tags.index(tag)]
        return None


def read_table(
    path: Path,
    columns: Columns = Columns(),  # noqa: B008  (frozen)
    encoding: str | None = None,
    delimiter: str | None = None,
    progress: Callable[[int], None] | None = None,
    name: str | None = None,
) -> Table:
    """Read `path`: a CSV or TSV with one word and its tag a row, or a zip that holds one.

    Sentences are told apart by an id on every row, by an id on their first row, or by blank rows.
    Words stay text as they are ("None", "NA"), but for white space: around a word it is removed;
    inside it is removed between digits ("10 000") and becomes "_" elsewhere, so that a word stays
    one token and its parts stay readable. Both are counted in `Table.repairs`. Rows whose word is
    white space are dropped and counted.

    `columns`, `encoding` and `delimiter` are detected where None. `name` is what messages call the
    file; by default its path. `progress` is called with the
    number of rows read so far, now and then and at the end.

    Raises InputError, with file, row and remedy, for anything that cannot be read without guessing.
    """
    file = read_text_file(path, encoding, name)
    layout = find_layout(file, columns, delimiter)
    reading = _Reading(file, layout, row_numbers_allowed=columns.sentence is not None)
    last_row = reading.run(progress)
    rows_read = last_row - layout.header
    reading.finish(rows_read)
    if progress is not None:
        progress(rows_read)
    return Table(
        path=path,
        name=file.name,
        encoding=file.encoding,
        delimiter=layout.delimiter,
        quoted=layout.quoted,
        header=layout.header,
        columns=layout.columns,
        rows_read=rows_read,
        sentences=reading.sentences,
        dropped=sorted(reading.dropped, key=lambda dropped: dropped.row),
        repairs=reading.repairs,
        notes=file.notes + layout.notes,
    )


@dataclass
class _Reading:
    """One pass over the rows: the sentence being built and what came before it."""

    file: TextFile
    layout: Layout
    row_numbers_allowed: bool
    sentences: list[Sentence] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    repairs: dict[str, list[int]] = field(default_factory=dict)
    id: str | None = None  # of the current sentence; None while no id was seen
    started: dict[str, int] = field(default_factory=dict)  # id -> row
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    # Texts that need no repair, each kept once: a corpus repeats its words thirtyfold.
    known_words: dict[str, str] = field(default_factory=dict)
    known_tags: dict[str, str] = field(default_factory=dict)

    def error(self, row: int, message: str) -> InputError:
        return InputError(f"{self.file.name}, row {row}: {message}")

    def run(self, progress: Callable[[int], None] | None) -> int:
        """Read all rows; returns the number of the last one (header and blank rows counted)."""
        layout, known_words, known_tags = self.layout, self.known_words, self.known_tags
        width, at_word, at_tag, at_id = layout.width, layout.word, layout.tag, layout.sentence
        header_row = layout.first_row if layout.header else 0
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE
        row = 0
        border = 0  # row of a blank row that no new sentence has followed yet
        unnamed = False  # the current sentence has rows without an id
        with self.file.lines() as lines:
            reader = csv.reader(lines, delimiter=layout.delimiter, quoting=quoting, strict=True)
            try:
                for fields in reader:
                    row += 1
                    if reader.line_num != row:
                        raise self.error(row, UNCLOSED_QUOTE)
                    if row == header_row:
                        continue
                    if progress is not None and not row % _PROGRESS_EVERY:
                        progress(row)
                    if len(fields) != width or not fields[at_word].strip():
                        if not "".join(fields).strip():
                            border = row
                            self._blank(row)
                            continue
                        if len(fields) != width:
                            raise self.error(row, wrong_width(layout, fields))
                    id_ = fields[at_id].strip() if at_id is not None else ""
                    if id_ and (id_ != self.id or unnamed):
                        self._begin(id_, row)
                        border, unnamed = 0, False
                    word, tag = known_words.get(fields[at_word]), known_tags.get(fields[at_tag])
                    if word is None or tag is None:
                        word, tag = self._clean(row, fields[at_word], fields[at_tag])
                        if not word:
                            self.dropped.append(Dropped(row, EMPTY_WORD, self.id))
                            continue
                    if border and self.id is not None:
                        raise self._border_inside(border, row)
                    border, unnamed = 0, unnamed or not id_
                    self.words.append(word)
                    self.tags.append(tag)
                    self.rows.append(row)
            except csv.Error as error:
                row += 1  # the row in which the unreadable one begins
                message = unreadable(error, lines=reader.line_num - row + 1)
                raise self.error(row, message) from error
        return row

    def finish(self, rows_read: int) -> None:
        """Close the last sentence and look at the whole."""
        self._close()
        if not rows_read:
            raise InputError(
                f"{self.file.name}: there is a header but no rows; give a file with tagged words"
            )
        if not self.sentences:
            raise InputError(
                f"{self.file.name}: none of the {rows_read:,} rows holds a word in column "
                f"'{self.layout.columns.word}'; name the right one with --vars.column_word"
            )
        ids = self.layout.columns.sentence
        if (
            self.id is not None
            and not self.row_numbers_allowed
            and len(self.sentences) >= _ROW_NUMBERS
            and all(len(sentence.words) == 1 for sentence in self.sentences)
        ):
            raise self.error(
                self.sentences[1].row,
                f"column '{ids}' has a new id on every row, so that every sentence has one word; "
                "name the column of sentence ids with --vars.column_sentence (this one, if it is "
                "right; 'none' if blank rows separate the sentences)",
            )

    def _begin(self, id_: str, row: int) -> None:
        """Start the sentence `id_` in `row`."""
        if self.id is None and (self.words or self.sentences):
            first = self.sentences[0].row if self.sentences else self.rows[0]
            raise self.error(
                first,
                f"the first word has no sentence id, while row {row} has '{id_}'; give every "
                "sentence an id on its first row, or ignore ids with --vars.column_sentence none",
            )
        if id_ in self.started:
            raise self.error(
                row,
                f"sentence id '{id_}' comes back after it was used in row {self.started[id_]}; "
                "give each sentence an id of its own and keep its rows together, name another "
                "column with --vars.column_sentence, or 'none' to go by blank rows",
            )
        self._close()
        self.id = id_
        self.started[id_] = row

    def _blank(self, row: int) -> None:
        self.dropped.append(Dropped(row, BLANK_ROW, None))
        if self.id is None:
            self._close()

    def _close(self) -> None:
        if not self.words:
            return
        words, tags, at = tuple(self.words), tuple(self.tags), self.rows
        id_ = self.id if self.id is not None else str(len(self.sentences) + 1)
        self.words, self.tags, self.rows = [], [], []
        if len(words) > MAX_SENTENCE_WORDS:
            raise self.error(
                at[0],
                f"sentence '{id_}' has {len(words):,} words, more than {MAX_SENTENCE_WORDS:,}; "
                "name the column of sentence ids with --vars.column_sentence, or separate "
                "sentences by blank rows",
            )
        if words == ("-DOCSTART-",):
            self.dropped.append(Dropped(at[0], DOCUMENT_BORDER, self.id))
            return
        consecutive = at[-1] - at[0] + 1 == len(at)
        span = range(at[0], at[-1] + 1) if consecutive else tuple(at)
        self.sentences.append(Sentence(id_, words, tags, span))

    def _clean(self, row: int, raw_word: str, raw_tag: str) -> tuple[str, str]:
        """Word and tag without stray white space; an empty word means: drop the row."""
        word = raw_word.strip()
        if not word:
            return "", ""
        tag = raw_tag.strip()
        if not tag:
            raise self.error(
                row, f"the word '{word}' has no tag; give it one (O for none), or drop the row"
            )
        single = re.sub(r"(?<=\d)\s+(?=\d)", "", word)
        single = re.sub(r"\s+", "_", single)
        for kind, before, after in (
            (SPACE_AROUND_WORD, raw_word, word),
            (SPACE_INSIDE, word, single),
            (SPACE_AROUND_TAG, raw_tag, tag),
        ):
            if before != after:
                self.repairs.setdefault(kind, []).append(row)
        return (
            self.known_words.setdefault(single, single),
            self.known_tags.setdefault(tag, tag),
        )

    def _border_inside(self, border: int, row: int) -> InputError:
        return self.error(
            border,
            f"blank row inside sentence '{self.id}', which goes on in row {row}; delete it, give "
            "the words after it an id of their own, or ignore ids with --vars.column_sentence none",
        )
