"""The torch side of `gmb_ner.TransformerModel.v1`: encoder, its update, and the thinc model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from spacy.tokens import Doc
from spacy_transformers.data_classes import FullTransformerBatch, HFObjects, WordpieceBatch
from spacy_transformers.layers import split_trf_batch
from spacy_transformers.layers.hf_shim import HFShim
from spacy_transformers.layers.transformer_model import (
    TransformerModel,
    huggingface_from_pretrained,
    set_pytorch_transformer,
)
from thinc.api import Model, Optimizer, chain
from thinc.layers.pytorchwrapper import forward as pytorch_forward
from thinc.types import ArgsKwargs, Ragged
from thinc.util import xp2torch
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from gmb_ner.pipeline.wordpieces import CASES, EncodeWords, PieceBatch, WordPieces, bucket


class Encoder(torch.nn.Module):
    """A pretrained encoder whose input embeddings can say how a word is written.

    The case embeddings exist where the config says `case_embeddings`; zero at the start, they
    leave the pretrained encoder as it is. Weights are float32, whatever the checkpoint's are.
    """

    def __init__(self, transformer: PreTrainedModel) -> None:
        super().__init__()
        self.transformer = transformer
        self.case_embeddings: torch.nn.Embedding | None = None
        if getattr(transformer.config, "case_embeddings", False):
            self.add_case_embeddings()

    @classmethod
    def from_pretrained(cls, source: str, *, config: PretrainedConfig) -> "Encoder":
        return cls(AutoModel.from_pretrained(source, config=config, torch_dtype=torch.float32))

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
    ) -> torch.Tensor:
        """The last hidden state, (windows, pieces, width) float32, of (windows, pieces) inputs."""
        # The cache would keep the first copy of the weights for ever where a caller opened
        # autocast around the whole training.
        with torch.autocast(
            input_ids.device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=False
        ):
            if self.case_embeddings is None:
                inputs = {"input_ids": input_ids}
            else:
                words = self.get_input_embeddings()(input_ids)
                inputs = {"inputs_embeds": words + self.case_embeddings(case_ids)}
            output = self.transformer(**inputs, attention_mask=attention_mask)
        return output.last_hidden_state.float()


class EncoderShim(HFShim):
    """Saves and loads an `Encoder` as spacy-transformers does, and updates it in one fused step.

    thinc's optimizers take one parameter after the other; on a CPU that can last as long as a
    third of the training.

    learn_rate_factor: of the optimizer's learning rate.
    """

    learn_rate_factor = 1.0
    _stepped: tuple[Optimizer, Encoder] | None = None

    def finish_update(self, optimizer: Optimizer) -> None:
        """Take a step with the settings of a thinc optimizer: Adam(W), or as thinc would."""
        if optimizer.use_radam or not (optimizer.b1 > 0 and optimizer.b2 > 0):
            # Not by `lr_scale`, which thinc's RAdam does not heed.
            rate = optimizer.learn_rate
            optimizer.learn_rate = rate * self.learn_rate_factor
            super().finish_update(optimizer)
            optimizer.learn_rate = rate
            return
        parameters = [p for p in self._model.parameters() if p.grad is not None]
        if not parameters:
            return
        if optimizer.grad_clip:
            torch.nn.utils.clip_grad_norm_(parameters, optimizer.grad_clip)
        # Moments belong to one training of one encoder: another begins with new ones.
        if self._stepped != (optimizer, self._model):
            kind = torch.optim.AdamW if optimizer.L2_is_weight_decay else torch.optim.Adam
            self._steps = kind(self._model.parameters(), fused=True)
            self._stepped = (optimizer, self._model)
        for group in self._steps.param_groups:
            group["lr"] = optimizer.learn_rate * self.learn_rate_factor
            group["betas"] = (optimizer.b1, optimizer.b2)
            group["eps"] = optimizer.eps
            group["weight_decay"] = optimizer.L2
        self._steps.step()
        self._steps.zero_grad()
        if optimizer.averages is not None:
            self._average(optimizer.averages, parameters)

    def _average(self, averages: dict[Any, Any], parameters: list[torch.nn.Parameter]) -> None:
        """Bring the moving averages of parameters up to date, by the rule of thinc's own."""
        names = {id(p): name for name, p in self._model.named_parameters()}
        keys = [(self.id, names[id(p)]) for p in parameters]
        for key, p in zip(keys, parameters, strict=True):
            # thinc's begin with 0, and so count less than they should for some steps.
            averages.setdefault(key, p.detach().clone())
        updates = self._steps.state[parameters[0]]["step"].item()
        newest: list[torch.Tensor] = list(parameters)
        with torch.no_grad():
            torch._foreach_lerp_([averages[key] for key in keys], newest, 9 / (10 + updates))

    @contextmanager
    def use_params(self, params: dict[Any, Any]) -> Iterator[None]:
        """Take averaged parameters for as long as the block lasts."""
        # thinc's own looks for keys that its optimizers do not write.
        own = {n: p for n, p in self._model.named_parameters() if (self.id, n) in params}
        before = {name: p.detach().clone() for name, p in own.items()}
        try:
            with torch.no_grad():
                for name, p in own.items():
                    average = params[self.id, name]
                    # thinc keeps arrays, our own steps tensors.
                    is_tensor = isinstance(average, torch.Tensor)
                    p.copy_(average if is_tensor else xp2torch(average, device=p.device))
            yield
        finally:
            with torch.no_grad():
                for name, p in own.items():
                    p.copy_(before[name])


