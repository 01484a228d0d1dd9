"""The evaluation as text: seqeval's report, confusions, calibration, the headline."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from gmb_ner.corpus.docs import annotated_runs
from gmb_ner.evaluation.scored import EntitySpan, ScoredDoc

FEWEST = 100  # entities, below which scores are hardly known


def tag_sequences(docs: Iterable[ScoredDoc]) -> tuple[list[list[str]], list[list[str]]]:
    """IOB2 tags of gold and prediction, one sequence for each stretch of annotated tokens.

    Stretches rather than sentences: cut at a sentence border, a prediction that runs over it
    would leave a piece that may look right, or an I- without its B-.
    """
    gold_sequences, predicted_sequences = [], []
    for doc in docs:
        gold = _tags(doc.gold, len(doc.annotated))
        predicted = _tags(doc.predicted, len(doc.annotated))
        for start, end in annotated_runs(doc.annotated):
            gold_sequences.append(gold[start:end])
            predicted_sequences.append(predicted[start:end])
    return gold_sequences, predicted_sequences


def classification_report(docs: Iterable[ScoredDoc]) -> str:
    """seqeval's report in strict mode (mode="strict", scheme=IOB2), with four digits."""
    from seqeval.metrics import classification_report as seqeval_report
    from seqeval.scheme import IOB2

    gold, predicted = tag_sequences(docs)
    if not any(tag != "O" for tags in (*gold, *predicted) for tag in tags):
        return "There are no entities, neither gold nor predicted.\n"
    report: str = seqeval_report(
        gold, predicted, mode="strict", scheme=IOB2, digits=4, zero_division=0
    )
    return report


def confusion_text(confusion: dict[str, dict[str, int]]) -> str:
    """The confusion table (gold label -> predicted label -> count) in aligned columns."""
    table = pd.DataFrame.from_dict(confusion, orient="index")
    return table.rename_axis(index="gold", columns="predicted").to_string()


def error_kinds_text(kinds: dict[str, int]) -> str:
    """The kinds of error on one line, each with its share of the errors."""
    errors = sum(kinds.values()) - kinds["correct"]
    shares = (
        f"{kind} {count:,} ({count / errors:.1%})"
        for kind, count in kinds.items()
        if kind != "correct" and errors
    )
    return f"correct {kinds['correct']:,}; errors {errors:,}" + "".join(f", {s}" for s in shares)


def calibration_text(calibration: dict[str, Any]) -> str:
    """The calibration: its figures, the entities above each threshold, the filled bins.

    calibration: as `gmb_ner.evaluation.calibration.calibration` returns it.
    """
    entities = calibration["entities"]
    thresholds = pd.DataFrame(
        {
            "confidence": f">= {row['threshold']:.2f}",
            "precision": points(row["precision"]),
            "recall": points(row["recall"]),
            "F": points(row["f"]),
            "kept": f"{row['kept'] / entities:.1%}",
        }
        for row in calibration["thresholds"]
    )
    bins = pd.DataFrame(
        {
            "confidence": f"{row['lower']:.3f} to {row['upper']:.3f}",
            "entities": f"{row['count']:,}",
            "mean": points(row["mean_confidence"]),
            "precision": points(row["precision"]),
        }
        for row in calibration["reliability"]
        if row["count"]
    )
    return "\n\n".join(
        (
            f"ECE {calibration['ece']:.4f}, Brier {calibration['brier']:.4f}, mean confidence "
            f"{points(calibration['mean_confidence'])} over {entities:,} entities",
            thresholds.to_string(index=False),
            bins.to_string(index=False),
        )
    )


def headline(result: dict[str, Any]) -> str:
    """One line with the strict micro F1 on gold tokens, its interval and what it was measured on.

    result: as `gmb_ner.evaluation.evaluate.evaluate` returns it.
    """
    low, high = result["interval95"]
    source = " ".join(part for part in (result["corpus"].upper(), result["protocol"]) if part)
    return (
        f"Strict F1 {points(result['gold_tokens']['ents_f'])} "
        f"(95 %: {points(low)} to {points(high)})" + (f" on {source}" if source else "")
    )


def caution(result: Mapping[str, Any]) -> str:
    """A sentence where so little is scored that the scores are hardly known, else nothing.

    result: as `gmb_ner.evaluation.evaluate.evaluate` returns it.
    """
    entities = result["counts"]["entities"]
    if entities >= FEWEST:
        return ""
    return (
        f"Only {entities} entities are scored: another test part of this size could give quite "
        "other figures, whatever the interval says."
    )


def summary(result: dict[str, Any]) -> str:
    """What was scored, and the other figures, on a few lines.

    result: as `gmb_ner.evaluation.evaluate.evaluate` returns it.
    """
    counts, tokens, text = result["counts"], result["gold_tokens"], result["raw_text"]
    calibration = result["calibration"]
    return "\n".join(
        (
            ", ".join(f"{number:,} {what}" for what, number in counts.items())
            + ("; each sentence read by itself" if result["single_sentences"] else ""),
            f"gold tokens: P {points(tokens['ents_p'])}, R {points(tokens['ents_r'])}, "
            f"F {points(tokens['ents_f'])}, macro F {points(tokens['macro_f'])}",
            f"raw text:    P {points(text['ents_p'])}, R {points(text['ents_r'])}, "
            f"F {points(text['ents_f'])}, macro F {points(text['macro_f'])}; "
            f"{result['words_per_second']:,.0f} words/s",
            f"by token, without O (not comparable): F {points(result['token_f_without_o'])}",
            *([_confidence_line(calibration)] if calibration else []),
        )
    )


def points(fraction: float | None) -> str:
    """A score as points out of 100, or "n/a" where it is not defined."""
    return "n/a" if fraction is None else f"{100 * fraction:.2f}"


def _confidence_line(calibration: dict[str, Any]) -> str:
    at = next(row for row in calibration["thresholds"] if row["threshold"] == 0.9)
    return (
        f"confidence: ECE {calibration['ece']:.3f}, Brier {calibration['brier']:.3f}; "
        f"at 0.9 precision {points(at['precision'])}, recall {points(at['recall'])}"
    )


def _tags(spans: Sequence[EntitySpan], length: int) -> list[str]:
    tags = ["O"] * length
    for start, end, label in spans:
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags
