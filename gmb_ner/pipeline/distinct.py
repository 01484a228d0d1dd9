"""The words of Docs, each once: what depends on a word alone is then done once a batch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc


def distinct_words(docs: Sequence[Doc]) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct words of Docs, and which of them each word is: (words of all Docs,) indices.

    Several times faster than to ask every token for its text.
    """
    # ORTH is a hash of the text, the same in every vocabulary.
    orths = [doc.to_array("ORTH") for doc in docs]
    if not sum(map(len, orths)):
        return [], np.zeros(0, dtype=np.int64)
    _, first, index = np.unique(np.concatenate(orths), return_index=True, return_inverse=True)
    ends = np.cumsum([len(doc) for doc in docs])
    owner = np.searchsorted(ends, first, side="right")
    begins = ends - [len(doc) for doc in docs]
    places = zip(owner.tolist(), (first - begins[owner]).tolist(), strict=True)
    return [docs[doc][token].text for doc, token in places], index