class WordTransformerModel(TransformerModel):
    """List[Doc] -> FullTransformerBatch; see `gmb_ner.pipeline.transformer`.

    settings: the arguments of the architecture, but for `name`.
    """

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        tokenizer_config = settings["tokenizer_config"]
        transformer_config = settings["transformer_config"]
        shim = EncoderShim(
            HFObjects(None, None, None, tokenizer_config, transformer_config),
            config_cls=AutoConfig,
            model_cls=Encoder,
        )
        shim.learn_rate_factor = settings["learn_rate_factor"]
        encoder: Model[PieceBatch, torch.Tensor] = Model(
            "encoder",
            pytorch_forward,
            attrs={
                "convert_inputs": _convert_inputs,
                "convert_outputs": _convert_outputs,
                "precision": "float32",
            },
            shims=[shim],
            dims={"nI": None, "nO": None},
        )
        Model.__init__(
            self,
            "transformer",
            _forward,
            init=_init,
            layers=[encoder],
            dims={"nO": None},
            attrs={
                "name": name,
                "set_transformer": set_pytorch_transformer,
                "has_transformer": False,
                "replace_listener": _replace_listener,
                "replace_listener_cfg": _replace_listener_cfg,
            },
        )
        self.settings = settings
        self._word_pieces: WordPieces | None = None
        self._vocabulary: list[str] = []
        self._tokenizer_in_use: Any = None

    @property
    def word_pieces(self) -> WordPieces:
        """What turns Docs into windows for the tokenizer at hand."""
        if self._word_pieces is None or self._tokenizer_in_use is not self.tokenizer:
            tokenizer = self.tokenizer
            self._word_pieces = WordPieces(
                encode_words_with(tokenizer),
                start_id=tokenizer.cls_token_id,
                end_id=tokenizer.sep_token_id,
                pad_id=tokenizer.pad_token_id,
                size=self.settings["window"],
                context=self.settings["context"],
            )
            self._vocabulary = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
            self._tokenizer_in_use = tokenizer
        return self._word_pieces

    def strings(self, batch: PieceBatch) -> list[list[str]]:
        """The pieces of a batch as text, padding included, as spacy-transformers keeps them."""
        self.word_pieces  # noqa: B018 (brings the vocabulary up to date)
        return [[self._vocabulary[piece] for piece in row] for row in batch.input_ids.tolist()]

    def copy(self) -> "WordTransformerModel":
        """A copy with weights of its own."""
        copied = WordTransformerModel(self.attrs["name"], self.settings)
        if self.attrs["has_transformer"]:
            copied.from_bytes(self.to_bytes())
        return copied


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


