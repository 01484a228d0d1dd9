"""A transformer for spacy-transformers' `transformer` component that reads words as words.

Stands where `spacy-transformers.TransformerModel.v3` does, for the same listeners. Importing this
module does not import torch; making the model does.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Model, chain
from thinc.types import Floats2d, Ragged

if TYPE_CHECKING:
    from spacy_transformers.layers.transformer_model import TransformerModel

PRECISIONS = ("auto", "float32", "bfloat16")


@spacy.registry.architectures("gmb_ner.TransformerModel.v1")
def create_transformer_model(
    name: str,
    window: int = 256,
    context: int = 48,
    inference_window: int = 0,
    inference_context: int = 0,
    case_embeddings: bool = False,
    precision: str = "auto",
    inference_precision: str = "float32",
    max_batch_pieces: int = 4096,
    learn_rate_factor: float = 1.0,
    freeze_embeddings: bool = False,
    tokenizer_config: dict[str, Any] = {},  # noqa: B006 (read only; thinc needs the default)
    transformer_config: dict[str, Any] = {},  # noqa: B006
) -> "TransformerModel":
    """Create the model: List[Doc] -> FullTransformerBatch, exactly aligned to the Docs' words.

    name (str): of a checkpoint on the hub, or its path. Encoders that take `inputs_embeds` and
        give `last_hidden_state` will do: BERT, MiniLM, RoBERTa, DeBERTa, ELECTRA, ...
    window (int): pieces that are read at once, both special ones included.
    context (int): pieces kept on either side of the words whose vectors a window of a longer Doc
        gives; see `gmb_ner.pipeline.wordpieces.split_windows`.
    inference_window, inference_context (int): the same for prediction, 0 for as in training. Short
        windows are faster, and no worse where the training Docs were short.
    case_embeddings (bool): add a learned embedding of how each word is written (see
        `wordpieces.CASES`) to its pieces' input embeddings, zero at the start. For checkpoints
        that lower-case their input.
    precision (str): "bfloat16" or "float32" arithmetic in training; "auto" takes bfloat16 where
        the CPU or GPU has it. Weights and output are float32 in any case.
    inference_precision (str): the same for prediction. float32 gives a text the same entities
        alone, in a batch and on any machine; bfloat16, up to 1.7 times as fast on a CPU that has
        it, on a GPU at times faster and at times slower, may not where two readings are nearly as
        probable.
    max_batch_pieces (int): windows of similar length are read together, up to so many pieces with
        padding. Less needs less memory. For prediction a GPU reads up to four times as many
        together, but no more than 16,384 unless the setting does.
    learn_rate_factor (float): of the optimizer's learning rate, for the encoder.
    freeze_embeddings (bool): leave the pretrained embeddings of the pieces as they are. They are
        half of a small encoder's weights and get few gradients each; a step without them is
        shorter. Case embeddings are learned all the same.
    tokenizer_config, transformer_config (dict): passed to the tokenizer and the checkpoint's
        config, as in spacy-transformers. attn_implementation "eager" trains faster in bfloat16 on
        a CPU, where the backward pass of torch's fused attention is slow; a pipeline that is
        loaded reads with the fused one again.

    In training the encoder's parameters take torch's fused AdamW step with the settings of the
    config's optimizer, and gradients are clipped by their common norm.
    Raises ValueError for settings that do not fit each other.
    """
    # Only now, as it brings torch.
    from gmb_ner.pipeline.torch_transformer import WordTransformerModel

    for given in (precision, inference_precision):
        if given not in PRECISIONS:
            raise ValueError(f"precision is {given!r}: choose one of {', '.join(PRECISIONS)}.")
    if not inference_window:
        inference_window, inference_context = window, context
    for pieces, around in ((window, context), (inference_window, inference_context)):
        if not 0 <= 2 * around < pieces - 2:
            raise ValueError(
                f"A window of {pieces} pieces has no room for {around} of context on both sides."
            )
    settings = {
        "window": window,
        "context": context,
        "inference_window": inference_window,
        "inference_context": inference_context,
        "case_embeddings": case_embeddings,
        "precision": precision,
        "inference_precision": inference_precision,
        "max_batch_pieces": max_batch_pieces,
        "learn_rate_factor": learn_rate_factor,
        "freeze_embeddings": freeze_embeddings,
        "tokenizer_config": dict(tokenizer_config),
        "transformer_config": dict(transformer_config),
    }
    return WordTransformerModel(name, settings)


@spacy.registry.architectures("gmb_ner.TransformerListener.v1")
def create_transformer_listener(
    pooling: Model[Ragged, Floats2d], grad_factor: float = 1.0, upstream: str = "*"
) -> Model[list[Doc], list[Floats2d]]:
    """Create a layer that takes its vectors from a transformer earlier in the pipeline.

    Stands where `spacy-transformers.TransformerListener.v1` does, with the same arguments and the
    same vectors, but pools the pieces of all Docs that were read together in one step.
    """
    # Only now, as it brings torch.
    from spacy_transformers.layers import TransformerListener

    from gmb_ner.pipeline.listener import pool_words, predict_word_rows

    listener = TransformerListener(upstream_name=upstream)
    model: Model[list[Doc], list[Floats2d]] = chain(listener, pool_words(pooling, grad_factor))
    model.set_ref("listener", listener)
    model.attrs["predict_rows"] = predict_word_rows
    return model


@Language.factory("trf_data_cleaner", assigns=["doc._.trf_data"])
def create_trf_data_cleaner(nlp: Language, name: str) -> Callable[[Doc], Doc]:
    """Create the last component, which lets the transformer's output go.

    A Doc that keeps it keeps that of all Docs which were read together. spaCy's `doc_cleaner` does
    not do, as it always sets `doc.tensor` to None too, which `doc.vector` cannot read (spaCy 3.8).
    Add components that listen to the transformer before it: later ones would read zeros.
    """
    return let_trf_data_go


def let_trf_data_go(doc: Doc) -> Doc:
    """Set `doc._.trf_data` to None, where there is one."""
    if doc.has_extension("trf_data"):
        doc._.trf_data = None
    return doc


@spacy.registry.architectures("gmb_ner.Tok2VecTransformer.v1")
def create_tok2vec_transformer(
    name: str,
    pooling: Model[Ragged, Floats2d],
    grad_factor: float = 1.0,
    window: int = 256,
    context: int = 48,
    inference_window: int = 0,
    inference_context: int = 0,
    case_embeddings: bool = False,
    precision: str = "auto",
    inference_precision: str = "float32",
    max_batch_pieces: int = 4096,
    learn_rate_factor: float = 1.0,
    freeze_embeddings: bool = False,
    tokenizer_config: dict[str, Any] = {},  # noqa: B006
    transformer_config: dict[str, Any] = {},  # noqa: B006
) -> Model[list[Doc], list[Floats2d]]:
    """Create the transformer as a layer of one component, which shares it with no other.

    pooling (Model[Ragged, Floats2d]), grad_factor (float): as of spacy-transformers' listener.
    The others: see `create_transformer_model`. `nlp.replace_listeners` puts this in a config.
    Gives one (words, width) float32 array for each Doc. Raises ValueError as that does.
    """
    # Only now, as it brings torch.
    from spacy_transformers.layers import split_trf_batch

    from gmb_ner.pipeline.listener import pool_words, predict_word_rows

    transformer = create_transformer_model(
        name,
        window=window,
        context=context,
        inference_window=inference_window,
        inference_context=inference_context,
        case_embeddings=case_embeddings,
        precision=precision,
        inference_precision=inference_precision,
        max_batch_pieces=max_batch_pieces,
        learn_rate_factor=learn_rate_factor,
        freeze_embeddings=freeze_embeddings,
        tokenizer_config=tokenizer_config,
        transformer_config=transformer_config,
    )
    # A chain of a chain, as a replaced listener leaves it: weights are loaded by structure.
    model: Model[list[Doc], list[Floats2d]] = chain(
        chain(transformer, split_trf_batch()), pool_words(pooling, grad_factor)
    )
    model.attrs["predict_rows"] = predict_word_rows
    return model
