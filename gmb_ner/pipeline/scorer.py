"""Strict entity scores for spaCy pipelines, with support, macro F and label maps."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import spacy
from numpy.typing import NDArray
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example

from gmb_ner.pipeline.labels import LabelMap, resolve_label_map

EntityScorer = Callable[..., dict[str, Any]]

CONFIDENCES = "ner"
"""Key in `doc.spans` of the predicted entities with their confidences.

As spaCy's spancat does it: the group holds the spans of `doc.ents` in order, and its
`attrs["scores"]` one float in 0..1 a span, the probability that exactly this span with this label
is right. Pipelines without confidences have no such group. `attrs["places"]`, where it is there,
has for each span its first character, the one after its last, and its label's number: numbers of
tokens change where tokens are merged or split.
"""


@spacy.registry.scorers("gmb_ner.entity_scorer.v1")
def make_entity_scorer(
    label_map: str | dict[str, str | None] | None = None,
) -> EntityScorer:
    """Create the scorer for `[components.ner.scorer]`.

    label_map: name of a shipped map ("identity", "onto", "conll"), or a map from label to label
        (None: left out), applied to gold and prediction alike.

    Raises InputError for a map that `resolve_label_map` refuses.
    """
    # No function of its own: a pipeline that other processes take over has to be picklable.
    return partial(_score, label_map=resolve_label_map(label_map))


def _score(examples: Iterable[Example], *, label_map: LabelMap, **kwargs: Any) -> dict[str, Any]:
    """What spaCy calls; it passes on settings of no use here."""
    return score_entities(examples, label_map)


def score_entities(
    examples: Iterable[Example], label_map: str | LabelMap | None = None
) -> dict[str, Any]:
    """Score the entities of examples: same label and same boundaries, or wrong.

    examples: predicted and reference Docs; any iterable, read once, so that it can be a stream.
    label_map: see `make_entity_scorer`.

    Precision, recall and F are `spacy.scorer.get_ner_prf`'s, so missing annotation is treated as
    there: references without any are skipped, and predictions that touch a token without
    annotation count neither as right nor as wrong.

    Returns ents_p, ents_r, ents_f (micro, 0..1), ents_per_type (label -> p, r, f and support, the
    number of gold entities scored) and macro_f, the mean F of the labels with support. A label
    that was only predicted is listed with support 0 and weighs on the micro scores, but stays out
    of macro_f: its F cannot be other than 0, so that a single stray prediction would cost as much
    as failing a whole label. One that was only predicted where nothing counts is not listed. All
    values are None where there is neither gold nor prediction.
    """
    support: Counter[str] = Counter()
    predicted: set[str] = set()

    def counted() -> Iterator[Example]:
        for example in relabel(examples, label_map):
            if example.reference.has_annotation("ENT_IOB"):
                support.update(ent.label_ for ent in example.reference.ents)
                predicted.update(_counted_predictions(example))
            yield example

    scores: dict[str, Any] = get_ner_prf(counted())
    per_type: dict[str, dict[str, float]] | None = scores["ents_per_type"]
    if per_type is None:
        return {**scores, "macro_f": None}
    with_support = {
        label: {**prf, "support": support[label]}
        for label, prf in per_type.items()
        if label in support or label in predicted
    }
    scores["ents_per_type"] = dict(sorted(with_support.items()))
    f_scores = [prf["f"] for prf in with_support.values() if prf["support"]]
    scores["macro_f"] = sum(f_scores) / len(f_scores) if f_scores else 0.0
    return scores


def _counted_predictions(example: Example) -> Iterator[str]:
    """The labels of the predictions that `get_ner_prf` counts; it lists those of all others too."""
    aligned = example.alignment.x2y
    for ent in example.predicted.ents:
        indices = aligned[ent.start : ent.end]
        if len(indices) and all(
            token.ent_iob for token in example.reference[indices[0] : indices[-1] + 1]
        ):
            yield ent.label_


def relabel(
    examples: Iterable[Example], label_map: str | LabelMap | None = None
) -> Iterator[Example]:
    """Yield the examples with their labels mapped, on copies; untouched ones as they are.

    A span whose label maps to None becomes ordinary text (O), on both sides; tokens without
    annotation stay without. Raises InputError like `resolve_label_map`.
    """
    changes = resolve_label_map(label_map)
    for example in examples:
        docs = (example.predicted, example.reference)
        if any(ent.label_ in changes for doc in docs for ent in doc.ents):
            predicted, reference = (copy_entities(doc, changes) for doc in docs)
            yield Example(predicted, reference)
        else:
            yield example


def confidence_group(doc: Doc, spans: Sequence[Span], confidences: Sequence[float]) -> SpanGroup:
    """The group of these spans with their confidences, see `CONFIDENCES`."""
    places = [(span.start_char, span.end_char, span.label) for span in spans]
    attrs = {
        "scores": np.array(confidences, dtype=np.float64),
        "places": np.array(places, dtype=np.uint64).reshape(-1, 3),
    }
    return SpanGroup(doc, name=CONFIDENCES, spans=spans, attrs=attrs)


def confidence_places(doc: Doc) -> tuple[NDArray[np.uint64], Any] | None:
    """Where the spans with confidences are, (spans, 3) as in `CONFIDENCES`, and these; or None."""
    group = doc.spans.get(CONFIDENCES)
    if group is None or "scores" not in group.attrs:
        return None
    places = group.attrs.get("places")
    if places is None:  # made by others
        spans = [(span.start_char, span.end_char, span.label) for span in group]
        places = np.array(spans, dtype=np.uint64).reshape(-1, 3)
    return places, group.attrs["scores"]


def copy_entities(doc: Doc, changes: Mapping[str, str | None] | None = None) -> Doc:
    """A new Doc with the words, spaces and entities of `doc`, and nothing else.

    Confidences (`CONFIDENCES`) count as part of the entities, where the pipeline gave them.
    Unlike `Doc.copy` it leaves tensors and transformer output behind, so that copies can be
    kept while the originals are released.

    changes: label -> label, or None to leave its spans out (their tokens become O), along with
        their confidences; renamed spans keep theirs.
    """
    changes = changes or {}
    copy = Doc(doc.vocab, words=[t.text for t in doc], spaces=[bool(t.whitespace_) for t in doc])

    def transfer(span: Span) -> Span | None:
        label = changes.get(span.label_, span.label_)
        return Span(copy, span.start, span.end, label=label) if label else None

    missing = [copy[token.i : token.i + 1] for token in doc if token.ent_iob == 0]
    ents = [ent for ent in map(transfer, doc.ents) if ent is not None]
    copy.set_ents(ents, missing=missing, default="outside")
    # Not of `ents`: a later component may have changed doc.ents, and the scores belong to the spans
    # they were given for; those are left out whose borders are no tokens' any more.
    if (known := confidence_places(doc)) is not None:
        kept = []
        for (start, end, label), score in zip(known[0].tolist(), known[1], strict=True):
            name = doc.vocab.strings[label]
            name = changes.get(name, name)
            span = copy.char_span(start, end, label=name) if name else None
            if span is not None:
                kept.append((span, float(score)))
        copy.spans[CONFIDENCES] = confidence_group(
            copy, [span for span, _ in kept], [score for _, score in kept]
        )
    return copy
