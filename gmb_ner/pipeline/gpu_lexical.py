"""The scores of lexical features on a GPU, where each step is one for all words and templates."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc

from gmb_ner.pipeline.distinct import WordTable
from gmb_ner.pipeline.lexical import (
    BEYOND,
    MAX_CACHED_WORDS,
    OFFSETS,
    SENTENCE_ENDS,
    TEMPLATES,
    hash_parts,
    hash_templates,
    keys_of,
)

Array: TypeAlias = Any  # cupy.ndarray
WEIGHTS_AT_ONCE = 2**25  # that are gathered, one row for each word and template: 128 MB
# Of each word the hashes of its parts, and whether a sentence ends with it.
Words: TypeAlias = tuple[Array, Array]


class GpuTable:
    """A copy of the weights of a `gmb_ner.pipeline.lexical_tagger.SparseLinear`, for prediction.

    xp: the array module, cupy.
    keys: (features,) uint32, sorted. weights: (features + 1, tags) float32; the last row is for
        the unknown.
    """

    def __init__(self, xp: Any, keys: NDArray[np.uint32], weights: NDArray[np.float32]) -> None:
        self.xp = xp
        # What is beyond the last key ends a search: nothing is larger.
        self.keys: Array = xp.asarray(np.append(keys, np.uint32(2**32 - 1)))
        self.weights: Array = xp.array(weights, dtype="f4")
        self._words = WordTable(self._extend, MAX_CACHED_WORDS)

    def score(self, docs: Sequence[Doc]) -> Array:
        """(words of all Docs, tags) float32 scores, but for the order of sums `SparseLinear`'s."""
        xp = self.xp
        numbers, (parts, ends) = self._words(docs)
        n, tags = len(numbers), self.weights.shape[1]
        # The padding on both sides saves asking for the array's ends.
        rows, segments = xp.full((2, n + 2 * OFFSETS), -1)
        rows[OFFSETS : n + OFFSETS] = xp.asarray(numbers) + len(BEYOND)
        # A stretch begins with a Doc and after the end of a sentence.
        begins = xp.zeros(n + 1, dtype=bool)
        begins[1:] = ends[rows[OFFSETS : n + OFFSETS]]
        begins[xp.asarray(np.cumsum([0, *map(len, docs)]))] = True
        segments[OFFSETS : n + OFFSETS] = xp.cumsum(begins[:-1], dtype="i8")
        scores = xp.empty((n, tags), dtype="f4")
        at_once = max(WEIGHTS_AT_ONCE // (len(TEMPLATES) * max(tags, 1)), 1)
        for begin in range(0, n, at_once):
            around = slice(begin, begin + at_once + 2 * OFFSETS)
            own = slice(begin, begin + at_once)
            scores[own] = self._score(parts, rows[around], segments[around])
        return scores

    def _score(self, known: Array, rows: Array, segments: Array) -> Array:
        """The scores of words, from the rows of `known` and segments of them and around them."""
        xp, n = self.xp, len(rows) - 2 * OFFSETS
        offset = xp.arange(2 * OFFSETS + 1)[:, None]
        place = xp.arange(n) + offset
        inside = segments[place] == segments[OFFSETS : n + OFFSETS]
        parts = known[xp.where(inside, rows[place], offset)]
        keys = keys_of(hash_templates(xp, parts.transpose(0, 2, 1).reshape(-1, n)))
        at = xp.searchsorted(self.keys, keys)
        # A key that is the guard's is found in the row of the unknown.
        found = xp.where(self.keys[at] == keys, at, len(self.keys) - 1)
        return self.weights[found].sum(axis=0)

    def _extend(self, known: Words | None, words: list[str]) -> Words:
        """What is known and what further words are; first of all what no word is, by place."""
        xp = self.xp
        if known is None:
            beyond = np.repeat(BEYOND[:, None], len(hash_parts("")), axis=1)
            known = xp.asarray(beyond), xp.zeros(len(beyond), dtype=bool)
        if not words:
            return known
        parts = xp.asarray(np.stack([hash_parts(word) for word in words]))
        ends = xp.asarray(np.array([word in SENTENCE_ENDS for word in words]))
        return xp.concatenate((known[0], parts)), xp.concatenate((known[1], ends))
