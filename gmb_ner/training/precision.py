"""What encoders compute in; bfloat16 on CPUs for components that know it only on a GPU."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

STOCK = "spacy-transformers.TransformerModel.v3"


def training_precision(model: Mapping[str, Any] | None, gpu_id: int) -> str:
    """What the encoder of a config computes in while it is trained.

    model: the section `components.transformer.model`, None without encoder. gpu_id: -1 for the CPU.
    Returns "float32", "bfloat16" or, where thinc chooses by operation, "mixed".
    """
    if model is None:
        return "float32"
    if model["@architectures"] == STOCK:
        if gpu_id >= 0:
            return "mixed" if model.get("mixed_precision") else "float32"
        return "bfloat16" if cpu_has_bfloat16() else "float32"
    asked = str(model.get("precision", "float32"))
    if asked != "auto":
        return asked
    import torch

    from gmb_ner.pipeline.torch_encoder import has_bfloat16

    device = torch.device("cpu" if gpu_id < 0 else f"cuda:{gpu_id}")
    return "bfloat16" if has_bfloat16(device) else "float32"


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware (elsewhere autocast is slower)."""
    import torch

    from gmb_ner.pipeline.torch_encoder import has_bfloat16

    return has_bfloat16(torch.device("cpu"))


@contextmanager
def cpu_bfloat16() -> Iterator[None]:
    """Run Hugging Face encoders in bfloat16 autocast on the CPU, their outputs still float32.

    Weights, optimiser and everything after the encoder stay float32. thinc's own mixed precision
    switches autocast for CUDA alone, so the one for the CPU is entered around it.
    """
    import torch
    from torch.nn.modules.module import register_module_forward_hook
    from transformers import PreTrainedModel
    from transformers.file_utils import ModelOutput

    def widen(module: torch.nn.Module, inputs: Any, output: Any) -> Any:
        # NumPy, and so thinc on a CPU, has no bfloat16.
        if isinstance(module, PreTrainedModel) and isinstance(output, ModelOutput):
            for key, value in output.items():
                if isinstance(value, torch.Tensor) and value.dtype is torch.bfloat16:
                    output[key] = value.float()
        return output

    hook = register_module_forward_hook(widen)
    try:
        # No cache: it would keep the copies of the weights made at the first step for ever.
        with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
            yield
    finally:
        hook.remove()
