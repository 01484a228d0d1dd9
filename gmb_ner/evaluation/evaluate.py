"""Evaluate a pipeline on reference documents: two passes, all figures."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from tqdm import tqdm

from gmb_ner.errors import InputError
from gmb_ner.evaluation.calibration import calibration
from gmb_ner.evaluation.errors import confusion_table, error_kinds
from gmb_ner.evaluation.intervals import bootstrap_interval
from gmb_ner.evaluation.predict import (
    Stopwatch,
    as_trained,
    predict_gold_tokens,
    predict_raw_text,
    seconds_per_text,
)
from gmb_ner.evaluation.report import classification_report
from gmb_ner.evaluation.scored import ScoredDoc, only_label, scored_doc
from gmb_ner.evaluation.scores import (
    sentence_counts,
    strict_scores,
    token_f_by_label,
    token_f_without_o,
)
from gmb_ner.pipeline.labels import LabelMap, resolve_label_map
from gmb_ner.pipeline.loading import reads_sentences
from gmb_ner.pipeline.scorer import relabel, score_entities

SAMPLE_NOTE = (
    "SAMPLE: measured on the small built-in sample, not on the corpus; "
    "the figures say nothing about quality."
)


def evaluate(
    nlp: Language,
    docs: Iterable[Doc],
    *,
    corpus: str = "",
    protocol: str = "",
    config: str = "",
    seed: int | None = None,
    device: str = "",
    label_map: str | LabelMap | None = None,
    batch_size: int | None = None,
    progress: bool = False,
    scored: list[ScoredDoc] | None = None,
    predicted: list[Doc] | None = None,
) -> dict[str, Any]:
    """Score a pipeline's entities on gold tokens and from raw text.

    docs: references of consecutive sentences with sentence starts and spaces. Tokens without
        entity annotation (`ent_iob == 0`) are context: they are predicted on, but not scored,
        and a prediction that touches them is ignored. Documents without any annotation are
        skipped. A pipeline that was trained on single sentences gets the annotated ones one by one
        (`gmb_ner.evaluation.predict.as_trained`).
    corpus, protocol, config, seed, device: what is evaluated and on what, passed on to the result.
    label_map: renames gold and prediction alike, see `gmb_ner.pipeline.labels`.
    batch_size: documents a batch; the pipeline's own by default.
    progress: show a progress bar on terminals.
    scored, predicted: empty lists, which get what was scored on gold tokens and the Docs with its
        predictions, for figures of one's own.

    Returns a dict ready for JSON; scores are fractions (0..1), None where undefined:
        corpus, protocol, config, seed, device, label_map (and `note` for the sample);
        single_sentences: whether each sentence was read by itself, as in the pipeline's training;
        counts: documents, sentences, words and entities that are scored;
        gold_tokens, raw_text: ents_p, ents_r, ents_f, ents_per_type (with support), macro_f, as
            `gmb_ner.pipeline.scorer.score_entities` defines them;
        token_f_without_o, token_f_by_label: see `gmb_ner.evaluation.scores`, on gold tokens;
        interval95: [low, high] of ents_f on gold tokens, bootstrap over sentences;
        interval95_by_label: the same of each label;
        words_per_second: gold tokens of the documents by the time they take from raw text;
        seconds_per_text: of one text alone, see `gmb_ner.evaluation.predict`;
        confusion (gold label -> predicted label -> count) and error_kinds, on gold tokens: see
            `gmb_ner.evaluation.errors`;
        calibration: what the confidences of the entities are worth, on gold tokens: see
            `gmb_ner.evaluation.calibration`; None for pipelines that give none;
        classification_report: seqeval's, as text.
    Raises InputError if nothing is annotated or the label map is refused.
    """
    changes = resolve_label_map(label_map)
    references = as_trained(nlp, docs)
    if not references:
        raise InputError("The documents have no entity annotation, so nothing can be scored.")
    stopwatch = Stopwatch()
    from_tokens = predict_gold_tokens(nlp, references, batch_size=batch_size)
    from_text = predict_raw_text(nlp, references, batch_size=batch_size, stopwatch=stopwatch)
    scored = [] if scored is None else scored

    def bar(predictions: Iterator[Doc], title: str) -> Iterable[Doc]:
        # `disable=None` hides the bar where the output is not a terminal.
        return tqdm(
            predictions, title, len(references), leave=False, disable=None if progress else True
        )

    def kept() -> Iterator[Example]:
        pairs = zip(references, bar(from_tokens, "gold tokens"), strict=True)
        for example in relabel((Example(doc, ref) for ref, doc in pairs), changes):
            scored.append(scored_doc(example.reference, example.predicted))
            if predicted is not None:
                predicted.append(example.predicted)
            yield example

    gold_tokens = score_entities(kept())
    raw_text = strict_scores(references, bar(from_text, "raw text"), changes)
    note = {"note": SAMPLE_NOTE} if corpus == "sample" else {}
    return {
        "corpus": corpus,
        **note,
        "protocol": protocol,
        "config": config,
        "seed": seed,
        "device": device,
        "label_map": label_map if label_map is None or isinstance(label_map, str) else changes,
        "single_sentences": reads_sentences(nlp),
        "counts": _counts(scored),
        "gold_tokens": gold_tokens,
        "raw_text": raw_text,
        "token_f_without_o": token_f_without_o(scored),
        "token_f_by_label": token_f_by_label(scored),
        "interval95": list(bootstrap_interval(sentence_counts(scored))),
        "interval95_by_label": _intervals_by_label(scored),
        "words_per_second": sum(len(doc) for doc in references) / stopwatch.seconds,
        "seconds_per_text": seconds_per_text(nlp, references),
        "confusion": confusion_table(scored).to_dict(orient="index"),
        "error_kinds": error_kinds(scored),
        "calibration": calibration(scored),
        "classification_report": classification_report(scored),
    }


def _intervals_by_label(scored: Sequence[ScoredDoc]) -> dict[str, list[float]]:
    labels = {label for doc in scored for *_, label in (*doc.gold, *doc.predicted)}
    return {
        label: list(bootstrap_interval(sentence_counts(only_label(doc, label) for doc in scored)))
        for label in sorted(labels)
    }


def _counts(scored: Sequence[ScoredDoc]) -> dict[str, int]:
    return {
        "documents": len(scored),
        "sentences": sum(len(doc.sentences) for doc in scored),
        "words": sum(int(doc.annotated.sum()) for doc in scored),
        "entities": sum(len(doc.gold) for doc in scored),
    }