def encode_words_with(tokenizer: Any) -> EncodeWords:
    """A function from words to the ids of their pieces, by a Hugging Face tokenizer."""
    # Byte-level vocabularies know a word in a text by the space before it.
    prefix = " " if tokenizer.tokenize(" a") != tokenizer.tokenize("a") else ""

    def encode(words: list[str]) -> list[list[int]]:
        encoded = tokenizer(
            [prefix + word for word in words],
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    return encode


def _init(model: WordTransformerModel, X: Any = None, Y: Any = None) -> None:
    if model.attrs["has_transformer"]:
        return
    name = model.attrs["name"]
    loaded = huggingface_from_pretrained(
        name,
        dict(model._init_tokenizer_config),
        dict(model._init_transformer_config),
        model_cls=Encoder,
    )
    tokenizer, window = loaded.tokenizer, model.settings["window"]
    if None in (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id):
        raise ValueError(
            f"The tokenizer of {name} has no special pieces for start, end and padding: take an "
            "encoder such as BERT or RoBERTa."
        )
    limit = min(tokenizer.model_max_length, loaded.transformer.max_pieces)
    if window > limit:
        raise ValueError(
            f"{name} reads at most {limit} pieces at once: set window, now {window}, to that or "
            "less."
        )
    if model.settings["case_embeddings"]:
        # A config takes no setting that its checkpoint does not know.
        loaded.transformer.add_case_embeddings()
    model.attrs["set_transformer"](model, loaded)


def _forward(
    model: WordTransformerModel, docs: list[Doc], is_train: bool
) -> tuple[FullTransformerBatch, Callable]:
    encoder = model.layers[0]
    batch = model.word_pieces(docs)
    width = model.get_dim("nO")
    hidden = torch.zeros((*batch.input_ids.shape, width), device=model.transformer.device)
    backprops = []
    # Set anew each time: what is saved with a model would outlive an override at loading.
    name = "precision" if is_train else "inference_precision"
    encoder.attrs["precision"] = model.settings[name]
    if is_train:
        learned = not model.settings["freeze_embeddings"]
        model.transformer.get_input_embeddings().requires_grad_(learned)
    for index in bucket(batch.lengths, model.settings["max_batch_pieces"]):
        pieces = int(batch.lengths[index].max())
        part = PieceBatch(
            input_ids=batch.input_ids[index, :pieces],
            case_ids=batch.case_ids[index, :pieces],
            lengths=batch.lengths[index],
            windows=[],
            align_lengths=batch.align_lengths[:0],
            align=batch.align[:0],
        )
        output, backprop = encoder(part, is_train)
        rows = torch.from_numpy(index).to(hidden.device)
        hidden[rows, :pieces] = output.detach()
        backprops.append((rows, pieces, backprop))
    # thinc's and transformers' names for these types are narrower than what they take.
    input_ids: Any = batch.input_ids
    attention_mask: Any = batch.attention_mask.astype(np.float32)
    align: Any = batch.align.astype(np.int32)
    align_lengths: Any = batch.align_lengths.astype(np.int32)
    last_hidden_state: Any = hidden
    output = FullTransformerBatch(
        spans=[
            [doc[window.core_start : window.core_end] for window in windows]
            for doc, windows in zip(docs, batch.windows, strict=True)
        ],
        wordpieces=WordpieceBatch(
            strings=model.strings(batch),
            input_ids=input_ids,
            attention_mask=attention_mask,
            lengths=batch.lengths.tolist(),
            token_type_ids=None,
        ),
        model_output=BaseModelOutput(last_hidden_state=last_hidden_state),
        align=Ragged(align, align_lengths),
    )

    def backprop_windows(d_output: FullTransformerBatch) -> list[Doc]:
        (d_hidden,) = d_output.model_output.values()
        for rows, pieces, backprop in backprops:
            backprop(d_hidden[rows, :pieces])
        return docs

    return output, backprop_windows


def _convert_inputs(
    model: Model, batch: PieceBatch, is_train: bool
) -> tuple[ArgsKwargs, Callable[[Any], list]]:
    device = model.shims[0]._model.device
    precision = model.attrs["precision"]
    inputs = {
        "input_ids": torch.from_numpy(batch.input_ids).to(device),
        "case_ids": torch.from_numpy(batch.case_ids).to(device),
        # Some encoders calculate with it (DeBERTa-v2), which they cannot with booleans.
        "attention_mask": torch.from_numpy(batch.attention_mask).to(device, torch.int64),
        "bfloat16": precision == "bfloat16" or (precision == "auto" and has_bfloat16(device)),
    }
    return ArgsKwargs(args=(), kwargs=inputs), lambda d_inputs: []


def _convert_outputs(
    model: Model, inputs_outputs: tuple[Any, torch.Tensor], is_train: bool
) -> tuple[torch.Tensor, Callable[[torch.Tensor], ArgsKwargs]]:
    _, output = inputs_outputs

    def backprop(d_output: torch.Tensor) -> ArgsKwargs:
        return ArgsKwargs(args=((output,),), kwargs={"grad_tensors": (d_output,)})

    return output, backprop


def _replace_listener(model: WordTransformerModel) -> Model:
    return chain(model, split_trf_batch())


def _replace_listener_cfg(transformer: dict[str, Any], listener: dict[str, Any]) -> dict[str, Any]:
    return {
        **transformer,
        "@architectures": "gmb_ner.Tok2VecTransformer.v1",
        "pooling": listener["pooling"],
        "grad_factor": listener.get("grad_factor", 1.0),
    }
