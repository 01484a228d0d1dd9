"""Sentences as spaCy Docs: consecutive sentences together, other parts' tokens left unannotated."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from gmb_ner.corpus.spacing import spaces
from gmb_ner.corpus.table import Sentence

MISSING = ""


def blocks(n_sentences: int, per_doc: int) -> list[int]:
    """The number of the Doc that each sentence goes to: `per_doc` consecutive ones share a Doc."""
    if per_doc < 1:
        raise ValueError(f"A Doc holds at least one sentence, not {per_doc}.")
    return [i // per_doc for i in range(n_sentences)]


def make_doc(vocab: Vocab, sentences: Sequence[Sentence], annotated: Sequence[bool]) -> Doc:
    """One Doc of consecutive sentences.

    sentences: with IOB2 tags, in order.
    annotated: for each sentence, whether its entities are given; where not, its tokens carry
        missing annotation: no loss, no score, but their text is context.
    RETURNS: a Doc with words, spaces, sentence starts and entities.
    """
    words: list[str] = []
    followed: list[bool] = []
    starts: list[bool | int | None] = []
    tags: list[str] = []
    for sentence, known in zip(sentences, annotated, strict=True):
        words.extend(sentence.words)
        followed.extend(spaces(sentence.words))
        starts.extend(i == 0 for i in range(len(sentence.words)))
        tags.extend(sentence.tags if known else [MISSING] * len(sentence.words))
    followed[-1] = False
    return Doc(vocab, words=words, spaces=followed, sent_starts=starts, ents=tags)


def part_docs(
    vocab: Vocab, sentences: Sequence[Sentence], parts: Sequence[str], part: str, per_doc: int
) -> Iterator[Doc]:
    """The Docs in which at least one sentence belongs to `part`, in file order."""
    for start in range(0, len(sentences), per_doc):
        annotated = [p == part for p in parts[start : start + per_doc]]
        if any(annotated):
            yield make_doc(vocab, sentences[start : start + per_doc], annotated)


def annotated_sentences(doc: Doc) -> Iterator[Doc]:
    """Each sentence of a Doc that has annotation, as a Doc of its own.

    Where no sentence starts are set, the Doc is one sentence.
    """
    for sentence in doc.sents if doc.has_annotation("SENT_START") else [doc[:]]:
        if any(token.ent_iob_ for token in sentence):
            yield sentence.as_doc()


def annotated_runs(annotated: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Start and end (exclusive) of the longest stretches of annotated tokens."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], annotated, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def write_docbin(docs: Iterable[Doc], path: Path) -> int:
    """Write Docs as a DocBin and return how many; the same Docs give the same bytes."""
    docbin = DocBin(attrs=["ENT_IOB", "ENT_TYPE", "SENT_START", "SPACY"])
    for doc in docs:
        docbin.add(doc)
    docbin.to_disk(path)
    return len(docbin)
