"""How far a pipeline is from the speed of its processor's matrix products."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from spacy.language import Language
from transformers import AutoTokenizer

from gmb_ner.benchmark.prediction_speed import HuggingFace
from gmb_ner.pipeline.onnx_ner import OnnxNER
from gmb_ner.training.hardware import matmul_flops


def operations_per_piece(nlp: Language | HuggingFace) -> float:
    """Floating point operations that a pipeline's encoder has to make for each word piece.

    Only products with the weights of its layers are counted, two operations for each weight: four
    products of width by width and two of width by inner width in a layer of BERT, or those of an
    exported graph, its tags' included. Attention grows with the window.
    """
    if isinstance(nlp, HuggingFace):
        return 2.0 * _bert_weights(nlp.classify.model.config)
    graphs = [pipe.graph for _, pipe in nlp.pipeline if isinstance(pipe, OnnxNER)]
    if graphs:
        return 2.0 * sum(map(_graph_weights, graphs))
    transformer: Any = nlp.get_pipe("transformer")
    return 2.0 * _bert_weights(transformer.model.transformer.config)


def pieces_per_word(encoder: Path, texts: Sequence[str], words: int) -> float:
    """Word pieces of each word of some texts; what a pipeline adds to them is not counted.

    encoder: the directory of the tokenizer. texts: with so many words in all.
    """
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)
    return sum(map(len, encoded["input_ids"])) / words


def _bert_weights(config: Any) -> int:
    width, inner = config.hidden_size, config.intermediate_size
    weights: int = config.num_hidden_layers * (4 * width * width + 2 * width * inner)
    return weights


def _graph_weights(graph: bytes) -> int:
    """Weights that a graph multiplies with; embeddings are looked up instead."""
    import onnx

    model = onnx.load_from_string(graph).graph
    multiplied = {
        name
        for node in model.node
        if any(kind in node.op_type for kind in ("MatMul", "Gemm", "Attention"))
        for name in node.input
    }
    return sum(
        prod(weights.dims)
        for weights in model.initializer
        if weights.name in multiplied and len(weights.dims) == 2
    )


def ceilings(gpu_id: int) -> dict[str, float]:
    """Measured operations a second of large matrix products, by precision."""
    return {
        precision: matmul_flops(gpu_id, half=precision == "bfloat16")
        for precision in ("float32", "bfloat16")
    }
