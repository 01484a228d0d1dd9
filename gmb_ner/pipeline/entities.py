"""From tag scores to entities with confidences on Docs; the same for every recognizer."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc, Span
from thinc.util import is_cupy_array, to_numpy

from gmb_ner.pipeline.decoding import (
    constraints,
    decode_spans,
    forward_backward,
    span_probabilities,
    viterbi,
)
from gmb_ner.pipeline.gpu_decoding import decode_rows
from gmb_ner.pipeline.scorer import CONFIDENCES, confidence_group, confidence_places

ScoredSpan: TypeAlias = tuple[Span, float]
Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray, which share no type


def register_confidence() -> None:
    """Make `span._.confidence` known to spaCy; see `confidence`."""
    if not Span.has_extension("confidence"):
        Span.set_extension("confidence", getter=confidence)


def confidence(span: Span) -> float | None:
    """The confidence of an entity of `doc.ents`, in [0, 1]; None for other spans."""
    known = confidence_places(span.doc)
    if known is None:
        return None
    places, scores = known
    # They stand in order: to look at each, for each, takes seconds in a long text.
    i = int(np.searchsorted(places[:, 0], span.start_char))
    if i < len(places) and places[i].tolist() == [span.start_char, span.end_char, span.label]:
        return float(scores[i])
    return None


class Threshold:
    """An attribute of recognizers: entities with less confidence are left out.

    Setting it raises ValueError for what is no number in [0, 1].
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.place = f"_{name}"

    def __get__(self, pipe: Any, owner: type | None = None) -> float:
        value: float = getattr(pipe, self.place)
        return value

    def __set__(self, pipe: Any, value: float) -> None:
        if not (isinstance(value, Real) and 0 <= value <= 1):
            raise ValueError(f"threshold is a confidence in [0, 1], not {value!r}.")
        setattr(pipe, self.place, value)


def by_tag(labels: Sequence[str], values: Mapping[str, float], default: float) -> NDArray[Any]:
    """(tags,) float32: the values of the labels, of each for its B and its I.

    O and labels without a value have the default.
    """
    of_labels = [values.get(label, default) for label in labels for _ in "BI"]
    return np.array([default, *of_labels], dtype=np.float32)


def pad_rows(rows: Array, lengths: NDArray[np.integer]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The rows of all Docs, (words of all Docs, ...), as (Docs, words, ...), 0 beyond a Doc.

    lengths: (Docs,). Returns also (Docs, words), whether there is a word: `padded[inside]` are the
    rows again. All on the CPU: the steps of decoding from word to word wait for each other and
    have little to do each, so that a GPU spends ten times as long on launching them as a CPU on
    taking them.
    """
    rows = to_numpy(rows)
    inside = np.arange(lengths.max(initial=0)) < lengths[:, None]
    padded = np.zeros((*inside.shape, *rows.shape[1:]), dtype=rows.dtype)
    padded[inside] = rows
    return padded, inside


def find_entities(
    docs: Sequence[Doc],
    scores: Array,
    labels: Sequence[str],
    *,
    learned: Array = 0.0,
    temperature: float = 1.0,
    label_bias: Mapping[str, float] = {},
    threshold: float = 0.0,
) -> list[list[ScoredSpan]]:
    """The entities of each Doc's best tag sequence, in order, with their confidences.

    scores: (words of all Docs, tags), log probabilities up to a constant; tags as in
        `decoding.tag_names`.
    learned: (tags, tags) scores of transitions from row to column, where there are any.
    temperature: scores are divided by it.
    label_bias: added to the log probabilities (nats) of a label's tags where sequences are
        chosen, not where confidences are calculated.
    threshold: entities with less confidence are left out.

    A confidence is the probability that an entity with exactly these borders and this label stands
    there, among all tag sequences that IOB2 allows. Docs are not changed.
    """
    return begin_entities(
        docs,
        scores,
        labels,
        learned=learned,
        temperature=temperature,
        label_bias=label_bias,
        threshold=threshold,
    )()


def begin_entities(
    docs: Sequence[Doc],
    scores: Array,
    labels: Sequence[str],
    *,
    learned: Array,
    temperature: float,
    label_bias: Mapping[str, float],
    threshold: float,
) -> Callable[[], list[list[ScoredSpan]]]:
    """`find_entities` in two parts: a GPU begins, and what is returned waits for it."""
    if not any(len(doc) for doc in docs):
        return lambda: [[] for _ in docs]
    start, allowed = constraints(labels)
    transition = (allowed + learned) / temperature
    lengths = np.array([len(doc) for doc in docs])
    scores, bias = scores / temperature, by_tag(labels, label_bias, 0.0)
    begun = None
    if is_cupy_array(scores):
        begun = decode_rows(scores, bias, lengths, start, transition)

    def finish() -> list[list[ScoredSpan]]:
        decoded = begun() if begun else None
        if decoded is None:
            decoded = _decode(to_numpy(scores), bias, lengths, start, transition)
        found, probabilities = decoded
        entities: list[list[ScoredSpan]] = [[] for _ in docs]
        rows = zip(*(a.tolist() for a in (*found, probabilities)), strict=True)
        for i, first, end, tag, probability in rows:
            if probability >= threshold:
                label = labels[(tag - 1) // 2]
                entities[i].append((Span(docs[i], first, end, label=label), float(probability)))
        return entities

    return finish


def _decode(
    rows: NDArray[Any], bias: Array, lengths: NDArray[np.integer], start: Array, transition: Array
) -> tuple[tuple[Array, Array, Array, Array], Array]:
    """What `gpu_decoding.decode_rows` finds, in another order, by steps from word to word."""
    # In order of falling length, in which decoding has the least to do.
    order = np.argsort(-lengths, kind="stable")
    padded, _ = pad_rows(rows, lengths)
    padded, lengths = padded[order], lengths[order]
    found = decode_spans(viterbi(padded + bias, lengths, start, transition), lengths)
    lattice = forward_backward(padded, lengths, start, transition)
    batch, *places = found
    return (order[batch], *places), span_probabilities(lattice, *found)


def set_entities(doc: Doc, predicted: Sequence[ScoredSpan]) -> None:
    """Write `doc.ents` and, with the confidences, `doc.spans["ner"]`.

    Entities and blocked tokens that are there stay; such an entity has a confidence where the very
    same was predicted.
    """
    earlier, blocked = _annotated(doc)
    new, confident = predicted, predicted
    if earlier or blocked:
        taken = {token.i for span in (*earlier, *blocked) for token in span}
        known = {(span.start, span.end, span.label) for span in earlier}
        new = [pair for pair in predicted if taken.isdisjoint(range(pair[0].start, pair[0].end))]
        again = [pair for pair in predicted if (pair[0].start, pair[0].end, pair[0].label) in known]
        confident = sorted([*new, *again], key=lambda pair: pair[0].start)
    doc.set_ents([*earlier, *(span for span, _ in new)], blocked=blocked, default="outside")
    doc.spans[CONFIDENCES] = confidence_group(
        doc, [span for span, _ in confident], [score for _, score in confident]
    )


def _annotated(doc: Doc) -> tuple[list[Span], list[Span]]:
    """The entities of a Doc and its blocked tokens."""
    if not doc.has_annotation("ENT_IOB"):  # as most are, and asking for more takes longer
        return [], []
    # What `Doc.set_ents` blocks begins an entity without label.
    iob, label = doc.to_array(["ENT_IOB", "ENT_TYPE"]).reshape(-1, 2).T
    blocked = np.flatnonzero((iob == 3) & (label == 0)).tolist()
    return list(doc.ents), [doc[i : i + 1] for i in blocked]
