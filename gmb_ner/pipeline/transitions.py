"""A layer that learns how well each tag follows each other: what makes a tagger a CRF."""

from collections.abc import Callable
from typing import Any

from thinc.api import Model
from thinc.types import Floats2d
from thinc.util import get_width


def transitions(nO: int | None = None) -> Model[list[Floats2d], list[Floats2d]]:
    """Hand (words, tags) scores on and keep beside them (tags, tags) scores, from row to column.

    They begin as 0. `linear_ner` adds them to what IOB2 allows and gives them their gradient.
    """
    return Model("transitions", _forward, init=_init, dims={"nO": nO}, params={"T": None})


def _init(model: Model, X: Any = None, Y: Any = None) -> None:
    for sample in (Y, X):
        if model.has_dim("nO") is None and sample is not None:
            model.set_dim("nO", get_width(sample))
    tags = model.get_dim("nO")
    model.set_param("T", model.ops.alloc2f(tags, tags))


def _forward(
    model: Model, scores: list[Floats2d], is_train: bool
) -> tuple[list[Floats2d], Callable]:
    return scores, lambda d_scores: d_scores
