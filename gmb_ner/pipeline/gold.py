"""Gold tags of Examples, on the tokens of their predicted side."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.training import Example, biluo_to_iob

MISSING = -1

_PREFIXES = ("", "I", "O", "B")  # by the values of Token.ent_iob; at 0 nothing is known


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
    # Each label is looked up once.
    labels, label = np.unique(reference.to_array("ENT_TYPE"), return_inverse=True)
    names = [reference.vocab.strings[number] for number in labels.tolist()]
    indices = np.array(
        [
            [tags.get(prefix if prefix == "O" else f"{prefix}-{name}", MISSING) for name in names]
            for prefix in _PREFIXES
        ],
        dtype=np.int64,
    )
    indices[0] = MISSING
    found: NDArray[np.int64] = indices[reference.to_array("ENT_IOB"), label]
    return found
