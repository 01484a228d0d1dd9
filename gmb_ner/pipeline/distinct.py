"""The words of Docs, each once: what depends on a word alone is done once a batch, or once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import ORTH
from spacy.tokens import Doc


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


class WordNumbers:
    """Numbers words in the order in which they come; a word that comes again keeps its number.

    So what depends on a word alone can stay in tables, of which a batch takes rows.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def __call__(self, docs: Sequence[Doc], limit: int) -> tuple[NDArray[np.int64], int, list[str]]:
        """The number of each word, (words of all Docs,), and the words that are new.

        limit: so many words are remembered; before there are more, all are forgotten, and those of
            the Docs numbered from 0.
        Returns the numbers, the first new one and the texts of the new ones, in their order.
        """
        orths: list[int] = []
        if docs:
            orths = np.concatenate([doc.to_array(ORTH) for doc in docs]).tolist()
        numbers = [*map(self._numbers.get, orths)]
        new: list[int] = []
        first = len(self._numbers)
        if None in numbers:
            pairs = zip(orths, numbers, strict=True)
            new = [*dict.fromkeys(orth for orth, number in pairs if number is None)]
            if first + len(new) > limit:
                self._numbers.clear()
                new, first = [*dict.fromkeys(orths)], 0
            self._numbers.update(zip(new, range(first, first + len(new)), strict=True))
            numbers = [*map(self._numbers.get, orths)]
        return np.array(numbers, dtype=np.int64), first, [_text(docs, orth) for orth in new]


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
