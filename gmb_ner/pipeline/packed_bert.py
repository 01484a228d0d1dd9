"""BERT's layers on the pieces of all windows in a row, padded for attention at most.

The modules are those of Hugging Face's BertModel, and so are the results; what is saved is the
work on padding, which linear layers, activations and norms would do for nothing.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.nn import functional
from transformers import BertModel, PreTrainedModel


def can_pack(transformer: PreTrainedModel) -> bool:
    """Whether `run_packed` knows a model's layers: those of BERT encoders."""
    config = transformer.config
    return (
        type(transformer) is BertModel
        and not config.is_decoder
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and config.chunk_size_feed_forward == 0
    )


def run_packed(
    transformer: PreTrainedModel,
    embeddings: torch.Tensor,
    attention_mask: torch.Tensor,
    places: torch.Tensor | None = None,
) -> torch.Tensor:
    """The last hidden state, (windows, pieces, width); 0 on padding.

    transformer: see `can_pack`. embeddings: (windows, pieces, width), as its `embeddings` gives
    them. attention_mask: (windows, pieces), 0 on padding. places: where the flattened mask is not
    0; who knows them saves waiting for a GPU. On a CPU, without gradients, attention is calculated
    without padding, for neighbours of the same length together: sort windows by it.
    """
    windows, pieces, width = embeddings.shape
    if places is None:
        places = attention_mask.reshape(-1).nonzero().squeeze(1)
    padded = len(places) < windows * pieces
    hidden = embeddings.reshape(-1, width)
    groups, bias = [(windows, pieces)], None
    if padded:
        hidden = _unpad(hidden, places)
    if padded and hidden.device.type == "cpu" and not torch.is_grad_enabled():
        # Elsewhere more steps cost more than padding: kernels to launch, gradients to take back.
        groups = _equally_long(attention_mask)
    elif padded:
        precision = _precision(hidden)
        bias = torch.zeros_like(attention_mask, dtype=precision)
        bias = bias.masked_fill_(attention_mask == 0, torch.finfo(precision).min)[:, None, None, :]
    fused = transformer.config._attn_implementation != "eager"
    # torch knows no more of these modules than that they are modules.
    encoder: Any = transformer.encoder
    for layer in encoder.layer:
        own = layer.attention.self
        # Three layers read it: they share one conversion to their precision.
        read = hidden.to(_precision(hidden))
        query, key, value = own.query(read), own.key(read), own.value(read)
        rows = [query / math.sqrt(own.attention_head_size), key, value]
        if bias is not None:
            rows = [_pad(own_rows, places, windows * pieces) for own_rows in rows]
        contexts = []
        for group, part in zip(groups, _split(rows, groups), strict=True):
            shape = *group, own.num_attention_heads, -1
            heads = [own_rows.view(shape).transpose(1, 2) for own_rows in part]
            context = _attend(heads, bias, own.dropout, fused)
            contexts.append(context.transpose(1, 2).flatten(2).flatten(0, 1))
        context = contexts[0] if len(contexts) == 1 else torch.cat(contexts)
        if bias is not None:
            context = _unpad(context, places)
        hidden = layer.attention.output(context, hidden)
        hidden = layer.output(layer.intermediate(hidden), hidden)
    if padded:
        hidden = _pad(hidden, places, windows * pieces)
    return hidden.view(windows, pieces, width)


def _equally_long(attention_mask: torch.Tensor) -> list[tuple[int, int]]:
    """Of each group of neighbours that are equally long, how many windows and pieces there are."""
    lengths, counts = attention_mask.sum(1).unique_consecutive(return_counts=True)
    return list(zip(counts.tolist(), lengths.tolist(), strict=True))


def _split(
    rows: list[torch.Tensor], groups: list[tuple[int, int]]
) -> Iterable[Sequence[torch.Tensor]]:
    """The rows of each group of (windows, pieces)."""
    if len(groups) == 1:
        return [rows]
    sizes = [windows * pieces for windows, pieces in groups]
    return zip(*(own_rows.split(sizes) for own_rows in rows), strict=True)


def _attend(
    heads: Sequence[torch.Tensor],
    bias: torch.Tensor | None,
    dropout: torch.nn.Dropout,
    fused: bool,
) -> torch.Tensor:
    """Attention of scaled queries, keys, values, (windows, heads, pieces, width of a head) each."""
    query, key, value = heads
    if fused:
        share = dropout.p if dropout.training else 0.0
        return functional.scaled_dot_product_attention(
            query, key, value, bias, dropout_p=share, scale=1.0
        )
    scores = query @ key.transpose(2, 3)
    if bias is not None:
        scores = scores + bias
    # Autocast would write float32, of which the product below takes the rounded values; the sums
    # are in float32 in either case.
    with torch.autocast(scores.device.type, enabled=False):
        weights = scores.softmax(-1)
    return dropout(weights) @ value


def _precision(values: torch.Tensor) -> torch.dtype:
    device = values.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else values.dtype


def _unpad(rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    if not torch.is_grad_enabled():  # where to ask for a gradient takes longer than the step
        return rows.index_select(0, places)
    unpadded: torch.Tensor = _Unpad.apply(rows, places)
    return unpadded


def _pad(rows: torch.Tensor, places: torch.Tensor, total: int) -> torch.Tensor:
    if not torch.is_grad_enabled():
        return _write(rows, places, total)
    padded: torch.Tensor = _Pad.apply(rows, places, total)
    return padded


class _Unpad(torch.autograd.Function):
    """The rows at some places; the gradient is 0 elsewhere.

    As index_select, whose own gradient adds where it could write, since places could be equal.
    """

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(places)
        ctx.total = len(rows)
        return rows.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        (places,) = ctx.saved_tensors
        return _write(gradient, places, ctx.total), None


class _Pad(torch.autograd.Function):
    """Rows at their places among `total`, 0 elsewhere."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, places: torch.Tensor, total: int) -> torch.Tensor:
        ctx.save_for_backward(places)
        return _write(rows, places, total)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        (places,) = ctx.saved_tensors
        return gradient.index_select(0, places), None, None


def _write(rows: torch.Tensor, places: torch.Tensor, total: int) -> torch.Tensor:
    return rows.new_zeros(total, *rows.shape[1:]).index_copy_(0, places, rows)
