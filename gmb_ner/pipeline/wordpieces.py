"""Words of Docs as windows of word pieces, with exact alignment; shared by every encoder.

No torch: what comes out are NumPy arrays.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc

from gmb_ner.pipeline.distinct import WordTable

Ints = NDArray[np.int64]
EncodeWords = Callable[[list[str]], list[list[int]]]

CASES = (
    "special",
    "other",
    "digits",
    "mixed digits",
    "lower",
    "initial",
    "Title",
    "UPPER",
    "miXed",
)
_CASE_IDS = {name: i for i, name in enumerate(CASES)}
SPECIAL = _CASE_IDS["special"]

MAX_CACHED_WORDS = 100_000


def case_class(word: str) -> int:
    """The index in `CASES` of how a word is written: what a lower-casing tokenizer forgets.

    Only letters decide between lower, Title, UPPER and miXed, so that "U.S." is UPPER and "al-Din"
    is miXed; "initial" is a single capital, as in "J."; "special" is kept for pieces of no word.
    """
    letters = [char for char in word if char.isalpha()]
    if any(char.isdigit() for char in word):
        name = "mixed digits" if letters else "digits"
    elif not letters:
        name = "other"
    elif not any(char.isupper() for char in letters):
        name = "lower"
    elif not any(char.islower() for char in letters):
        name = "initial" if len(letters) == 1 else "UPPER"
    elif letters[0].isupper() and not any(char.isupper() for char in letters[1:]):
        name = "Title"
    else:
        name = "miXed"
    return _CASE_IDS[name]


@dataclass(frozen=True)
class Window:
    """A stretch of a Doc that an encoder reads at once.

    start, end: its words (end exclusive), context included.
    core_start, core_end: the words whose vectors are taken from it; over the windows of a Doc
        they follow each other without gap or overlap.
    """

    start: int
    end: int
    core_start: int
    core_end: int


def split_windows(
    pieces: Ints, sentence_starts: NDArray[np.bool_], size: int, context: int
) -> list[Window]:
    """Cut a Doc into windows of at most `size` pieces, each word in the middle of one.

    pieces: (words,) number of pieces of each word, each at most `size`.
    sentence_starts: (words,) whether a sentence is known to begin there.
    size: pieces of a window, special ones not counted.
    context: pieces kept on either side of a core, as far as the Doc reaches.

    A Doc that fits is one window. Others are read in as few windows as possible, with cores of
    about the same length: each takes its share of the words that are left (at least one), up to
    the last sentence border among them if there is one, and its window has `context` pieces more
    on either side. So a side has less only where the Doc ends, where its next word has too many,
    or beside a single word longer than a core's share.
    Raises ValueError if two contexts leave no room.
    """
    if not 0 <= 2 * context < size:
        raise ValueError(f"Windows of {size} pieces have no room for {context} on both sides.")
    n = len(pieces)
    # Pieces before each word. Lists, as most Docs are so short that NumPy takes longer to be asked.
    offsets = [0, *accumulate(pieces.tolist())]
    if offsets[n] <= size:
        return [Window(0, n, 0, n)] if n else []
    borders: list[int] = np.flatnonzero(sentence_starts).tolist()
    windows: list[Window] = []
    start = 0
    while start < n:
        share = _core_share(offsets, start, size, context)
        # A word longer than a core has one of its own.
        end = max(_words_within(offsets, start, share), start + 1)
        if end < n:
            last = bisect_right(borders, end) - 1
            if last >= 0 and borders[last] > start:
                end = borders[last]
        windows.append(_with_context(offsets, start, end, size, context))
        start = end
    return windows


def _core_share(offsets: list[int], start: int, size: int, context: int) -> int:
    """How many pieces the core that begins at a word may have, for cores of the same length."""
    left = offsets[-1] - offsets[start]
    before = min(context, offsets[start])
    if left <= size - before:
        return left
    # The last core has context on one side only, those before it on both.
    room, between, last = size - before - context, size - 2 * context, size - context
    inner = max(0, -(-(left - room - last) // between))
    fair = -(-left // (inner + 2))
    return min(room, max(fair, left - inner * between - last))


def _words_within(offsets: list[int], start: int, budget: int) -> int:
    """The end of the longest stretch of words from `start` that has at most `budget` pieces."""
    return bisect_right(offsets, offsets[start] + budget) - 1


def _with_context(offsets: list[int], start: int, end: int, size: int, context: int) -> Window:
    """The window around a core: `context` on either side, less where a long word takes the room."""
    room = size - (offsets[end] - offsets[start])
    before, after = offsets[start], offsets[-1] - offsets[end]
    fits = min(context, before) + min(context, after) <= room
    share = context if fits else room // 2
    first = bisect_left(offsets, offsets[start] - share)
    return Window(first, _words_within(offsets, end, share), start, end)


@dataclass(frozen=True)
class PieceBatch:
    """Windows of several Docs, padded to the longest.

    input_ids, case_ids: (windows, pieces) int64; case_ids index `CASES`.
    lengths: (windows,) pieces of each, special ones included; beyond them is padding.
    windows: of each Doc, in order; none for an empty Doc.
    align_lengths: (words of all Docs,) how many pieces a word has.
    align: (sum of align_lengths,) their positions in a flattened (windows * pieces,) array.
    """

    input_ids: Ints
    case_ids: Ints
    lengths: Ints
    windows: list[list[Window]]
    align_lengths: Ints
    align: Ints

    @property
    def attention_mask(self) -> NDArray[np.bool_]:
        """(windows, pieces), False on padding."""
        return np.arange(self.input_ids.shape[1]) < self.lengths[:, None]


class WordPieces:
    """Turns Docs into windows of pieces; every word is tokenised by itself, once.

    encode_words: the ids of the pieces of each of some words, without special ones.
    start_id, end_id, pad_id: of the special pieces around a window and behind it.
    size: pieces of a window, both special ones included.
    context: see `split_windows`.

    White space has no pieces of its own: such tokens take the window's first, special one. So do
    words that a tokenizer has no piece for.
    """

    def __init__(
        self,
        encode_words: EncodeWords,
        *,
        start_id: int,
        end_id: int,
        pad_id: int,
        size: int,
        context: int,
    ) -> None:
        self.encode_words = encode_words
        self.start_id, self.end_id, self.pad_id = start_id, end_id, pad_id
        self.size, self.context = size, context
        self._table = WordTable(self._extend, MAX_CACHED_WORDS)

    def __call__(self, docs: Sequence[Doc]) -> PieceBatch:
        index, pieces = self._table(docs)
        counts, size = pieces.counts[index], self.size - 2
        before = np.concatenate(([0], np.cumsum(counts)))
        windows: list[list[Window]] = []
        # Their start, end, core_start and core_end, in words of all Docs.
        spans: list[tuple[int, int, int, int]] = []
        begin = 0
        for doc in docs:
            end = begin + len(doc)
            if before[end] - before[begin] <= size:
                # Most are one window, whatever their sentences.
                own = [Window(0, len(doc), 0, len(doc))] if len(doc) else []
            else:
                own = split_windows(counts[begin:end], _sentence_starts(doc), size, self.context)
            windows.append(own)
            spans += [
                (begin + w.start, begin + w.end, begin + w.core_start, begin + w.core_end)
                for w in own
            ]
            begin = end
        return self._assemble(pieces, index, windows, np.array(spans, dtype=np.int64))

    def _assemble(
        self, pieces: "_Pieces", index: Ints, windows: list[list[Window]], spans: Ints
    ) -> PieceBatch:
        """Write the pieces of all windows into padded arrays, without a step for each word."""
        start, end, core_start, core_end = spans.reshape(-1, 4).T
        # One place for each word of each window, context included.
        row = np.repeat(np.arange(len(spans)), end - start)
        word = start[row] + count_up(end - start)
        known = index[word]
        counts = pieces.counts[known]
        lengths = 2 + np.bincount(row, weights=counts, minlength=len(spans)).astype(np.int64)
        width = int(lengths.max(initial=0))
        # Pieces before each place, in its window: the special one comes first.
        before = np.cumsum(counts) - counts
        first = 1 + before - (np.cumsum(lengths - 2) - (lengths - 2))[row]
        place = row * width + first
        within = count_up(counts)
        target = np.repeat(place, counts) + within
        input_ids = np.full((len(spans), width), self.pad_id, dtype=np.int64)
        case_ids = np.full((len(spans), width), SPECIAL, dtype=np.int64)
        input_ids.ravel()[target] = pieces.ids[np.repeat(pieces.begins[known], counts) + within]
        case_ids.ravel()[target] = np.repeat(pieces.cases[known], counts)
        input_ids[:, :1] = self.start_id
        input_ids[np.arange(len(spans)), lengths - 1] = self.end_id
        core = (word >= core_start[row]) & (word < core_end[row])
        align_lengths = np.maximum(counts[core], 1)
        begins = np.where(counts > 0, place, row * width)[core]
        return PieceBatch(
            input_ids=input_ids,
            case_ids=case_ids,
            lengths=lengths,
            windows=windows,
            align_lengths=align_lengths,
            align=np.repeat(begins, align_lengths) + count_up(align_lengths),
        )

    def _extend(self, pieces: "_Pieces | None", words: list[str]) -> "_Pieces":
        """The pieces of words that are known and of further ones, none for white space."""
        solid = [text for text in words if text and not text.isspace()]
        encoded = dict(zip(solid, self.encode_words(solid), strict=True)) if solid else {}
        # A word of more pieces than a window holds is read as far as it goes.
        cut = [encoded.get(text, [])[: self.size - 2] for text in words]
        return (pieces or _NO_PIECES).extended(cut, [case_class(text) for text in words])


@dataclass(frozen=True)
class _Pieces:
    """The pieces of words one after the other, where each word's begin, and its case.

    The arrays are longer than what is in use: `words` of them, with `pieces` in all.
    """

    ids: Ints
    begins: Ints
    counts: Ints
    cases: Ints
    pieces: int
    words: int

    def extended(self, encoded: list[list[int]], cases: list[int]) -> "_Pieces":
        """These and those of further words."""
        counts = np.array([len(ids) for ids in encoded], dtype=np.int64)
        ids = np.array([i for own in encoded for i in own], dtype=np.int64)
        return _Pieces(
            ids=_append(self.ids, self.pieces, ids),
            begins=_append(self.begins, self.words, self.pieces + np.cumsum(counts) - counts),
            counts=_append(self.counts, self.words, counts),
            cases=_append(self.cases, self.words, np.array(cases, dtype=np.int64)),
            pieces=self.pieces + len(ids),
            words=self.words + len(counts),
        )


_NONE: Ints = np.zeros(0, dtype=np.int64)
_NO_PIECES = _Pieces(_NONE, _NONE, _NONE, _NONE, 0, 0)


def _append(values: Ints, used: int, further: Ints) -> Ints:
    """Write behind the values in use, into a longer array where they have no room."""
    end = used + len(further)
    if end > len(values):
        longer = np.zeros(2 * end, dtype=np.int64)
        longer[:used] = values[:used]
        values = longer
    values[used:end] = further
    return values


def count_up(lengths: Ints) -> Ints:
    """0, 1, ... for each of some lengths, one after the other."""
    counted: Ints = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return counted


def bucket(lengths: Ints, max_pieces: int) -> Iterator[Ints]:
    """Group windows of similar length into batches of at most `max_pieces`, padding included.

    lengths: (windows,). Yields index arrays, longest windows first, so that memory that does not
    suffice shows at once; a window longer than `max_pieces` is a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        fit = max(max_pieces // max(int(lengths[order[start]]), 1), 1)
        yield order[start : start + fit]
        start += fit


def _sentence_starts(doc: Doc) -> NDArray[np.bool_]:
    # Attribute values are 1 (start), -1 (none) and 0 (not known).
    starts: NDArray[np.bool_] = doc.to_array("SENT_START").astype(np.int64) == 1
    return starts
