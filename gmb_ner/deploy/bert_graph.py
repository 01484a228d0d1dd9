"""BERT and tag scores as an ONNX graph without padding, in float32 or in 8-bit integers.

Linear layers, activations and norms get the pieces of all windows in a row; attention alone sees
windows. The last layer goes on with those pieces whose scores are asked for.

In 8-bit integers, a matrix of weights has a scale for each column, and what it is multiplied with
has a range that was measured on texts. BERT's norms leave a few channels with ten times the range
of the others (Dettmers et al. 2022): there all channels are brought to one range first, and the
weights take the factors (SmoothQuant, Xiao et al. 2023).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from gmb_ner.pipeline.onnx_graph import MAX_PIECES, PACKED_INPUTS, OnnxGraph
from gmb_ner.pipeline.wordpieces import PieceBatch, bucket

Floats: TypeAlias = NDArray[np.float32]
# The lowest and the highest value of each channel, by the name of what is multiplied.
Ranges: TypeAlias = dict[str, tuple[Floats, Floats]]

OPSET = 23  # the first that has Attention; onnxruntime reads it from 1.23 on
# onnxruntime's own operators; 1.23, the last for Python 3.10, has these QuantizeLinear and
# DequantizeLinear alone.
CONTRIB = "com.microsoft"
# GELU by its definition, or by tanh.
ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
# In 8-bit integers, GELU(x) is x times the sigmoid of so many times x (Hendrycks and Gimpel 2016).
SHARPNESS = 1.702
# Other texts may have this many times the measured range.
HEADROOM = 1.2
# The smallest factor of a channel: one that stayed near 0 would otherwise be enlarged without
# limit, and cut off in other texts.
SMALLEST_SHARE = 1e-3
ATTENDING = ("query", "key", "value")
MASKED = -1e9  # added to a score of attention, it leaves a weight of exactly 0
# The largest weights that are looked up, and that are multiplied: x86 processors without VNNI add
# two products with unsigned 8-bit integers in 16 bits, and cut off what is more.
LOOKED_UP, MULTIPLIED = 127, 63
TINY = 1e-30  # instead of a scale of 0, where all is 0


@dataclass(frozen=True)
class Bert:
    """What the graph is made of.

    weights: of `gmb_ner.pipeline.torch_encoder.Encoder`, by their names in its state.
    output: weights (outputs, inputs) and biases of the layers that make tag scores of a hidden
        state, with ReLU between two.
    layers, heads: of the encoder. activation: one of `ACTIVATIONS`. epsilon: of its norms.
    """

    weights: Mapping[str, Floats]
    output: Sequence[tuple[Floats, Floats]]
    layers: int
    heads: int
    activation: str
    epsilon: float


def write(bert: Bert, ranges: Ranges | None = None) -> bytes:
    """An ONNX file as `gmb_ner.pipeline.onnx_graph` reads it; in 8-bit integers with ranges."""
    return _Writer(bert, ranges).write()


def measure(bert: Bert, batches: Iterable[PieceBatch]) -> Ranges:
    """The ranges of what is multiplied, over the pieces of batches (with one window at least)."""
    writer = _Writer(bert, measuring=True)
    graph = OnnxGraph(writer.write(), len(bert.output[-1][1]))
    ranges: Ranges = {}
    for batch in batches:
        for rows in bucket(batch.lengths, MAX_PIECES):
            mask = batch.attention_mask[rows, : batch.lengths[rows].max()]
            found = iter(graph.run(batch, rows, np.flatnonzero(mask), writer.measured))
            for name, low, high in zip(writer.multiplied, found, found, strict=True):
                before = ranges.get(name, (low, high))
                ranges[name] = np.minimum(low, before[0]), np.maximum(high, before[1])
    return ranges


@dataclass(frozen=True)
class _Factor:
    """What weights are multiplied with.

    name: of a float32 tensor, or of one of 8-bit integers that has a scale and a zero, by name.
    channels: (channels,) what the rows of the weights have to be multiplied with, if anything.
    """

    name: str
    scale: str = ""
    zero: str = ""
    channels: Floats | None = None


class _Writer:
    """Nodes and constants of one graph; methods return the name of what they add.

    measuring: whether the ranges of what is multiplied are outputs, see `measured`.
    """

    def __init__(self, bert: Bert, ranges: Ranges | None = None, measuring: bool = False) -> None:
        self.bert, self.ranges, self.measuring = bert, ranges, measuring
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.multiplied: list[str] = []

    @property
    def measured(self) -> list[str]:
        """The outputs beside the scores: lowest and highest values of what is multiplied."""
        ends = ("low", "high") if self.measuring else ()
        return [f"{name}.{end}" for name in self.multiplied for end in ends]

    def write(self) -> bytes:
        self._unpad()
        hidden = self._embed()
        for number in range(self.bert.layers):
            hidden = self._layer(hidden, number)
        for number, (weights, biases) in enumerate(self.bert.output):
            if number:
                hidden = self._node("Relu", hidden)
            matrix = self._constant(f"output.{number}.weight", weights.T)
            hidden = self._node(
                "Gemm", hidden, matrix, self._constant(f"output.{number}.bias", biases)
            )
        self._node("Identity", hidden, name="scores")
        return self._serialized()

    def _serialized(self) -> bytes:
        shapes = (["windows", "pieces"], ["windows", "pieces"], ["windows"], ["places"])
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, shape)
            for name, shape in zip(PACKED_INPUTS, shapes, strict=True)
            if name != "case_ids" or "case_embeddings.weight" in self.bert.weights
        ]
        results = [("scores", ["places", "tags"])]
        results += [(name, ["channels"]) for name in self.measured]
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in results
        ]
        constants = list(self.constants.values())
        graph = helper.make_graph(self.nodes, "bert", inputs, outputs, constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        version = helper.find_min_ir_version_for(opsets[:1])
        model = helper.make_model(graph, opset_imports=opsets, ir_version=version)
        content: bytes = model.SerializeToString()
        return content

    def _node(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def _integer(self, value: int) -> str:
        return self._constant(f"integer.{value}", np.array(value, dtype=np.int64))

    def _integers(self, *values: int) -> str:
        return self._constant(f"integers.{values}", np.array(values, dtype=np.int64))

    def _unpad(self) -> None:
        """Add what says where pieces stand.

        unpadded: (pieces of all windows,) their places in the flattened windows;
        steps: (pieces of all windows,) their positions in their windows;
        rows: (windows, pieces) which of them stands there, on padding the window's last once more,
            so that it adds nothing to ranges; rows.query, rows.key and rows.value the same where
            each of them has three rows;
        mask: (windows, 1, pieces, pieces) what is added to attention's scores.
        """
        shape = self._node("Shape", "input_ids")
        width = self._node("Gather", shape, self._integer(1))
        steps = self._node("Range", self._integer(0), width, self._integer(1))
        inside = self._node("Less", steps, self._node("Unsqueeze", "lengths", self._integers(1)))
        flat = self._node("Reshape", inside, self._integers(-1))
        self._node("Reshape", self._node("NonZero", flat), self._integers(-1), name="unpadded")
        self._node("Mod", "unpadded", width, name="steps")
        counted = self._node(
            "CumSum", self._node("Cast", flat, to=TensorProto.INT64), self._integer(0)
        )
        self._node("Reshape", self._node("Sub", counted, self._integer(1)), shape, name="rows")
        first = self._node("Mul", "rows", self._integer(len(ATTENDING)))
        for number, part in enumerate(ATTENDING):
            self._node("Add", first, self._integer(number), name=f"rows.{part}")
        bias = self._node(
            "Where",
            inside,
            self._constant("inside", np.zeros(1, dtype=np.float32)),
            self._constant("outside", np.full(1, MASKED, dtype=np.float32)),
        )
        bias = self._node("Unsqueeze", bias, self._integers(1, 2))
        wide = self._node("Unsqueeze", width, self._integers(0))
        square = self._node("Concat", self._integers(1, 1), wide, self._integers(1), axis=0)
        self._node("Expand", bias, square, name="mask")

    def _embed(self) -> str:
        """(pieces of all windows, width) input embeddings."""
        weights, prefix = self.bert.weights, "transformer.embeddings"
        everywhere = weights[f"{prefix}.token_type_embeddings.weight"][0]
        positions = weights[f"{prefix}.position_embeddings.weight"] + everywhere
        words = weights[f"{prefix}.word_embeddings.weight"]
        hidden = self._look_up("words", words, self._unpadded("input_ids"))
        cases = weights.get("case_embeddings.weight")
        if cases is not None:
            looked_up = self._look_up("cases", cases, self._unpadded("case_ids"))
            hidden = self._node("Add", hidden, looked_up)
        hidden = self._node("Add", hidden, self._look_up("positions", positions, "steps"))
        return self._norm(hidden, f"{prefix}.LayerNorm")

    def _unpadded(self, name: str) -> str:
        return self._node("Gather", self._node("Reshape", name, self._integers(-1)), "unpadded")

    def _look_up(self, name: str, table: Floats, index: str) -> str:
        if self.ranges is None:
            return self._node("Gather", self._constant(name, table), index)
        rounded, scale = _rounded(table, np.abs(table).max(), LOOKED_UP)
        small = self._node("Gather", self._constant(name, rounded), index)
        scales = self._constant(f"{name}.scale", scale)
        zero = self._constant(f"{name}.zero", np.zeros((), dtype=np.int8))
        return self._node("DequantizeLinear", small, scales, zero, domain=CONTRIB)

    def _layer(self, hidden: str, number: int) -> str:
        """(pieces, width) from hidden states to those of the next layer, or of the places."""
        own, prefix = f"layer.{number}", f"transformer.encoder.layer.{number}"
        factor = self._factor(f"{own}.hidden", hidden, evened=True)
        joined = self._product(factor, f"{prefix}.attention.self", ATTENDING)
        # A piece's query, key and value become rows of their own.
        width = self._integers(-1, len(self.bert.weights[f"{prefix}.output.dense.bias"]))
        joined = self._node("Reshape", joined, width)
        heads = [self._node("Gather", joined, f"rows.{part}") for part in ATTENDING]
        count = self.bert.heads
        context = self._node("Attention", *heads, "mask", q_num_heads=count, kv_num_heads=count)
        context = self._node("Reshape", context, width)
        places = "unpadded"
        if number == self.bert.layers - 1:
            places = "places"
            row = self._node("Gather", self._node("Reshape", "rows", self._integers(-1)), "places")
            hidden = self._node("Gather", hidden, row)
        # Rounded before, as there is less to gather then.
        factor = self._factor(f"{own}.context", context)
        factor = replace(factor, name=self._node("Gather", factor.name, places))
        attended = self._product(factor, f"{prefix}.attention.output.dense")
        attended = self._norm(
            self._node("Add", attended, hidden), f"{prefix}.attention.output.LayerNorm"
        )
        factor = self._factor(f"{own}.attended", attended, evened=True)
        dense = f"{prefix}.intermediate.dense"
        if self.ranges is None:
            approximate = ACTIVATIONS[self.bert.activation]
            inner = self._node("Gelu", self._product(factor, dense), approximate=approximate)
            factor = self._factor(f"{own}.inner", inner)
        else:
            # With an alpha of 1, where it is x times the sigmoid of x, the operator takes half of
            # the time; scales that are there anyway bring x in and the result back.
            inner = self._product(factor, dense, times=SHARPNESS)
            inner = self._node("QuickGelu", inner, domain=CONTRIB, alpha=1.0)
            factor = self._factor(f"{own}.inner", inner, times=SHARPNESS)
        outer = self._product(factor, f"{prefix}.output.dense")
        return self._norm(self._node("Add", outer, attended), f"{prefix}.output.LayerNorm")

    def _norm(self, hidden: str, name: str) -> str:
        weights = self.bert.weights
        return self._node(
            "LayerNormalization",
            hidden,
            self._constant(f"{name}.weight", weights[f"{name}.weight"]),
            self._constant(f"{name}.bias", weights[f"{name}.bias"]),
            axis=-1,
            epsilon=self.bert.epsilon,
        )

    def _factor(
        self, name: str, hidden: str, *, evened: bool = False, times: float = 1.0
    ) -> _Factor:
        """(rows, channels) to be multiplied, rounded to 8-bit integers if there are ranges.

        evened: whether the channels are brought to one range first. times: so many times what was
        measured stands there; weights are multiplied with what was measured.
        """
        self.multiplied.append(name)
        if self.measuring:
            axis = self._integers(0)
            self._node("ReduceMin", hidden, axis, name=f"{name}.low", keepdims=0)
            self._node("ReduceMax", hidden, axis, name=f"{name}.high", keepdims=0)
        if self.ranges is None:
            return _Factor(hidden)
        low, high = (HEADROOM * end for end in self.ranges[name])
        channels = None
        if evened:
            largest = np.maximum(np.abs(low), np.abs(high))
            share = largest / max(float(largest.max()), TINY)
            channels = np.maximum(share, SMALLEST_SHARE).astype(np.float32)
            low, high = low / channels, high / channels
            hidden = self._node("Mul", hidden, self._constant(f"{name}.even", 1 / channels))
        # 0 is one of the integers.
        lowest, highest = min(float(low.min()), 0.0), max(float(high.max()), 0.0)
        step = max((highest - lowest) / 255, TINY)
        scale = self._constant(f"{name}.scale", np.array(step, dtype=np.float32))
        zero = self._constant(f"{name}.zero", np.array(round(-lowest / step), dtype=np.uint8))
        wide = self._constant(f"{name}.wide", np.array(times * step, dtype=np.float32))
        rounded = self._node("QuantizeLinear", hidden, wide, zero, domain=CONTRIB)
        return _Factor(rounded, scale, zero, channels)

    def _product(
        self, factor: _Factor, name: str, parts: Sequence[str] = (), times: float = 1.0
    ) -> str:
        """(rows, outputs) of a linear layer, or one after the other those of its parts.

        times: so many times as much, in 8-bit integers.
        """
        layers = [f"{name}.{part}" for part in parts] or [name]
        weights = np.concatenate([self.bert.weights[f"{layer}.weight"] for layer in layers]).T
        biases = np.concatenate([self.bert.weights[f"{layer}.bias"] for layer in layers])
        bias = self._constant(f"{name}.bias", np.float32(times) * biases)
        if not factor.scale:
            matrix = self._constant(f"{name}.weight", weights)
            return self._node("Add", self._node("MatMul", factor.name, matrix), bias)
        if factor.channels is not None:
            weights = weights * factor.channels[:, None]
        rounded, scale = _rounded(weights, np.abs(weights).max(axis=0), MULTIPLIED)
        return self._node(
            "MatMulIntegerToFloat",
            factor.name,
            self._constant(f"{name}.weight", rounded),
            factor.scale,
            self._constant(f"{name}.scale", np.float32(times) * scale),
            factor.zero,
            self._constant(f"{name}.zero", np.zeros(len(scale), dtype=np.int8)),
            bias,
            domain=CONTRIB,
        )


def _rounded(
    weights: Floats, largest: NDArray[Any], integer: int
) -> tuple[NDArray[np.int8], Floats]:
    """8-bit integers and their scale, by which the largest weights become a given integer.

    weights: (rows, columns). largest: (columns,), or () for all of them; so is the scale.
    """
    scale = np.asarray(np.maximum(largest / integer, TINY), dtype=np.float32)
    return np.round(weights / scale).astype(np.int8), scale
