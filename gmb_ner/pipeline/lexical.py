"""Lexical features of words in context, as 64-bit hashes: what a CRF with hand-made features reads.

The templates are those usual for English newswire (Ratinov and Roth 2009; Finkel et al. 2005):
words, lower-cased words, shapes, prefixes and suffixes around a token, and conjunctions of
neighbours. Features do not cross the end of a sentence, as far as punctuation shows it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.strings import hash_string  # type: ignore[attr-defined]
from spacy.tokens import Doc

from gmb_ner.pipeline.distinct import DistinctWords, distinct_words

Hashes = NDArray[np.uint64]

SENTENCE_ENDS = frozenset(".?!;")
MAX_CACHED_WORDS = 100_000

# What is hashed of a word alone. Digits count as 0, so that one date stands for all.
_WORD, _LOWER, _SHAPE = 0, 1, 2
_AFFIXES = tuple(range(3, 9))
_PARTS = 9

# Parts at offsets from the token; a feature is their conjunction.
_Template = tuple[tuple[int, int], ...]
TEMPLATES: tuple[_Template, ...] = (
    *(((_WORD, k),) for k in range(-3, 4)),
    *(((_LOWER, k),) for k in range(-2, 3)),
    *(((_SHAPE, k),) for k in range(-2, 3)),
    *(((affix, k),) for k in (-1, 0, 1) for affix in _AFFIXES),
    *(
        ((part, a), (part, b))
        for part in (_WORD, _LOWER)
        for a, b in ((-2, -1), (-1, 0), (0, 1), (1, 2), (-1, 1))
    ),
    ((_SHAPE, -1), (_SHAPE, 0)),
    ((_SHAPE, 0), (_SHAPE, 1)),
    ((_SHAPE, -1), (_SHAPE, 0), (_SHAPE, 1)),
    ((_SHAPE, -2), (_SHAPE, -1), (_SHAPE, 0)),
    ((_SHAPE, 0), (_SHAPE, 1), (_SHAPE, 2)),
    ((_LOWER, -1), (_LOWER, 0), (_LOWER, 1)),
    ((_LOWER, -2), (_LOWER, -1), (_LOWER, 0)),
    ((_LOWER, 0), (_LOWER, 1), (_LOWER, 2)),
    ((_LOWER, 0), (_SHAPE, -1), (_SHAPE, 1)),
    ((_LOWER, -1), (_SHAPE, 0)),
    ((_LOWER, 1), (_SHAPE, 0)),
    ((_LOWER, -2), (_SHAPE, -1), (_SHAPE, 0)),
    ((_LOWER, 2), (_SHAPE, 1), (_SHAPE, 0)),
)

OFFSETS = 3  # the farthest neighbour in a template
# What is read at each place where no word stands.
BEYOND = np.array(
    [hash_string(f"beyond{k}") for k in range(-OFFSETS, OFFSETS + 1)], dtype=np.uint64
)
# Templates that read one word, by its place among the neighbours, and those that join several.
ALONE = {
    place: np.array([i for i, t in enumerate(TEMPLATES) if len(t) == 1 and t[0][1] == offset])
    for place, offset in enumerate(range(-OFFSETS, OFFSETS + 1))
}
JOINT = np.array([i for i, template in enumerate(TEMPLATES) if len(template) > 1])
_ALONE = np.concatenate(list(ALONE.values()))
_NUMBERS = np.arange(1, len(TEMPLATES) + 1, dtype=np.uint64)[:, None]


def _parts_at(templates: Iterable[_Template], position: int) -> NDArray[np.int64]:
    """What stands at a position of templates, as a row in the parts of all neighbours."""
    return np.array([(t[position][1] + OFFSETS) * _PARTS + t[position][0] for t in templates])


_FIRST = _parts_at(TEMPLATES, 0)


def _further(position: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of `JOINT` whose templates have a position, and what stands there."""
    rows = [row for row, i in enumerate(JOINT) if len(TEMPLATES[i]) > position]
    return np.array(rows), _parts_at((TEMPLATES[JOINT[row]] for row in rows), position)


_FURTHER = [_further(position) for position in range(1, max(map(len, TEMPLATES)))]
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio's, as in Fibonacci hashing
_SHIFT = np.uint64(29)


def word_shape(word: str) -> str:
    """Letters as X and x, digits as d, runs of more than three cut to three: "Baghdad-2" Xxxx-d."""
    shape = re.sub(r"[^\W\d_]", lambda m: "X" if m[0].isupper() else "x", word)
    return re.sub(r"(.)\1{3,}", r"\1\1\1", re.sub(r"\d", "d", shape))


@dataclass(frozen=True)
class Factored:
    """The features of Docs' words, those of one word by distinct words, which are fewer.

    alone: (templates, distinct words + 1), rows in the order of `ALONE`'s templates one place after
        the other; the last column is what stands beyond the end of a sentence.
    joint: (templates, words of all Docs), rows in the order of `JOINT`.
    around: (places, words of all Docs), which column of `alone` stands at each place of `ALONE`.

    A table of the features' rows or keys has the same form.
    """

    alone: NDArray[Any]
    joint: NDArray[Any]
    around: NDArray[np.int64]

    def by_place(self) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        """For each place its part of `alone` and its row of `around`."""
        end = 0
        for place, templates in ALONE.items():
            start, end = end, end + len(templates)
            yield self.alone[start:end], self.around[place]

    def by_word(self) -> NDArray[Any]:
        """(words of all Docs, templates) values, in the order of `TEMPLATES`."""
        values = np.empty((len(TEMPLATES), self.joint.shape[1]), dtype=self.joint.dtype)
        values[JOINT] = self.joint
        for templates, (alone, column) in zip(ALONE.values(), self.by_place(), strict=True):
            values[templates] = alone[:, column]
        return values.T


