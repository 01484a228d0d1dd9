"""Encoder and tag scores as an ONNX graph, traced: for encoders that no graph was written for.

onnxruntime's own tools fuse what it has one operator for, and turn products into those of 8-bit
integers, whose range is taken at run time.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

from gmb_ner.pipeline.onnx_graph import PADDED_INPUTS
from gmb_ner.pipeline.torch_encoder import Encoder

Floats: TypeAlias = NDArray[np.float32]
OPSET = 17


def write(source: Encoder, output: Sequence[tuple[Floats, Floats]], work: Path) -> bytes:
    """The graph in float32.

    output: weights (outputs, inputs) and biases of the layers that make tag scores, with ReLU
        between two. work: a folder for files on the way.
    """
    path = work / "traced.onnx"
    config = type(source.config).from_dict(source.config.to_dict())
    # The attention and the layers that the fusions below know.
    config._attn_implementation = "eager"
    encoder = Encoder.from_config(config)
    encoder.load_state_dict(source.state_dict())
    encoder.packed = False
    layers: list[torch.nn.Module] = []
    for weights, biases in output:
        linear = torch.nn.Linear(weights.shape[1], weights.shape[0])
        linear.weight.data, linear.bias.data = map(torch.from_numpy, (weights, biases))
        layers += [linear, torch.nn.ReLU()]

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            self.output = torch.nn.Sequential(*layers[:-1])

        def forward(self, input_ids: Any, case_ids: Any, attention_mask: Any) -> Any:
            return self.output(self.encoder(input_ids, case_ids, attention_mask, bfloat16=False))

    shape = (2, 8)
    example = tuple(torch.ones(shape, dtype=torch.int64) for _ in PADDED_INPUTS)
    axes = {name: {0: "windows", 1: "pieces"} for name in (*PADDED_INPUTS, "scores")}
    with warnings.catch_warnings():
        # This exporter is on its way out; the fusions do not know what the new one writes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Graph().eval(),
            example,
            str(path),
            input_names=list(PADDED_INPUTS),
            output_names=["scores"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    if config.model_type in ("bert", "roberta"):
        options = FusionOptions("bert")
        # As in `onnx_graph.DISABLED_OPTIMIZERS`.
        options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False
        fused = optimize_model(
            str(path),
            model_type="bert",
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
            optimization_options=options,
            opt_level=1,
        )
        fused.save_model_to_file(str(path))
    return path.read_bytes()


def quantize(graph: bytes, work: Path) -> bytes:
    """The same graph in 8-bit integers. work: a folder for files on the way."""
    given, inferred, small = (work / f"{name}.onnx" for name in ("given", "inferred", "small"))
    given.write_bytes(graph)
    quant_pre_process(given, inferred, skip_optimization=True, skip_symbolic_shape=True)
    quantize_dynamic(
        inferred,
        small,
        per_channel=True,
        weight_type=QuantType.QInt8,
        reduce_range=True,  # as of `bert_graph.MULTIPLIED`
        # onnx cannot infer the types that onnxruntime's own operators give.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    return small.read_bytes()
