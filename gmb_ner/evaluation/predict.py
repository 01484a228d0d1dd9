"""Run a pipeline over reference documents, from their tokens or from their text."""

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc

from gmb_ner.corpus.docs import annotated_sentences
from gmb_ner.evaluation.scored import is_scored
from gmb_ner.pipeline.loading import reads_sentences
from gmb_ner.pipeline.scorer import copy_entities

T = TypeVar("T")


def as_trained(nlp: Language, references: Iterable[Doc]) -> list[Doc]:
    """The scored Docs of a pipeline: as they are, or each annotated sentence by itself.

    What learned from single sentences and is fed several at a time loses some points, and some
    systems more than others: of a comparison it would say nothing.
    """
    kept = [doc for doc in references if is_scored(doc)]
    if not reads_sentences(nlp):
        return kept
    return [sentence for doc in kept for sentence in annotated_sentences(doc)]


class Stopwatch:
    """Adds up the time (seconds) that a stream takes to give its items, not what uses them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def time(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items and count the time spent waiting for them."""
        iterator = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - start
            yield item


def predict_gold_tokens(
    nlp: Language, references: Iterable[Doc], *, batch_size: int | None = None
) -> Iterator[Doc]:
    """Predict entities on the references' own tokens.

    Yields Docs with words, spaces and entities only: tensors are released along the way.
    """
    blank = (
        Doc(nlp.vocab, words=[t.text for t in ref], spaces=[bool(t.whitespace_) for t in ref])
        for ref in references
    )
    for doc in nlp.pipe(blank, batch_size=batch_size):
        yield copy_entities(doc)


def predict_raw_text(
    nlp: Language,
    references: Iterable[Doc],
    *,
    batch_size: int | None = None,
    stopwatch: Stopwatch | None = None,
) -> Iterator[Doc]:
    """Predict entities on the references' text, with the pipeline's own tokens.

    stopwatch: counts the time of tokenizing and predicting.

    Yields Docs like `predict_gold_tokens`.
    """
    stopwatch = stopwatch or Stopwatch()
    texts = (reference.text for reference in references)
    for doc in stopwatch.time(nlp.pipe(texts, batch_size=batch_size)):
        yield copy_entities(doc)


def seconds_per_text(
    nlp: Language, references: Iterable[Doc], limit: int = 100
) -> dict[str, float | int]:
    """How long the pipeline takes for one text alone, as in an app that waits for its answer.

    limit: the number of texts, the first ones; one more goes before and is not timed.

    Returns `texts`, and `median` and `p95` in seconds.
    """
    texts = [reference.text for reference in islice(references, limit)]
    nlp(texts[0])
    taken = []
    for text in texts:
        start = time.perf_counter()
        nlp(text)
        taken.append(time.perf_counter() - start)
    median, p95 = np.quantile(taken, (0.5, 0.95)).tolist()
    return {"texts": len(texts), "median": median, "p95": p95}