class LexicalFeatures:
    """Hashes the features of Docs; what a word gives by itself is remembered."""

    def __init__(self) -> None:
        self._cache: dict[int, tuple[Hashes, bool]] = {}

    def __call__(self, docs: Sequence[Doc]) -> Hashes:
        """(words of all Docs, templates) hashes; equal ones are the same feature."""
        return self.factored(docs).by_word()

    def factored(self, docs: Sequence[Doc]) -> Factored:
        """The same hashes, those of templates that read one word only once for a distinct word."""
        words = distinct_words(docs)
        index, distinct = words.index, len(words.orths)
        known = [self._known(words, i) for i in range(distinct)]
        # What is beyond the end of a sentence counts as one word more, at each place another.
        at_places = np.empty((2 * OFFSETS + 1, _PARTS, distinct + 1), dtype=np.uint64)
        if known:
            at_places[:, :, :distinct] = np.stack([hashes for hashes, _ in known]).T
        at_places[:, :, distinct] = BEYOND[:, None]
        parts = at_places.reshape(-1, distinct + 1)
        ends = np.array([ends for _, ends in known], dtype=bool)[index]
        around = _neighbours(index, _segments(ends, [len(doc) for doc in docs]), distinct)
        # A template's first word is mixed with its number, whatever the others are.
        first = _mix(parts[_FIRST], _NUMBERS)
        joint = _at(first, JOINT, around[_FIRST[JOINT] // _PARTS])
        for rows, places in _FURTHER:
            further = _at(parts, places, around[places // _PARTS])
            joint[rows] = _mix(further, joint[rows])
        return Factored(first[_ALONE], joint, around)

    def _known(self, words: DistinctWords, i: int) -> tuple[Hashes, bool]:
        """The hashes of a word's parts, and whether a sentence ends with it."""
        orth = words.orths[i]
        known = self._cache.get(orth)
        if known is None:
            if len(self._cache) > MAX_CACHED_WORDS:
                self._cache.clear()
            word = words.text(i)
            known = self._cache[orth] = hash_parts(word), word in SENTENCE_ENDS
        return known  # not from the cache once more, which another thread may have emptied


def hash_parts(word: str) -> Hashes:
    """(parts,) hashes of what is read of a word."""
    plain = re.sub(r"\d", "0", word)
    texts = [f"w{plain}", f"l{plain.lower()}", f"s{word_shape(word)}"]
    texts += [f"p{k}{word[:k]}" for k in (2, 3, 4)]
    texts += [f"x{k}{word[-k:]}" for k in (2, 3, 4)]
    return np.array([hash_string(text) for text in texts], dtype=np.uint64)


def hash_templates(xp: Any, parts: Any) -> Any:
    """(templates, words) hashes, in the order of `TEMPLATES`.

    xp: numpy or cupy, of the other arrays. parts: (places * parts, words), of what stands at each
        place around each word.
    """
    hashes = _mix(parts[xp.asarray(_FIRST)], xp.asarray(_NUMBERS))
    for rows, places in _FURTHER:
        templates = xp.asarray(JOINT[rows])
        hashes[templates] = _mix(parts[xp.asarray(places)], hashes[templates])
    return hashes


def keys_of(features: Hashes) -> NDArray[np.uint32]:
    """The upper half of hashes, in their shape: by what a table of weights knows features."""
    return (features >> np.uint64(32)).astype(np.uint32)


def _mix(values: Hashes, mixed: Hashes) -> Hashes:
    """Hashes of what was mixed before and further values, element by element."""
    mixed = (mixed ^ values) * _MIXER
    mixed ^= mixed >> _SHIFT
    return mixed


def _at(table: Hashes, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Hashes:
    """(rows, words): `table[row, column]` for some rows (rows,) and the columns in each."""
    return table.ravel().take(columns + (rows * table.shape[1])[:, None])


def _neighbours(
    index: NDArray[np.int64], segment: NDArray[np.int64], beyond: int
) -> NDArray[np.int64]:
    """(places, words of all Docs), which distinct word stands there, `beyond` if none does.

    index: (words of all Docs,) the distinct word of each. segment: its stretch, see `_segments`.
    """
    n = len(index)
    # The padding on both sides saves asking for the array's ends.
    words, owners = np.full((2, n + 2 * OFFSETS), -1)
    words[OFFSETS : n + OFFSETS], owners[OFFSETS : n + OFFSETS] = index, segment
    return np.stack(
        [
            np.where(owners[k : k + n] == segment, words[k : k + n], beyond)
            for k in range(2 * OFFSETS + 1)
        ]
    )


def _segments(ends: NDArray[np.bool_], lengths: Sequence[int]) -> NDArray[np.int64]:
    """(words of all Docs,) the number of the stretch each word stands in.

    ends: of these words, whether a sentence ends with it. lengths: of the Docs.
    """
    last = np.zeros(len(ends) + 1, dtype=bool)
    last[1:] = ends
    # A Doc's first word follows an end, too.
    last[np.cumsum(lengths, dtype=np.int64)] = True
    return np.cumsum(last[:-1])
