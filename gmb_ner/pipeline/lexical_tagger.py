"""A linear tagger on lexical features: sparse, trained beside an encoder, read in no time."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
import spacy
import srsly
from numpy.typing import NDArray
from spacy.tokens import Doc
from thinc.api import Model, Optimizer, Shim
from thinc.types import Floats2d

from gmb_ner.pipeline.gpu_lexical import GpuTable
from gmb_ner.pipeline.lexical import Factored, LexicalFeatures, keys_of


@spacy.registry.architectures("gmb_ner.LexicalTagger.v1")
def create_lexical_tagger(
    min_count: int = 4,
    dropout: float = 0.6,
    learn_rate: float = 0.05,
    nO: int | None = None,
) -> Model[list[Doc], list[Floats2d]]:
    """Create the model: List[Doc] -> a (words, tags) array of scores for each.

    min_count (int): features seen less often in the training Docs are left out; `initialize` must
        be preceded by `model.attrs["count_features"](model, docs)` with all of them.
    dropout (float): the share of the features that is left out at each word in training.
    learn_rate (float): of Adagrad (Duchi et al. 2011), which gives rare features longer steps; the
        schedule of the config's optimizer does not apply to it.
    nO (int): tags, known from the data otherwise.
    """
    return Model(
        "lexical_tagger",
        _forward,
        init=_init,
        dims={"nO": nO},
        attrs={
            "min_count": min_count,
            "dropout": dropout,
            "count_features": count_features,
            "predict_rows": _predict_rows,
        },
        shims=[SparseLinear(learn_rate)],
    )


class SparseLinear(Shim):
    """A table of weights for known features, and its Adagrad update.

    keys: (features,) uint32, sorted: the upper half of the hashes. Two features share a row
        where these agree, one in some thousands.
    weights: (features + 1, tags) float32; the last row belongs to the unknown and stays 0. Saved
        as float16. Or int8, see `quantized`.
    scale: (tags,) float32, by which int8 weights are multiplied; None for others.
    squares: as weights, the sums of squared gradients; None before the first step. Not saved.
    gradients: of the batches since the last step, rows (n,) and their gradients (n, tags).

    It learns on the CPU; for prediction on a GPU there is a copy, `on_gpu`.
    """

    def __init__(self, learn_rate: float) -> None:
        super().__init__(None)
        self.learn_rate = learn_rate
        self.features = LexicalFeatures()
        self.keys: NDArray[np.uint32] = np.zeros(0, dtype=np.uint32)
        self.scale: NDArray[np.float32] | None = None
        self._index: KeyIndex | None = None
        self._on_gpu: GpuTable | None = None
        self.reset(0)

    def reset(self, tags: int) -> None:
        """Set all weights to 0 and forget what was learned."""
        self.weights: NDArray[Any] = np.zeros((len(self.keys) + 1, tags), dtype=np.float32)
        self.squares: NDArray[np.float32] | None = None
        self.gradients: list[tuple[NDArray[np.integer], NDArray[np.float32]]] = []
        self._on_gpu = None

    def __getstate__(self) -> dict[str, Any]:
        """Copied and pickled without what is on a GPU."""
        return {**self.__dict__, "_on_gpu": None}

    def on_gpu(self, xp: Any) -> GpuTable:
        """The weights on the GPU, as they are now. xp: cupy."""
        if self._on_gpu is None:
            self._on_gpu = GpuTable(xp, self.keys, self._scaled(self.weights))
        return self._on_gpu

    def rows(self, docs: Sequence[Doc]) -> Factored:
        """The row of each feature of the Docs' words."""
        if self._index is None or self._index.keys is not self.keys:
            self._index = KeyIndex(self.keys)
        features = self.features.factored(docs)
        alone, joint = map(self._index.find, map(keys_of, (features.alone, features.joint)))
        return Factored(alone, joint, features.around)

    def score(self, docs: Sequence[Doc]) -> NDArray[np.float32]:
        """(words of all Docs, tags) scores."""
        rows = self.rows(docs)
        scores = self._sum(rows.joint)
        # What a distinct word adds at a place is summed up once.
        for alone, column in rows.by_place():
            scores += self._sum(alone).take(column, axis=0)
        return self._scaled(scores)

    def sum_weights(self, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """(words, tags) sums of the weights in the rows of each word, (words, templates)."""
        return self._scaled(self._sum(np.ascontiguousarray(rows.T)))

    def _sum(self, rows: NDArray[np.int32]) -> NDArray[Any]:
        """The sums as they are stored, of (templates, words) rows."""
        shape = rows.shape[1], self.weights.shape[1]
        # int16 holds the sum of 258 int8 weights; a word has fewer features.
        scores = np.zeros(shape, dtype=np.float32 if self.scale is None else np.int16)
        weights = np.empty(shape, dtype=self.weights.dtype)
        # One template after the other keeps memory small and is several times faster; no index is
        # out of bounds, and "raise" would make a copy.
        for row in rows:
            self.weights.take(row, axis=0, out=weights, mode="clip")
            scores += weights
        return scores

    def _scaled(self, scores: NDArray[Any]) -> NDArray[np.float32]:
        return scores if self.scale is None else scores * self.scale

    def quantized(self) -> "SparseLinear":
        """One with weights of 8 bits, which cannot learn any more.

        Each tag has a scale of its own. Features whose weights are all rounded to 0 are left out.
        """
        scale = np.abs(self.weights).max(axis=0, initial=0) / 127
        scale[scale == 0] = 1
        weights = np.round(self.weights / scale).astype(np.int8)
        kept = weights[:-1].any(axis=1)
        small = SparseLinear(0.0)
        small.keys = self.keys[kept]
        small.weights = weights[np.append(kept, True)]
        small.scale = scale.astype(np.float32)
        return small

    def finish_update(self, optimizer: Optimizer) -> None:
        """Take an Adagrad step on the rows with gradients; `optimizer` is not asked."""
        if not self.gradients:
            return
        if self.squares is None:
            self.squares = np.full(self.weights.shape, 1e-10, dtype=np.float32)
        rows, gradient = self.gradients[0]
        if len(self.gradients) > 1:  # accumulated over batches
            rows, gradient = sum_by_row(*map(np.concatenate, zip(*self.gradients, strict=True)))
        self.gradients, self._on_gpu = [], None
        squares = self.squares[rows] + gradient**2
        self.squares[rows] = squares
        self.weights[rows] -= self.learn_rate * gradient / np.sqrt(squares)

    def to_bytes(self) -> bytes:
        message: dict[str, NDArray[Any]] = {"keys": self.keys}
        if self.scale is None:
            message["weights"] = self.weights.astype(np.float16)
        else:
            message |= {"weights": self.weights, "scale": self.scale}
        data: bytes = srsly.msgpack_dumps(message)
        return data

    def from_bytes(self, data: bytes) -> "SparseLinear":
        message = srsly.msgpack_loads(data)
        self.keys = message["keys"]
        self.scale = message.get("scale")
        self.weights = message["weights"]
        if self.scale is None:
            self.weights = self.weights.astype(np.float32)
        self.squares, self.gradients, self._on_gpu = None, [], None
        return self

    def to_device(self, device_type: str, device_id: int) -> None:
        """Nothing moves but the copy for prediction, which is made anew."""
        self._on_gpu = None


class KeyIndex:
    """Finds keys among sorted ones, of which it knows where each range begins.

    The keys are hashes, so that ranges of equal width hold about equally many. About one range for
    each key finds most with one look, several times faster than binary search.

    keys: (n,) uint32, sorted and distinct.
    """

    def __init__(self, keys: NDArray[np.uint32]) -> None:
        self.keys = keys
        bits = max(len(keys) - 1, 1).bit_length()
        self._shift = np.uint32(32 - bits)
        begins = np.arange(2**bits, dtype=np.uint32) << self._shift
        self._begins = np.searchsorted(keys, begins).astype(np.int32)
        # What is beyond the last one ends a search: nothing is larger.
        self._guarded = np.append(keys, np.uint32(2**32 - 1))

    def find(self, wanted: NDArray[np.uint32]) -> NDArray[np.int32]:
        """The positions of wanted keys, in their shape; n for those that are not there."""
        shape, wanted = wanted.shape, wanted.ravel()
        at = self._begins[wanted >> self._shift]
        key = self._guarded[at]
        found = np.where(key == wanted, at, len(self.keys)).astype(np.int32)
        left = np.flatnonzero(key < wanted)
        at, wanted = at[left], wanted[left]
        while len(left):
            at = at + 1
            key = self._guarded[at]
            hit = key == wanted
            found[left[hit]] = at[hit]
            more = key < wanted
            left, at, wanted = left[more], at[more], wanted[more]
        return found.reshape(shape)


def sum_by_row(
    rows: NDArray[np.integer], values: NDArray[Any]
) -> tuple[NDArray[np.integer], NDArray[Any]]:
    """Sum the values of equal rows.

    rows: (n,). values: (n, ...), one for each row.
    Returns the distinct rows in order, (m,), and the sums, (m, ...).
    """
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.ones(len(rows), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(first)
    return ordered[starts], np.add.reduceat(values[order], starts, axis=0)


def count_features(model: Model, docs: Iterable[list[Doc]]) -> None:
    """Settle which features a lexical tagger knows: those of the training Docs, in batches."""
    table = _table(model)
    counted = [np.unique(keys_of(table.features(batch)), return_counts=True) for batch in docs]
    if not counted:
        counted = [(np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.int64))]
    keys, counts = sum_by_row(*map(np.concatenate, zip(*counted, strict=True)))
    table.keys = keys[counts >= model.attrs["min_count"]]


def _table(model: Model) -> SparseLinear:
    return cast(SparseLinear, model.shims[0])


def _init(model: Model, X: Any = None, Y: Any = None) -> None:
    if model.has_dim("nO") is None and Y is not None:
        model.set_dim("nO", Y[0].shape[1])
    if model.has_dim("nO"):
        _table(model).reset(model.get_dim("nO"))


def _forward(
    model: Model[list[Doc], list[Floats2d]], docs: list[Doc], is_train: bool
) -> tuple[list[Floats2d], Callable]:
    table = _table(model)
    lengths: Any = np.array([len(doc) for doc in docs], dtype=np.int32)

    def by_doc(scores: Any) -> list[Floats2d]:
        parts: list[Floats2d] = model.ops.unflatten(model.ops.xp.asarray(scores), lengths)
        return parts

    if not is_train:
        return by_doc(_predict_rows(model, docs)), _no_backprop
    rows = table.rows(docs).by_word()
    unknown = len(table.keys)
    kept = np.random.random(rows.shape) >= model.attrs["dropout"]
    rows = np.where(kept, rows, np.int32(unknown))
    scale = 1 / (1 - model.attrs["dropout"])

    def backprop(d_outputs: list[Floats2d]) -> list[Doc]:
        d_scores = model.ops.to_numpy(model.ops.flatten(d_outputs))
        word, column = np.nonzero(rows != unknown)
        touched, gradient = sum_by_row(rows[word, column], d_scores[word])
        table.gradients.append((touched, (scale * gradient).astype(np.float32)))
        return docs

    return by_doc(scale * table.sum_weights(rows)), backprop


def _predict_rows(model: Model[list[Doc], list[Floats2d]], docs: list[Doc]) -> Floats2d:
    xp, table = model.ops.xp, _table(model)
    scores: Any = table.score(docs) if xp is np else table.on_gpu(xp).score(docs)
    return scores


def _no_backprop(d_outputs: list[Floats2d]) -> list[Doc]:
    raise ValueError("lexical_tagger learns nothing from a prediction: call begin_update.")
