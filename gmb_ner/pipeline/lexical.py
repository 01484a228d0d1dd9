"""Lexical features of words in context, as 64-bit hashes: what a CRF with hand-made features reads.

The templates are those usual for English newswire (Ratinov and Roth 2009; Finkel et al. 2005):
words, lower-cased words, shapes, prefixes and suffixes around a token, and conjunctions of
neighbours. Features do not cross the end of a sentence, as far as punctuation shows it.
"""

import re
from collections.abc import Sequence

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

_OFFSETS = 3  # the farthest neighbour in a template
_BEYOND = [np.uint64(hash_string(f"beyond{k}")) for k in range(-_OFFSETS, _OFFSETS + 1)]
# For each position in a template: the templates that have it, and what stands there, as a place in
# the parts of a word and its neighbours.
_CONJUNCTS = [
    (
        np.array([i for i, template in enumerate(TEMPLATES) if len(template) > position]),
        np.array(
            [
                (offset + _OFFSETS) * _PARTS + part
                for template in TEMPLATES
                for part, offset in template[position : position + 1]
            ]
        ),
    )
    for position in range(max(map(len, TEMPLATES)))
]
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio's, as in Fibonacci hashing
_SHIFT = np.uint64(29)


def word_shape(word: str) -> str:
    """Letters as X and x, digits as d, runs of more than three cut to three: "Baghdad-2" Xxxx-d."""
    shape = re.sub(r"[^\W\d_]", lambda m: "X" if m[0].isupper() else "x", word)
    return re.sub(r"(.)\1{3,}", r"\1\1\1", re.sub(r"\d", "d", shape))


class LexicalFeatures:
    """Hashes the features of Docs; what a word gives by itself is remembered."""

    def __init__(self) -> None:
        self._cache: dict[int, tuple[Hashes, bool]] = {}

    def __call__(self, docs: Sequence[Doc]) -> Hashes:
        """(words of all Docs, templates) hashes; equal ones are the same feature."""
        words = distinct_words(docs)
        index = words.index
        if not words.orths:
            return np.zeros((0, len(TEMPLATES)), dtype=np.uint64)
        known = [self._known(words, i) for i in range(len(words.orths))]
        parts = np.stack([hashes for hashes, _ in known])[index]
        ends = np.array([ends for _, ends in known])[index]
        segment = _segments(ends, [len(doc) for doc in docs])
        n = len(index)
        # Beyond a segment stands a hash of its own for each offset; the padding on both sides
        # saves asking for the array's ends.
        padded = np.zeros((n + 2 * _OFFSETS, _PARTS), dtype=np.uint64)
        padded[_OFFSETS : n + _OFFSETS] = parts
        owner = np.full(n + 2 * _OFFSETS, -1)
        owner[_OFFSETS : n + _OFFSETS] = segment
        around = np.empty((n, 2 * _OFFSETS + 1, _PARTS), dtype=np.uint64)
        for k in range(2 * _OFFSETS + 1):
            inside = (owner[k : k + n] == segment)[:, None]
            around[:, k] = np.where(inside, padded[k : k + n], _BEYOND[k])
        neighbours = around.reshape(n, -1)
        # All templates at once, one conjunct after the other.
        features = np.tile(np.arange(1, len(TEMPLATES) + 1, dtype=np.uint64), (n, 1))
        for columns, places in _CONJUNCTS:
            value = (features[:, columns] ^ neighbours[:, places]) * _MIXER
            value ^= value >> _SHIFT
            features[:, columns] = value
        return features

    def _known(self, words: DistinctWords, i: int) -> tuple[Hashes, bool]:
        """The hashes of a word's parts, and whether a sentence ends with it."""
        orth = words.orths[i]
        if orth not in self._cache:
            if len(self._cache) > MAX_CACHED_WORDS:
                self._cache.clear()
            word = words.text(i)
            self._cache[orth] = _hash_parts(word), word in SENTENCE_ENDS
        return self._cache[orth]


def _hash_parts(word: str) -> Hashes:
    plain = re.sub(r"\d", "0", word)
    texts = [f"w{plain}", f"l{plain.lower()}", f"s{word_shape(word)}"]
    texts += [f"p{k}{word[:k]}" for k in (2, 3, 4)]
    texts += [f"x{k}{word[-k:]}" for k in (2, 3, 4)]
    return np.array([hash_string(text) for text in texts], dtype=np.uint64)


def _segments(ends: NDArray[np.bool_], lengths: Sequence[int]) -> NDArray[np.int64]:
    """(words of all Docs,) the number of the stretch each word stands in.

    ends: of these words, whether a sentence ends with it. lengths: of the Docs.
    """
    last = np.zeros(len(ends) + 1, dtype=bool)
    last[1:] = ends
    # A Doc's first word follows an end, too.
    last[np.cumsum(lengths)] = True
    return np.cumsum(last[:-1])
