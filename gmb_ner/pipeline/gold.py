"""Gold tags of Examples, on the tokens of their predicted side."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.training import Example, biluo_to_iob

MISSING = -1

_IOB = {0: MISSING, 2: "O", 3: "B", 1: "I"}  # the values of Token.ent_iob


def gold_tags(example: Example, tags: Mapping[str, int]) -> NDArray[np.int64]:
    """(words of the predicted Doc,) the index of each gold tag, `MISSING` where it is not known.

    tags: index by name, IOB2. A token is not known if the reference has no annotation there, if
    the tokens of both sides do not align, or if its label is not among `tags`.
    """
    reference, predicted = example.reference, example.predicted
    if len(reference) == len(predicted) and np.array_equal(
        reference.to_array("ORTH"), predicted.to_array("ORTH")
    ):
        return _tags_of(reference, tags)
    aligned = example.get_aligned_ner()
    names = biluo_to_iob([tag or "-" for tag in aligned])
    return np.array([tags.get(name, MISSING) for name in names], dtype=np.int64)


def _tags_of(reference: Doc, tags: Mapping[str, int]) -> NDArray[np.int64]:
    annotation = reference.to_array(["ENT_IOB", "ENT_TYPE"]).astype(np.uint64)
    # There are few different pairs: each is looked up once.
    pairs, inverse = np.unique(annotation, axis=0, return_inverse=True)
    strings = reference.vocab.strings
    indices = []
    for iob, label in pairs.tolist():
        prefix = _IOB[iob]
        if prefix == MISSING:
            indices.append(MISSING)
        else:
            name = "O" if prefix == "O" else f"{prefix}-{strings[label]}"
            indices.append(tags.get(name, MISSING))
    return np.array(indices, dtype=np.int64)[inverse.ravel()]
