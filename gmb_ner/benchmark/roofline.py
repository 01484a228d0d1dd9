"""How far a pipeline is from the speed of its processor's matrix products."""

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer

from gmb_ner.training.hardware import matmul_flops


def operations_per_word(encoder: Path, texts: Sequence[str], words: int) -> float:
    """Floating point operations that a BERT-like encoder has to make for each word of some texts.

    encoder: its directory. texts: with so many words in all.
    Only products with weights are counted, two operations for each of them and each word piece:
    four of width by width and two of width by inner width in a layer. Special pieces, padding and
    context read twice are what a pipeline adds, and attention grows with the window.
    """
    config = AutoConfig.from_pretrained(encoder)
    width, inner = config.hidden_size, config.intermediate_size
    weights = config.num_hidden_layers * (4 * width * width + 2 * width * inner)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)
    pieces = sum(map(len, encoded["input_ids"]))
    return 2.0 * weights * pieces / words


def ceilings(gpu_id: int) -> dict[str, float]:
    """Measured operations a second of large matrix products, by precision."""
    return {
        precision: matmul_flops(gpu_id, half=precision == "bfloat16")
        for precision in ("float32", "bfloat16")
    }
