"""Predictions for the words of all Docs in one array.

Models give an array for each Doc. To cut one into hundreds and join them again, layer after layer,
takes a GPU longer than what the layers calculate.
"""

from typing import Any

from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d


def predict_rows(model: Model[list[Doc], list[Floats2d]], docs: list[Doc]) -> Floats2d:
    """What `model.predict` gives for each Doc, one after the other: (words of all Docs, width).

    A layer with `attrs["predict_rows"]`, called like this function, is not asked for each Doc.
    """
    if "predict_rows" in model.attrs:
        rows: Floats2d = model.attrs["predict_rows"](model, docs)
        return rows
    parts: Any = model.predict(docs)
    return model.ops.flatten(parts)
