"""The encoder as a torch module: a pretrained one that can see how words are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from spacy.util import logger
from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from gmb_ner.pipeline.packed_bert import can_pack, run_packed
from gmb_ner.pipeline.wordpieces import CASES

# A forked process, as of `nlp.pipe(n_process=2)`, has none of the threads that torch would wait
# for.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


class Encoder(torch.nn.Module):
    """A pretrained encoder whose input embeddings can say how a word is written.

    The case embeddings exist where the config says `case_embeddings`; zero at the start, they
    leave the pretrained encoder as it is. Weights are float32, whatever the checkpoint's are.

    packed: whether padding is left out; see `gmb_ner.pipeline.packed_bert`.
    """

    def __init__(self, transformer: PreTrainedModel) -> None:
        super().__init__()
        self.transformer = transformer
        self.packed = can_pack(transformer)
        self.case_embeddings: torch.nn.Embedding | None = None
        if getattr(transformer.config, "case_embeddings", False):
            self.add_case_embeddings()

    @classmethod
    def from_pretrained(cls, source: str, *, config: PretrainedConfig) -> "Encoder":
        """The weights of a checkpoint: all that the config asks for, perhaps not all there are.

        Raises ValueError for a config that asks for more, such as layers: transformers would
        begin them with random numbers. A pooler may be missing, as nothing reads it. How many
        weights of the checkpoint are left unread goes to spaCy's log.
        """
        # Its own message names each of them, and wonders whether that is expected.
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()
        try:
            model, found = AutoModel.from_pretrained(
                source, config=config, torch_dtype=torch.float32, output_loading_info=True
            )
        finally:
            logging.set_verbosity(verbosity)
        if missing := sorted(name for name in found["missing_keys"] if "pooler" not in name):
            raise ValueError(
                f"{source} has no weights for {missing[0]}"
                + (f" and {len(missing) - 1} more" if missing[1:] else "")
                + ": a setting of transformer_config, perhaps num_hidden_layers, asks for more "
                "than it has."
            )
        if unread := sorted(found["unexpected_keys"]):
            logger.warning(
                "%s: %d of its weights are not read, from %s to %s",
                source,
                len(unread),
                unread[0],
                unread[-1],
            )
        return cls(model)

    @classmethod
    def from_config(cls, config: PretrainedConfig) -> "Encoder":
        return cls(AutoModel.from_config(config, torch_dtype=torch.float32))

    def add_case_embeddings(self) -> None:
        """Add them, all zero, and say so in the config, with which they are saved and loaded."""
        words: Any = self.get_input_embeddings()
        width = words.weight.shape[1]
        self.case_embeddings = torch.nn.Embedding(len(CASES), width, device=self.device)
        torch.nn.init.zeros_(self.case_embeddings.weight)
        self.config.case_embeddings = True

    def get_input_embeddings(self) -> torch.nn.Module:
        """The embeddings of the pieces."""
        embeddings: torch.nn.Module = self.transformer.get_input_embeddings()
        return embeddings

    @property
    def config(self) -> PretrainedConfig:
        return self.transformer.config

    @property
    def device(self) -> torch.device:
        return self.transformer.device

    @property
    def max_pieces(self) -> float:
        """How many pieces it can read at once, special ones included; inf if it has no limit."""
        limit = getattr(self.config, "max_position_embeddings", None)
        embeddings = getattr(self.transformer, "embeddings", None)
        positions = getattr(embeddings, "position_embeddings", None)
        padding = getattr(positions, "padding_idx", None)
        if positions is not None and padding is not None:
            # As in RoBERTa, the first position is the one behind the padding's.
            return positions.num_embeddings - padding - 1
        return float("inf") if limit is None else limit

    def forward(
        self,
        input_ids: torch.Tensor,
        case_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        bfloat16: bool,
        places: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The last hidden state, (windows, pieces, width) float32, of (windows, pieces) inputs.

        places: see `gmb_ner.pipeline.packed_bert.run_packed`.
        """
        device = input_ids.device
        # The cache would keep the first copy of the weights for ever where a caller opened
        # autocast around the whole training.
        precision = torch.autocast(
            device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=False
        )
        with precision, without_cudnn_attention(device):
            if self.case_embeddings is None:
                inputs = {"input_ids": input_ids}
            else:
                words = self.get_input_embeddings()(input_ids)
                inputs = {"inputs_embeds": words + self.case_embeddings(case_ids)}
            if self.packed:
                embed: Any = self.transformer.embeddings
                hidden = embed(**inputs)
                return run_packed(self.transformer, hidden, attention_mask, places).float()
            output = self.transformer(**inputs, attention_mask=attention_mask)
        return output.last_hidden_state.float()


@contextmanager
def without_cudnn_attention(device: torch.device) -> Iterator[None]:
    """On a GPU, have torch choose another attention than cuDNN's for as long as the block lasts.

    torch prefers cuDNN's on some GPUs. It makes a plan for each new shape, and batches of text have
    many (pytorch/pytorch#155958): in the first epoch of a training on an H200 a sixth of the time
    went into calling it, its gradient not counted (py-spy). What it gains to leave it out was not
    measured yet. The choice is the whole process': another thread may undo it too early, which
    costs time alone.
    """
    if device.type != "cuda" or not torch.backends.cuda.cudnn_sdp_enabled():
        yield
        return
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(True)


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products are made in hardware there (elsewhere they are slower)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    # True also for CPUs that have AVX-512 but not its bfloat16, where it is emulated.
    supported = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    emulated = torch.cpu._is_avx512_supported() and not torch.cpu._is_avx512_bf16_supported()
    return supported and not emulated
