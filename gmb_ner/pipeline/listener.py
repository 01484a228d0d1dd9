"""Vectors of words for the components that listen to a transformer, of all Docs at once.

spacy-transformers gathers and pools the pieces of each Doc by itself. On a GPU, where each step
costs the same for one word and for thousands, that takes longer than the encoder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy_transformers.data_classes import TransformerData, WordpieceBatch
from spacy_transformers.layers.trfs2arrays import forward as forward_each
from thinc.api import Model
from thinc.types import Floats2d, Ragged
from transformers.modeling_outputs import ModelOutput

from gmb_ner.pipeline.wordpieces import count_up

Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class SharedOutput:
    """What an encoder gives for a batch of Docs.

    wordpieces: of all windows.
    hidden: (windows, pieces, width) in NumPy or CuPy.
    align_lengths: (words of all Docs,) how many pieces a word has.
    align: (sum of align_lengths,) their positions in a flattened (windows * pieces,) array.
    window_starts, word_starts: (Docs + 1,) the first ones of each Doc, and the end.
    """

    wordpieces: WordpieceBatch
    hidden: Any
    align_lengths: Ints
    align: Ints
    window_starts: NDArray[np.int64]
    word_starts: NDArray[np.int64]

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """(words of all Docs + 1,) where the pieces of each word begin in `align`."""
        return np.concatenate(([0], np.cumsum(self.align_lengths)))

    def aligned(self, docs: NDArray[np.int64]) -> tuple[Ints, Ints]:
        """`align` and `align_lengths` of some Docs, by their numbers, one after the other."""
        lengths = self.word_starts[docs + 1] - self.word_starts[docs]
        words = np.repeat(self.word_starts[docs], lengths) + count_up(lengths)
        counts = self.align_lengths[words]
        return self.align[np.repeat(self.places[words], counts) + count_up(counts)], counts


class SharedTransformerData(TransformerData):
    """A Doc's part of the output for a batch of Docs; its fields are made when they are asked for.

    shared: the whole. number: of the Doc in it.
    """

    def __init__(self, shared: SharedOutput, number: int) -> None:
        self.shared, self.number = shared, number

    @property
    def windows(self) -> slice:
        """The rows of its windows in the whole."""
        return slice(*self.shared.window_starts[self.number : self.number + 2].tolist())

    @property
    def words(self) -> int:
        """How many it has."""
        first, end = self.shared.word_starts[self.number : self.number + 2].tolist()
        return int(end - first)

    # thinc's and spacy-transformers' types are fields, which a class cannot replace by properties.
    @cached_property
    def wordpieces(self) -> WordpieceBatch:  # type: ignore[override]
        return self.shared.wordpieces[self.windows]

    @cached_property
    def model_output(self) -> ModelOutput:  # type: ignore[override]
        return ModelOutput(last_hidden_state=self.shared.hidden[self.windows])

    @cached_property
    def align(self) -> Ragged:  # type: ignore[override]
        positions: Any
        lengths: Any
        positions, lengths = self.shared.aligned(np.array([self.number]))
        pieces = self.shared.hidden.shape[1]
        return Ragged(positions - np.int32(self.windows.start * pieces), lengths)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without the other Docs' parts."""
        return TransformerData, (self.wordpieces, self.model_output, self.align)


def pool_words(
    pooling: Model[Ragged, Floats2d], grad_factor: float
) -> Model[list[TransformerData], list[Floats2d]]:
    """spacy-transformers' `trfs2arrays`, with one step for all Docs that were read together."""
    return Model("pool_words", _forward, layers=[pooling], attrs={"grad_factor": grad_factor})


