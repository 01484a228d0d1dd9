"""How far a pipeline is from its machine's limits: matrix products, and reading memory.

The model is that of S. Williams, A. Waterman and D. Patterson, "Roofline" (CACM 52/4, 2009).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from spacy.language import Language
from transformers import AutoTokenizer

from gmb_ner.benchmark.prediction_speed import Contestant, HuggingFace
from gmb_ner.pipeline.onnx_ner import OnnxNER
from gmb_ner.training.hardware import matmul_flops, turns_per_second

SECONDS = 0.5  # that a limit is measured
COPIED = 2**28  # bytes: more than caches hold


@dataclass(frozen=True)
class Work:
    """What an encoder has to do for each word, at least.

    operations: products and sums with its layers' weights. bytes: of these weights, once for each
        time that the encoder runs; what it reads beside them fits into caches.
    """

    operations: float
    bytes: float


def work(
    contestant: Contestant, texts: Sequence[str], words: int, *, batch_size: int, encoder: Path
) -> Work:
    """Count it while a pipeline reads texts with so many words in all.

    encoder: the directory of the tokenizer.
    """
    nlp = contestant.ready()
    with _counted_runs(nlp) as runs:
        for _ in nlp.pipe(texts, batch_size=batch_size):
            pass
    return Work(
        operations_per_piece(nlp) * pieces_per_word(encoder, texts, words),
        _weight_bytes(contestant) * len(runs) / words,
    )


@contextmanager
def _counted_runs(nlp: Language | HuggingFace) -> Iterator[list[None]]:
    """A list that gets an element whenever the encoder runs."""
    runs: list[None] = []
    graphs = _graphs(nlp)
    if graphs:
        (pipe,) = graphs
        graph: Any = pipe.encoder
        session = graph.session

        class Counting:
            def __getattr__(self, name: str) -> Any:
                return getattr(session, name)

            def run(self, *args: Any) -> Any:
                runs.append(None)
                return session.run(*args)

        graph.session = Counting()
        try:
            yield runs
        finally:
            graph.session = session
        return
    hook = _module(nlp).register_forward_pre_hook(lambda module, inputs: runs.append(None))
    try:
        yield runs
    finally:
        hook.remove()


def _graphs(nlp: Language | HuggingFace) -> list[OnnxNER]:
    pipeline = nlp.pipeline if isinstance(nlp, Language) else []
    return [pipe for _, pipe in pipeline if isinstance(pipe, OnnxNER)]


def _module(nlp: Language | HuggingFace) -> Any:
    """The torch module that is or holds the encoder."""
    if isinstance(nlp, HuggingFace):
        return nlp.classify.model
    transformer: Any = nlp.get_pipe("transformer")
    return transformer.model.transformer


def _weight_bytes(contestant: Contestant) -> int:
    """Of the weights that `operations_per_piece` counts, as they are multiplied.

    Other pipelines than exported ones have float32, or the bfloat16 that they are asked for.
    """
    graphs = _graphs(contestant.nlp)
    if graphs:
        return sum(count * size for pipe in graphs for count, size in _graph_weights(pipe.graph))
    size = 2 if contestant.precision == "bfloat16" else 4
    return _bert_weights(_module(contestant.nlp).config) * size


def operations_per_piece(nlp: Language | HuggingFace) -> float:
    """Floating point operations that a pipeline's encoder has to make for each word piece.

    Only products with the weights of its layers are counted, two operations for each weight: four
    products of width by width and two of width by inner width in a layer of BERT, or those of an
    exported graph, its tags' included. Attention grows with the window. That a graph's last layer
    goes on with the first pieces of words alone is not taken off.
    """
    graphs = _graphs(nlp)
    if graphs:
        return 2.0 * sum(count for pipe in graphs for count, _ in _graph_weights(pipe.graph))
    return 2.0 * _bert_weights(_module(nlp).config)


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


def _graph_weights(graph: bytes) -> list[tuple[int, int]]:
    """Of each matrix that a graph multiplies with, how many weights it has and their bytes each.

    Embeddings are looked up instead.
    """
    import onnx

    model = onnx.load_from_string(graph).graph
    multiplied = {
        name
        for node in model.node
        if any(kind in node.op_type for kind in ("MatMul", "Gemm", "Attention"))
        for name in node.input
    }
    return [
        (prod(weights.dims), onnx.helper.tensor_dtype_to_np_dtype(weights.data_type).itemsize)
        for weights in model.initializer
        if weights.name in multiplied and len(weights.dims) == 2
    ]


def ceilings(gpu_id: int) -> dict[str, float]:
    """Measured operations a second of large matrix products, by precision.

    That of 8-bit integers is onnxruntime's on the CPU, as it is there that exported pipelines run;
    it is left out where onnx or onnxruntime is missing.
    """
    found = {
        precision: matmul_flops(gpu_id, half=precision == "bfloat16")
        for precision in ("float32", "bfloat16")
    }
    if gpu_id < 0 and find_spec("onnx") and find_spec("onnxruntime"):
        found["int8"] = _int8_operations()
    return found


def _int8_operations(size: int = 1024) -> float:
    """Measured operations a second of square products of 8-bit integers, on all cores."""
    import onnx
    import onnxruntime

    table = np.ones((size, size), dtype=np.int8)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMulInteger", ["given", "weights"], ["product"])],
        "product",
        [onnx.helper.make_tensor_value_info("given", onnx.TensorProto.UINT8, [size, size])],
        [onnx.helper.make_tensor_value_info("product", onnx.TensorProto.INT32, [size, size])],
        [onnx.numpy_helper.from_array(table, "weights")],
    )
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    given = {"given": table.astype(np.uint8)}
    return 2 * size**3 * turns_per_second(lambda: session.run(None, given), SECONDS)


def memory_speed(gpu_id: int) -> float:
    """Measured bytes a second that are read and written where a large array is copied."""
    import torch

    device = f"cuda:{gpu_id}" if gpu_id >= 0 else "cpu"
    source = torch.ones(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        if gpu_id >= 0:
            torch.cuda.synchronize(gpu_id)

    return 2 * COPIED * turns_per_second(copy, SECONDS)
