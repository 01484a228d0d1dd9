"""Models that score the tags of words: on an encoder, and several beside each other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import spacy
from spacy.tokens import Doc
from thinc.api import Dropout, Linear, Model, Relu, chain, with_array, zero_init
from thinc.types import Floats2d

from gmb_ner.pipeline.rows import predict_rows
from gmb_ner.pipeline.transitions import transitions as create_transitions

Tagger = Model[list[Doc], list[Floats2d]]


@spacy.registry.architectures("gmb_ner.LinearTagger.v1")
def create_linear_tagger(
    tok2vec: Tagger,
    hidden_width: int = 0,
    dropout: float = 0.1,
    transitions: bool = False,
    nO: int | None = None,
) -> Tagger:
    """Create the model: a linear layer on word vectors, (words, tags) scores for each Doc.

    tok2vec (Model[List[Doc], List[Floats2d]]): the vectors, usually a listener.
    hidden_width (int): of a layer of rectified units in between; 0 for none.
    dropout (float): of the vectors in training; `training.dropout` takes its place there.
    transitions (bool): learn scores of tags that follow each other as well, for the loss "crf".
    nO (int): tags, known from the data otherwise.
    """
    width = tok2vec.maybe_get_dim("nO")
    output: Model = chain(Dropout(dropout), Linear(nO, hidden_width or width, init_W=zero_init))
    if hidden_width:
        output = chain(Dropout(dropout), Relu(hidden_width, width), output)
    model: Tagger = chain(tok2vec, with_array(output))
    if transitions:
        learned = create_transitions(nO)
        model = chain(tok2vec, with_array(output), learned)
        model.set_ref("transitions", learned)
    model.set_ref("output", output)
    model.set_ref("tok2vec", tok2vec)
    model.attrs["predict_rows"] = _linear_rows
    return model


def _linear_rows(model: Tagger, docs: list[Doc]) -> Floats2d:
    vectors = predict_rows(model.get_ref("tok2vec"), docs)
    scores: Floats2d = model.get_ref("output").predict(vectors)
    return scores


@spacy.registry.architectures("gmb_ner.ExpertTaggers.v1")
def create_expert_taggers(*experts: Tagger) -> Tagger:
    """Create the model: taggers whose scores stand side by side, (words, experts * tags) a Doc.

    `linear_ner` gives each a loss of its own, so that none leans on what another knows, and
    multiplies their probabilities (a product of experts, Hinton 2002).

    Raises ValueError without any expert.
    """
    if not experts:
        raise ValueError("ExpertTaggers needs at least one section [model.*.NAME].")
    return Model(
        "expert_taggers",
        _forward_experts,
        init=_init_experts,
        layers=list(experts),
        attrs={"predict_rows": _expert_rows},
    )


def _init_experts(model: Tagger, X: Any = None, Y: Any = None) -> None:
    for layer in model.layers:
        layer.initialize(X=X, Y=Y)


def _expert_rows(model: Tagger, docs: list[Doc]) -> Floats2d:
    rows: Floats2d = model.ops.xp.hstack([predict_rows(layer, docs) for layer in model.layers])
    return rows


def _forward_experts(
    model: Tagger, docs: list[Doc], is_train: bool
) -> tuple[list[Floats2d], Callable]:
    outputs, backprops = zip(*(layer(docs, is_train) for layer in model.layers), strict=True)
    # All Docs at once: on a GPU each step costs the same for one word and for thousands.
    xp = model.ops.xp
    lengths: Any = np.array([len(doc) for doc in docs], dtype=np.int32)
    joined = xp.hstack([model.ops.flatten(parts) for parts in outputs])
    scores = model.ops.unflatten(joined, lengths)

    def backprop(d_scores: list[Floats2d]) -> list[Doc]:
        d_joined = model.ops.flatten(d_scores)
        d_experts = xp.split(d_joined, len(backprops), axis=1)
        for backprop_expert, d_expert in zip(backprops, d_experts, strict=True):
            d_expert = xp.ascontiguousarray(d_expert)
            backprop_expert(model.ops.unflatten(d_expert, lengths))
        return docs

    return scores, backprop
