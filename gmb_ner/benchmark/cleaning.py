"""Label cleaning: annotation that a model of the other Docs surely contradicts is hidden.

After Wang et al. 2019 (CrossWeigh), with hiding in place of a lower weight. The model is the
lexical expert alone, which learns much faster than the encoder.
"""

from collections.abc import Sequence

import numpy as np
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import minibatch

from gmb_ner.pipeline.decoding import constraints, forward_backward, tag_marginals
from gmb_ner.pipeline.entities import pad_rows
from gmb_ner.pipeline.gold import gold_tags
from gmb_ner.pipeline.linear_ner import LinearNER
from gmb_ner.training.reader import MISSING, untagged_copy

FOLDS = 4
SURE = 0.95
EPOCHS = 2
BATCH_DOCS = 8

LEXICAL = {
    "loss": "crf",
    "model": {
        "@architectures": "gmb_ner.LexicalTagger.v1",
        "min_count": 4,
        "dropout": 0.5,
        "learn_rate": 0.1,
    },
}


def hide_doubtful(docs: Sequence[Doc], *, folds: int = FOLDS, sure: float = SURE) -> list[Doc]:
    """Copies of Docs in which doubtful tokens, and entities with one, have no annotation.

    A token is doubtful if a model trained on the other folds gives a tag other than its gold tag
    at least the probability `sure`. folds: every `folds`-th Doc belongs to the same.
    """
    labels = sorted({ent.label_ for doc in docs for ent in doc.ents})
    cleaned: dict[int, Doc] = {}
    for fold in range(folds):
        others = [doc for i, doc in enumerate(docs) if i % folds != fold]
        recognizer = _train(others, labels)
        for i in range(fold, len(docs), folds):
            cleaned[i] = _without(docs[i], doubtful(recognizer, docs[i], sure))
    return [cleaned[i] for i in range(len(docs))]


def doubtful(recognizer: LinearNER, doc: Doc, sure: float) -> np.ndarray:
    """(words,) bool, whether a tag other than the gold one has at least the probability `sure`."""
    example = Example(untagged_copy(doc), doc)
    tags = {tag: i for i, tag in enumerate(recognizer.tags)}
    gold = gold_tags(example, tags)
    lengths = np.array([len(doc)])
    scores, _ = pad_rows(recognizer.tag_scores([example.predicted]), lengths)
    lattice = forward_backward(scores, lengths, *constraints(recognizer.labels))
    marginals = tag_marginals(lattice)[0]
    contradicted: np.ndarray = (marginals.max(axis=1) >= sure) & (marginals.argmax(axis=1) != gold)
    return contradicted & (gold >= 0)


def _train(docs: Sequence[Doc], labels: Sequence[str]) -> LinearNER:
    nlp: Language = spacy.blank("en", vocab=docs[0].vocab)
    recognizer = nlp.add_pipe("linear_ner", config=LEXICAL)
    assert isinstance(recognizer, LinearNER)
    examples = [Example(untagged_copy(doc), doc) for doc in docs]
    recognizer.initialize(lambda: examples, labels=labels)
    optimizer = nlp.create_optimizer()
    shuffled = np.random.default_rng(0)
    for _ in range(EPOCHS):
        order = [examples[i] for i in shuffled.permutation(len(examples))]
        for batch in minibatch(order, BATCH_DOCS):
            nlp.update(batch, sgd=optimizer)
    return recognizer


def _without(doc: Doc, doubt: np.ndarray) -> Doc:
    hidden = doubt | (doc.to_array("ENT_IOB") == MISSING)
    kept = []
    for ent in doc.ents:
        if hidden[ent.start : ent.end].any():
            hidden[ent.start : ent.end] = True
        else:
            kept.append(ent)
    copy = doc.copy()
    copy.set_ents(
        [Span(copy, ent.start, ent.end, label=ent.label_) for ent in kept],
        missing=[copy[i : i + 1] for i in np.flatnonzero(hidden).tolist()],
        default="outside",
    )
    return copy
