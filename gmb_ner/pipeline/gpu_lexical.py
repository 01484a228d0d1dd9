"""The scores of lexical features on a GPU, where each step is one for all words and templates."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc

from gmb_ner.pipeline.distinct import WordNumbers
from gmb_ner.pipeline.lexical import (
    BEYOND,
    MAX_CACHED_WORDS,
    OFFSETS,
    SENTENCE_ENDS,
    hash_parts,
    hash_templates,
    keys_of,
)

Array: TypeAlias = Any  # cupy.ndarray
WORDS_AT_ONCE = 32_768  # whose weights, one row for each template, take some 150 MB


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
        self.weights: Array = xp.asarray(weights, dtype="f4")
        self._numbers = WordNumbers()
        self._forget()

    def score(self, docs: Sequence[Doc]) -> Array:
        """(words of all Docs, tags) float32 scores, but for the order of sums `SparseLinear`'s."""
        xp = self.xp
        numbers, first, new = self._numbers(docs, MAX_CACHED_WORDS)
        if new and not first:
            self._forget()
        self._remember(new)
        n = len(numbers)
        # The padding on both sides saves asking for the array's ends.
        rows, segments = xp.full((2, n + 2 * OFFSETS), -1)
        rows[OFFSETS : n + OFFSETS] = xp.asarray(numbers) + len(BEYOND)
        # A stretch begins with a Doc and after the end of a sentence.
        begins = xp.zeros(n + 1, dtype=bool)
        begins[1:] = self._ends[rows[OFFSETS : n + OFFSETS]]
        begins[xp.asarray(np.cumsum([0, *map(len, docs)]))] = True
        segments[OFFSETS : n + OFFSETS] = xp.cumsum(begins[:-1], dtype="i8")
        scores = xp.empty((n, self.weights.shape[1]), dtype="f4")
        for begin in range(0, n, WORDS_AT_ONCE):
            around = slice(begin, begin + WORDS_AT_ONCE + 2 * OFFSETS)
            own = slice(begin, begin + WORDS_AT_ONCE)
            scores[own] = self._score(rows[around], segments[around])
        return scores

    def _score(self, rows: Array, segments: Array) -> Array:
        """The scores of words from the rows of `_parts` and segments of them and around them."""
        xp, n = self.xp, len(rows) - 2 * OFFSETS
        offset = xp.arange(2 * OFFSETS + 1)[:, None]
        place = xp.arange(n) + offset
        inside = segments[place] == segments[OFFSETS : n + OFFSETS]
        parts = self._parts[xp.where(inside, rows[place], offset)]
        keys = keys_of(hash_templates(xp, parts.transpose(0, 2, 1).reshape(-1, n)))
        at = xp.searchsorted(self.keys, keys)
        # A key that is the guard's is found in the row of the unknown.
        found = xp.where(self.keys[at] == keys, at, len(self.keys) - 1)
        return self.weights[found].sum(axis=0)

    def _forget(self) -> None:
        """Leave what is beyond a sentence, at each place another."""
        beyond = np.repeat(BEYOND[:, None], len(hash_parts("")), axis=1)
        self._parts: Array = self.xp.asarray(beyond)  # (places + words, parts)
        self._ends: Array = self.xp.zeros(len(beyond), dtype=bool)

    def _remember(self, words: list[str]) -> None:
        if words:
            xp = self.xp
            parts = np.stack([hash_parts(word) for word in words])
            ends = np.array([word in SENTENCE_ENDS for word in words])
            self._parts = xp.concatenate((self._parts, xp.asarray(parts)))
            self._ends = xp.concatenate((self._ends, xp.asarray(ends)))
