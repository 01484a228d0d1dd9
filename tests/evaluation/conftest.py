from collections.abc import Callable

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup

from gmb_ner.evaluation.scored import ScoredDoc, scored_doc

Sentence = tuple[str, list[tuple[str, str]] | None]


@Language.component("confident")
def confident(doc: Doc) -> Doc:
    """Give the entities confidences: 0.5 for organizations, 0.96 for others."""
    scores = [0.5 if ent.label_ == "org" else 0.96 for ent in doc.ents]
    doc.spans["ner"] = SpanGroup(
        doc, name="ner", spans=doc.ents, attrs={"scores": np.array(scores)}
    )
    return doc


@pytest.fixture
def ruler() -> Language:
    """A pipeline that finds a few names and is wrong about others."""
    nlp = spacy.blank("en")
    patterns = {
        "geo": ["Iraq", "Baghdad", "Darfur"],
        "per": ["Bush", "Mr. Annan"],
        "org": ["United Nations", "Washington"],
    }
    nlp.add_pipe("entity_ruler").add_patterns(
        [{"label": label, "pattern": name} for label, names in patterns.items() for name in names]
    )
    return nlp


@pytest.fixture
def reference(ruler) -> Callable[..., Doc]:
    """Make a reference from sentences: text and (label, name) of its entities, None: missing."""

    def make(*sentences: Sentence) -> Doc:
        pieces = [ruler.make_doc(text) for text, _ in sentences]
        doc = Doc(
            ruler.vocab,
            words=[token.text for piece in pieces for token in piece],
            spaces=[
                bool(token.whitespace_) or token.i == len(piece) - 1
                for piece in pieces
                for token in piece
            ],
            sent_starts=[token.i == 0 for piece in pieces for token in piece],
        )
        ents, missing, offset = [], [], 0
        for piece, (text, names) in zip(pieces, sentences, strict=True):
            if names is None:
                missing.append(doc[offset : offset + len(piece)])
            for label, name in names or []:
                start = text.index(name)
                span = piece.char_span(start, start + len(name))
                ents.append(Span(doc, offset + span.start, offset + span.end, label=label))
            offset += len(piece)
        doc.set_ents(ents, missing=missing, default="outside")
        return doc

    return make


@pytest.fixture
def tagged(ruler) -> Callable[..., ScoredDoc]:
    """Make a ScoredDoc from sentences of "gold predicted" tags, an empty gold tag is missing."""

    def make(*sentences: list[tuple[str, str]]) -> ScoredDoc:
        tags = [pair for sentence in sentences for pair in sentence]
        starts = [i == 0 for sentence in sentences for i in range(len(sentence))]
        words = ["w"] * len(tags)
        gold = Doc(ruler.vocab, words, ents=[gold for gold, _ in tags], sent_starts=starts)
        return scored_doc(gold, Doc(ruler.vocab, words, ents=[pred for _, pred in tags]))

    return make
