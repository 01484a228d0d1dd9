"""The corpus reader of the configs: whole Docs, on the corpus' own tokens and on spaCy's."""

from collections.abc import Callable, Iterator
from pathlib import Path

import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example


@spacy.registry.readers("gmb_ner.DocReader.v1")
def create_doc_reader(
    path: Path, raw_share: float = 0.0, limit: int = 0
) -> Callable[[Language], Iterator[Example]]:
    """Read a DocBin as Examples; no Doc is dropped or cut, whatever its length.

    path (Path): a `.spacy` file.
    raw_share (float): the share of the Docs, evenly spread over the file, whose predicted side
        is tokenised from `doc.text` as at run time; the others keep the corpus' own tokens. A
        model that has seen both scores alike on both. In [0, 1].
    limit (int): at most so many Docs, 0 for all.
    """
    if not 0 <= raw_share <= 1:
        raise ValueError(f"raw_share is a share between 0 and 1, not {raw_share}.")

    def read(nlp: Language) -> Iterator[Example]:
        for i, reference in enumerate(DocBin().from_disk(path).get_docs(nlp.vocab)):
            if limit and i >= limit:
                break
            # The integer part grows by one each time another Doc is due, however odd the share.
            raw = int((i + 1) * raw_share) > int(i * raw_share)
            yield Example(
                nlp.make_doc(reference.text) if raw else untagged_copy(reference), reference
            )

    return read


def untagged_copy(reference: Doc) -> Doc:
    """A Doc with the same words and spaces and nothing else."""
    return Doc(
        reference.vocab,
        words=[token.text for token in reference],
        spaces=[bool(token.whitespace_) for token in reference],
    )