def _forward(
    model: Model, parts: list[TransformerData], is_train: bool
) -> tuple[list[Floats2d], Callable]:
    read: list[int] = []
    shared: list[SharedTransformerData] = []
    for i, part in enumerate(parts):
        if isinstance(part, SharedTransformerData):
            read.append(i)
            shared.append(part)
        elif "last_hidden_state" in part.model_output:
            # Of another transformer, or a Doc that was stored.
            vectors, backprop_each = forward_each(model, parts, is_train)
            return vectors, backprop_each
    outputs: list[Floats2d] = [model.ops.alloc2f(0, 0)] * len(parts)
    backprops = []
    for batch in _read_together(shared):
        vectors, backprop_batch = _pool(model, [shared[i] for i in batch], is_train)
        backprops.append((batch, backprop_batch))
        for i, of_doc in zip(batch, vectors, strict=True):
            outputs[read[i]] = of_doc

    def backprop(d_outputs: list[Floats2d]) -> list[TransformerData]:
        d_parts: dict[int, TransformerData] = {}
        for batch, backprop_batch in backprops:
            d_batch = backprop_batch([d_outputs[read[i]] for i in batch])
            d_parts |= dict(zip(batch, d_batch, strict=True))
        return [d_parts[i] for i in range(len(read))]

    return outputs, backprop


def predict_word_rows(model: Model, docs: list[Any]) -> Floats2d:
    """What a listener, or the transformer itself, and `pool_words` give for all words together."""
    transformer, pool = model.layers
    parts = transformer.predict(docs)
    read = [part for part, doc in zip(parts, docs, strict=True) if len(doc)]
    together = {id(part.shared) for part in read if isinstance(part, SharedTransformerData)}
    if len(together) == 1 and all(isinstance(part, SharedTransformerData) for part in read):
        return _pool_rows(pool, read, False)[0]
    return model.ops.flatten(pool.predict(parts))


def _read_together(parts: list[SharedTransformerData]) -> list[list[int]]:
    """The numbers of the parts of each output."""
    batches: dict[int, list[int]] = {}
    for i, part in enumerate(parts):
        batches.setdefault(id(part.shared), []).append(i)
    return list(batches.values())


def _pool(
    model: Model, parts: list[SharedTransformerData], is_train: bool
) -> tuple[list[Floats2d], Callable]:
    """The vectors of the words of each Doc, from the output that all of them share."""
    pooled, backprop_rows = _pool_rows(model, parts, is_train)
    words: Any = np.array([part.words for part in parts], dtype=np.int32)

    def backprop(d_outputs: list[Floats2d]) -> list[TransformerData]:
        d_hidden = backprop_rows(model.ops.flatten(d_outputs))
        return [
            TransformerData(
                wordpieces=part.wordpieces,
                model_output=ModelOutput(last_hidden_state=d_hidden[part.windows]),
                align=part.align,
            )
            for part in parts
        ]

    return model.ops.unflatten(pooled, words), backprop


def _pool_rows(
    model: Model, parts: list[SharedTransformerData], is_train: bool
) -> tuple[Floats2d, Callable[[Floats2d], Any]]:
    """The vectors of the words of all Docs, (words, width); backprop gives that of `hidden`."""
    ops, pooling, shared = model.ops, model.layers[0], parts[0].shared
    hidden = shared.hidden
    windows, pieces, width = hidden.shape
    align: Any
    align_lengths: Any
    align, align_lengths = shared.aligned(np.array([part.number for part in parts]))
    flat = hidden.reshape(-1, width)
    if not is_train and pooling.name == "reduce_first":
        # As that layer does, which lets a GPU wait to check the lengths.
        firsts: Any = align[np.cumsum(align_lengths) - align_lengths]
        vectors: Floats2d = flat[ops.asarray1i(firsts)]
        return vectors, _no_backprop
    rows, lengths = ops.asarray1i(align), ops.asarray1i(align_lengths)
    pooled, backprop_pooling = pooling(Ragged(flat[rows], lengths), is_train)

    def backprop(d_pooled: Floats2d) -> Any:
        d_hidden = ops.alloc2f(windows * pieces, width)
        ops.scatter_add(d_hidden, rows, backprop_pooling(d_pooled).dataXd)
        return (d_hidden * model.attrs["grad_factor"]).reshape(hidden.shape)

    return pooled, backprop


def _no_backprop(d_pooled: Floats2d) -> Any:
    raise ValueError("pool_words learns nothing from a prediction: call begin_update.")
