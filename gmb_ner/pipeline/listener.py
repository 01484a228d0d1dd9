"""Vectors of words for the components that listen to a transformer, of all Docs at once.

spacy-transformers gathers and pools the pieces of each Doc by itself. On a GPU, where each step
costs the same for one word and for thousands, that takes longer than the encoder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from spacy_transformers.data_classes import TransformerData
from spacy_transformers.layers.trfs2arrays import forward as forward_each
from thinc.api import Model
from thinc.types import Floats2d, Ragged
from transformers.modeling_outputs import ModelOutput


@dataclass
class SharedTransformerData(TransformerData):
    """A Doc's part of the output for a batch of Docs, which knows the whole.

    hidden: (windows of all Docs, pieces, width), of which `model_output` has a view.
    window: the first one of this Doc.
    """

    hidden: Any
    window: int

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
    read = [i for i, part in enumerate(parts) if "last_hidden_state" in part.model_output]
    shared: list[SharedTransformerData] = []
    for i in read:
        part = parts[i]
        if not isinstance(part, SharedTransformerData):
            # Of another transformer, or a Doc that was stored.
            vectors, backprop_each = forward_each(model, parts, is_train)
            return vectors, backprop_each
        shared.append(part)
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


def _read_together(parts: list[SharedTransformerData]) -> list[list[int]]:
    """The numbers of the parts of each output."""
    batches: dict[int, list[int]] = {}
    for i, part in enumerate(parts):
        batches.setdefault(id(part.hidden), []).append(i)
    return list(batches.values())


def _pool(
    model: Model, parts: list[SharedTransformerData], is_train: bool
) -> tuple[list[Floats2d], Callable]:
    """The vectors of the words of each Doc, from the output that all of them share."""
    ops, pooling = model.ops, model.layers[0]
    hidden = parts[0].hidden
    _, pieces, width = hidden.shape
    places: Any = np.concatenate([part.align.dataXd + part.window * pieces for part in parts])
    counts: Any = np.concatenate([part.align.lengths for part in parts])
    rows, lengths = ops.asarray1i(places), ops.asarray1i(counts)
    pooled, backprop_pooling = pooling(Ragged(hidden.reshape(-1, width)[rows], lengths), is_train)
    words: Any = np.array([len(part.align.lengths) for part in parts], dtype=np.int32)

    def backprop(d_outputs: list[Floats2d]) -> list[TransformerData]:
        d_pieces = backprop_pooling(ops.flatten(d_outputs)).dataXd
        d_hidden = ops.alloc2f(hidden.shape[0] * pieces, width)
        ops.scatter_add(d_hidden, rows, d_pieces)
        d_hidden = (d_hidden * model.attrs["grad_factor"]).reshape(hidden.shape)
        return [
            TransformerData(
                wordpieces=part.wordpieces,
                model_output=ModelOutput(last_hidden_state=d_hidden[own]),
                align=part.align,
            )
            for part, own in ((part, _windows(part)) for part in parts)
        ]

    return ops.unflatten(pooled, words), backprop


def _windows(part: SharedTransformerData) -> slice:
    count = len(part.model_output["last_hidden_state"])
    return slice(part.window, part.window + count)
