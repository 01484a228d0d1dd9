"""The words of Docs, each once: what depends on a word alone is done once, or once a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import ORTH
from spacy.tokens import Doc

Rows = TypeVar("Rows")


@dataclass(frozen=True)
class DistinctWords:
    """Several times faster than to ask every token for its text.

    orths: of each distinct word spaCy's hash, the same in every vocabulary.
    index: (words of all Docs,) which of them each word is.
    docs, places: the Docs, and of each distinct word the Doc and the token where it comes first.
    """

    orths: list[int]
    index: NDArray[np.int64]
    docs: Sequence[Doc]
    places: NDArray[np.int64]

    def text(self, word: int) -> str:
        """The text of a distinct word, by its number."""
        doc, token = self.places[word].tolist()
        text: str = self.docs[doc][token].text
        return text


class WordTable(Generic[Rows]):
    """Keeps what depends on a word alone: rows of a table, made when the word first comes.

    extend: makes the rows of a table and of further words; called with None for the first. It
        changes nothing that is there, so that whoever reads the table meanwhile may go on.
    limit: so many words are remembered; before there are more, all are forgotten.

    Threads may share one. An error while rows are made leaves the table as it was.
    """

    def __init__(self, extend: Callable[[Rows | None, list[str]], Rows], limit: int) -> None:
        self.extend, self.limit = extend, limit
        self._known: _Known[Rows] = _Known()
        self._lock = Lock()

    def __call__(self, docs: Sequence[Doc]) -> tuple[NDArray[np.int64], Rows]:
        """The row of each word, (words of all Docs,), and the table they stand in."""
        orths: list[int] = []
        if docs:
            orths = np.concatenate([doc.to_array(ORTH) for doc in docs]).tolist()
        known = self._known
        numbers = [*map(known.numbers.get, orths)]
        if known.table is None or None in numbers:
            with self._lock:
                known = self._add(docs, orths)
                numbers = [*map(known.numbers.get, orths)]
        # Only now: it has at least the rows that were found.
        table = known.table
        assert table is not None
        return np.array(numbers, dtype=np.int64), table[0]

    def _add(self, docs: Sequence[Doc], orths: list[int]) -> "_Known[Rows]":
        known = self._known
        new = [orth for orth in dict.fromkeys(orths) if orth not in known.numbers]
        if known.table and known.table[1] + len(new) > self.limit:
            known, new = _Known(), [*dict.fromkeys(orths)]
        rows, first = known.table or (None, 0)
        rows = self.extend(rows, [_text(docs, orth) for orth in new])
        # In this order: a number is found when its row is there.
        known.table = rows, first + len(new)
        known.numbers.update(zip(new, range(first, first + len(new)), strict=True))
        self._known = known
        return known

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled without what it knows."""
        return WordTable, (self.extend, self.limit)


class _Known(Generic[Rows]):
    """The number of each word by its hash, and the table with how many rows it has."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.table: tuple[Rows, int] | None = None


def _text(docs: Sequence[Doc], orth: int) -> str:
    """What a word of some Docs is, by its hash; mostly they share one vocabulary."""
    strings = (doc.vocab.strings for doc in docs)
    return next(table[orth] for table in strings if orth in table)  # type: ignore[operator]


def distinct_words(docs: Sequence[Doc]) -> DistinctWords:
    """The distinct words of all Docs."""
    orths = [doc.to_array(ORTH) for doc in docs]
    if not sum(map(len, orths)):
        none = np.zeros((0, 2), dtype=np.int64)
        return DistinctWords([], none[:, 0], docs, none)
    found, first, index = np.unique(np.concatenate(orths), return_index=True, return_inverse=True)
    ends = np.cumsum([len(doc) for doc in docs])
    owner = np.searchsorted(ends, first, side="right")
    begins = np.concatenate(([0], ends[:-1]))
    return DistinctWords(
        found.tolist(), index, docs, np.stack([owner, first - begins[owner]], axis=1)
    )
