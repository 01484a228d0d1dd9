"""The thinc model of `gmb_ner.TransformerModel.v1`: Docs in, vectors of their pieces out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from spacy.tokens import Doc
from spacy_transformers.data_classes import (
    FullTransformerBatch,
    HFObjects,
    TransformerData,
    WordpieceBatch,
)
from spacy_transformers.layers import split_trf_batch
from spacy_transformers.layers.transformer_model import (
    TransformerModel,
    huggingface_from_pretrained,
    set_pytorch_transformer,
)
from thinc.api import Model, chain
from thinc.layers.pytorchwrapper import forward as pytorch_forward
from thinc.types import ArgsKwargs, Ragged
from thinc.util import torch2xp
from transformers import AutoConfig
from transformers.modeling_outputs import BaseModelOutput

from gmb_ner.pipeline.encoder_shim import EncoderShim
from gmb_ner.pipeline.listener import SharedOutput, SharedTransformerData
from gmb_ner.pipeline.torch_encoder import Encoder, has_bfloat16
from gmb_ner.pipeline.wordpieces import EncodeWords, Ints, PieceBatch, WordPieces, bucket

GPU_PIECES = 16_384  # read together, of which the launching of a layer takes a small part


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
        encoder: Model[EncoderBatch, torch.Tensor] = Model(
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
        self._word_pieces: dict[tuple[int, int], WordPieces] = {}
        self._vocabulary: list[str] = []
        self._tokenizer_in_use: Any = None

    def word_pieces(self, is_train: bool = False) -> WordPieces:
        """What turns Docs into windows for the tokenizer at hand."""
        if self._tokenizer_in_use is not self.tokenizer:
            tokenizer = self.tokenizer
            self._word_pieces = {}
            self._vocabulary = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
            self._tokenizer_in_use = tokenizer
        kind = "" if is_train else "inference_"
        windows = self.settings[f"{kind}window"], self.settings[f"{kind}context"]
        if windows not in self._word_pieces:
            self._word_pieces[windows] = WordPieces(
                encode_words_with(self.tokenizer),
                start_id=self.tokenizer.cls_token_id,
                end_id=self.tokenizer.sep_token_id,
                pad_id=self.tokenizer.pad_token_id,
                size=windows[0],
                context=windows[1],
            )
        return self._word_pieces[windows]

    def strings(self, batch: PieceBatch) -> "PieceStrings":
        """The pieces of a batch as text, padding included, as spacy-transformers keeps them."""
        self.word_pieces()  # brings the vocabulary up to date
        return PieceStrings(self._vocabulary, batch.input_ids)

    def copy(self) -> "WordTransformerModel":
        """A copy with weights of its own."""
        copied = WordTransformerModel(self.attrs["name"], self.settings)
        if self.attrs["has_transformer"]:
            copied.from_bytes(self.to_bytes())
        return copied


class PieceStrings(Sequence[list[str]]):
    """The text of the pieces of each window, made where it is asked for.

    vocabulary: the text of each piece. input_ids: (windows, pieces).
    """

    def __init__(self, vocabulary: list[str], input_ids: Ints) -> None:
        self.vocabulary, self.input_ids = vocabulary, input_ids

    def __len__(self) -> int:
        return len(self.input_ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    @overload
    def __getitem__(self, index: int) -> list[str]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[str]]: ...
    def __getitem__(self, index: int | slice) -> list[str] | list[list[str]]:
        if isinstance(index, slice):
            return [self[row] for row in range(len(self))[index]]
        return [self.vocabulary[piece] for piece in self.input_ids[index].tolist()]


def word_prefix(tokenizer: Any) -> str:
    """What a Hugging Face tokenizer needs before each word: a space, or nothing."""
    # Byte-level vocabularies know a word in a text by the space before it.
    return " " if tokenizer.tokenize(" a") != tokenizer.tokenize("a") else ""


def encode_words_with(tokenizer: Any) -> EncodeWords:
    """A function from words to the ids of their pieces, by a Hugging Face tokenizer."""
    prefix = word_prefix(tokenizer)

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
    tokenizer = loaded.tokenizer
    window = max(model.settings["window"], model.settings["inference_window"])
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
    batch = model.word_pieces(is_train)(docs)
    width = model.get_dim("nO")
    device = model.transformer.device
    hidden = torch.zeros((*batch.input_ids.shape, width), device=device)
    backprops = []
    # Set anew each time: what is saved with a model would outlive an override at loading.
    name = "precision" if is_train else "inference_precision"
    encoder.attrs["precision"] = model.settings[name]
    if is_train:
        learned = not model.settings["freeze_embeddings"]
        embeddings = model.transformer.get_input_embeddings()
        embeddings.requires_grad_(learned)
        embeddings.sparse = device.type == "cpu"  # see `EncoderShim`; not tried on a GPU
    at_once = _pieces_at_once(model.settings["max_batch_pieces"], device, is_train)
    for rows, part in _encoder_batches(batch, at_once, device):
        output, backprop = encoder(part, is_train)
        pieces = part.input_ids.shape[1]
        hidden[rows, :pieces] = output.detach()
        backprops.append((rows, pieces, backprop))
    # thinc's and transformers' names for these types are narrower than what they take.
    input_ids: Any = batch.input_ids
    strings: Any = model.strings(batch)
    attention_mask: Any = batch.attention_mask.astype(np.float32)
    align: Any = batch.align.astype(np.int32)
    align_lengths: Any = batch.align_lengths.astype(np.int32)
    last_hidden_state: Any = hidden
    wordpieces = WordpieceBatch(
        strings=strings,
        input_ids=input_ids,
        attention_mask=attention_mask,
        lengths=batch.lengths.tolist(),
        token_type_ids=None,
    )
    output = FullTransformerBatch(
        spans=[
            [doc[window.core_start : window.core_end] for window in windows]
            for doc, windows in zip(docs, batch.windows, strict=True)
        ],
        wordpieces=wordpieces,
        model_output=BaseModelOutput(last_hidden_state=last_hidden_state),
        align=Ragged(align, align_lengths),
        cached_doc_data=_split_by_doc(docs, batch, wordpieces, torch2xp(hidden)),
    )

    def backprop_windows(d_output: FullTransformerBatch) -> list[Doc]:
        (d_hidden,) = d_output.model_output.values()
        for rows, pieces, backprop in backprops:
            backprop(d_hidden[rows, :pieces])
        return docs

    return output, backprop_windows


@dataclass(frozen=True)
class EncoderBatch:
    """Windows that are read together, as tensors where the encoder is.

    input_ids, case_ids, attention_mask: (windows, pieces) int64.
    places: where there is no padding, in (windows * pieces,).
    """

    input_ids: torch.Tensor
    case_ids: torch.Tensor
    attention_mask: torch.Tensor
    places: torch.Tensor


def _encoder_batches(
    batch: PieceBatch, max_pieces: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, EncoderBatch]]:
    """Windows of similar length, and which of the batch they are."""
    buckets = [*bucket(batch.lengths, max_pieces)]
    if not buckets:
        return
    lengths = [batch.lengths[index] for index in buckets]
    places = [np.flatnonzero(np.arange(own.max()) < own[:, None]) for own in lengths]
    # All at once, before the encoder has anything to do: on a GPU what follows waits for it.
    ids, cases, order, place = (
        _to_device(array, device)
        for array in (
            batch.input_ids,
            batch.case_ids,
            np.concatenate(buckets),
            np.concatenate(places),
        )
    )
    # Some encoders calculate with it (DeBERTa-v2), which they cannot with booleans.
    mask = _to_device(batch.attention_mask, device).to(torch.int64)
    own_rows = order.split([*map(len, buckets)])
    own_places = place.split([*map(len, places)])
    for rows, own, length in zip(own_rows, own_places, lengths, strict=True):
        input_ids, case_ids, attention_mask = (
            whole[rows, : int(length.max())] for whole in (ids, cases, mask)
        )
        yield rows, EncoderBatch(input_ids, case_ids, attention_mask, own)


def _to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    # From other memory a copy waits until the GPU has done all that it was told before.
    return tensor.pin_memory().to(device, non_blocking=True)


def _pieces_at_once(max_pieces: int, device: torch.device, is_train: bool) -> int:
    """How many pieces are read together where up to `max_pieces` are in training.

    A GPU waits for each layer to be launched, which for a few thousand pieces takes longer than to
    read them. Without gradients four times as many need less memory than a step of training.
    """
    if is_train or device.type != "cuda":
        return max_pieces
    return max(max_pieces, min(4 * max_pieces, GPU_PIECES))


def _split_by_doc(
    docs: list[Doc], batch: PieceBatch, wordpieces: WordpieceBatch, hidden: Any
) -> list[TransformerData]:
    """What `FullTransformerBatch.split_by_doc` gives, which looks every token up by itself.

    hidden: (windows, pieces, width) in NumPy or CuPy.
    """
    shared = SharedOutput(
        wordpieces=wordpieces,
        hidden=hidden,
        align_lengths=batch.align_lengths.astype(np.int32),
        align=batch.align.astype(np.int32),
        window_starts=np.cumsum([0, *(len(windows) for windows in batch.windows)]),
        word_starts=np.cumsum([0, *(len(doc) for doc in docs)]),
    )
    return [
        SharedTransformerData(shared, i) if len(doc) else TransformerData.empty()
        for i, doc in enumerate(docs)
    ]


def _convert_inputs(
    model: Model, batch: EncoderBatch, is_train: bool
) -> tuple[ArgsKwargs, Callable[[Any], list]]:
    precision = model.attrs["precision"]
    device = batch.input_ids.device
    inputs = {
        "input_ids": batch.input_ids,
        "case_ids": batch.case_ids,
        "attention_mask": batch.attention_mask,
        "places": batch.places,
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
