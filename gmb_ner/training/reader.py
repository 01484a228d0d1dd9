"""The corpus reader of the configs: whole Docs, on the corpus' own tokens and on spaCy's."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import spacy
from spacy.attrs import DEP, ENT_IOB, HEAD, ORTH, SPACY
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example

from gmb_ner.corpus.docs import annotated_runs, annotated_sentences

MISSING = 0  # Token.ent_iob where nothing is known


@spacy.registry.readers("gmb_ner.DocReader.v1")
def create_doc_reader(
    path: Path,
    raw_share: float = 0.0,
    annotated_only: bool = False,
    limit: int = 0,
    sentences: bool = False,
    repeat: dict[str, int] = {},  # noqa: B006 (read only; thinc needs the default)
) -> Callable[[Language], Iterator[Example]]:
    """Read a DocBin as Examples; no annotated token is dropped, whatever the Doc's length.

    path (Path): a `.spacy` file.
    raw_share (float): the share of the Docs, evenly spread over the file, whose predicted side
        is tokenised from `doc.text` as at run time; the others keep the corpus' own tokens. A
        model that has seen both scores alike on both. In [0, 1].
    annotated_only (bool): one Example for each run of annotated sentences, without the sentences
        whose annotation is missing. Meant for training spaCy's `ner`, whose cost functions
        (spacy/pipeline/_parser_internals/ner.pyx) make every action free where annotation is
        missing, so that an entity opened there may run on into annotated words.
    limit (int): at most so many Docs of the file, 0 for all; so many sentences, if each is a Doc.
    sentences (bool): one Example for each sentence that has annotation. A pipeline that was trained
        so is scored so (`gmb_ner.evaluation.predict.as_trained`).
    repeat (Dict[str, int]): Docs with an entity of these labels come so many times a pass, so that
        rare labels are seen more often; where several apply, the highest counts.
    """
    if not 0 <= raw_share <= 1:
        raise ValueError(f"raw_share is a share between 0 and 1, not {raw_share}.")
    for label, times in repeat.items():
        if times < 1:
            raise ValueError(f"repeat has {times} for {label}: give how many times, at least 1.")

    def references(nlp: Language) -> Iterator[Doc]:
        docbin = DocBin().from_disk(path)
        docs = docbin.get_docs(nlp.vocab)
        # A head may stand outside of the part that is left of its sentence.
        attrs = [attr for attr in docbin.attrs if attr not in (HEAD, DEP)]
        if sentences:
            docs = (part for doc in docs for part in annotated_sentences(doc))
        for doc in islice(docs, limit or None):
            parts = _annotated_parts(doc, attrs) if annotated_only else [doc]
            for part in parts:
                times = max((repeat.get(ent.label_, 1) for ent in part.ents), default=1)
                for _ in range(times):
                    yield part

    def read(nlp: Language) -> Iterator[Example]:
        for i, reference in enumerate(references(nlp)):
            # The integer part grows by one each time another Doc is due, however odd the share.
            raw = int((i + 1) * raw_share) > int(i * raw_share)
            yield Example(
                nlp.make_doc(reference.text) if raw else untagged_copy(reference), reference
            )

    return read


def _annotated_parts(doc: Doc, attrs: Any) -> list[Doc]:
    """The Doc, or each run of it that has entity annotation, with some of its attributes.

    `Span.as_doc` would look for every attribute there is, which takes most of the reading.
    """
    annotated = doc.to_array(ENT_IOB) != MISSING
    if annotated.all():
        return [doc]
    values: Any = doc.to_array(attrs)
    return [
        untagged_copy(doc, start, end).from_array(attrs, values[start:end])
        for start, end in annotated_runs(annotated)
    ]


def untagged_copy(reference: Doc, start: int = 0, end: int | None = None) -> Doc:
    """A Doc with the same words and spaces, from `start` to before `end`, and nothing else."""
    words, spaces = reference.to_array([ORTH, SPACY])[start:end].reshape(-1, 2).T
    return Doc(reference.vocab, words=words.tolist(), spaces=spaces.astype(bool).tolist())
