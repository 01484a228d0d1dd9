"""The benchmark as Markdown: a row a system, with what it costs and what of it is chance."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import Any

import numpy as np

from gmb_ner.benchmark.benchmark import Outcome, results_by_row, sample_note
from gmb_ner.benchmark.row import Row
from gmb_ner.benchmark.systems import DEFAULT, STEPS, SYSTEMS
from gmb_ner.corpus.split import fold_of
from gmb_ner.errors import InputError
from gmb_ner.evaluation.intervals import bootstrap_interval, paired_bootstrap
from gmb_ner.evaluation.report import points
from gmb_ner.evaluation.scores import f_score

BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
HEADER = (
    "| system | strict F1 | 95 % | against the default (95 %) | raw text | macro F1 | ECE | "
    "train, score | words/s | memory (GB), train and predict | size |"
)
ALIGNED = "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
COLUMNS = HEADER.count("|") - 1
PROCESSES = ("training", "prediction")  # of a row, as its result names them

Results = Mapping[Row, dict[str, Any]]


def tables(outcomes: Sequence[Outcome]) -> str:
    """A table for each protocol, one by share of the training part, the time, what failed."""
    results = results_by_row(outcomes)
    parts = []
    for protocol in dict.fromkeys(outcome.row.protocol for outcome in outcomes):
        whole = [o for o in outcomes if o.row.protocol == protocol and o.row.part == 1]
        if whole:
            note = sample_note(o.result for o in whole if o.result is not None)
            table = [f"### {protocol}{note}", "", HEADER, ALIGNED, *_rows(whole, results)]
            parts.append("\n".join([*table, *_steps(protocol, results)]))
    if curves := _curves(results):
        parts.append("\n".join(["### By share of the training part, strict F1", "", *curves]))
    if folds := _folds(results):
        parts.append("\n".join(["### All folds", "", *folds]))
    if results:
        parts.append(_time(results))
    failed = [o for o in outcomes if o.result is None and not o.open]
    if failed:
        lines = (f"- {o.row.protocol}, {o.row.name}: {o.reason}" for o in failed)
        parts.append("\n".join(["Failed:", "", *lines]))
    return "\n\n".join(parts) + "\n"


def _time(results: Results) -> str:
    took = {
        row: sum(result[kind]["seconds"] for kind in PROCESSES) / 60
        for row, result in results.items()
    }
    on_one_core = sum(minutes for row, minutes in took.items() if SYSTEMS[row.system].one_core)
    return (
        f"Training and scoring took {sum(took.values()):.0f} minutes, rows added up; "
        f"{on_one_core:.0f} of them are of rows that use one core, made several at a time."
    )


def _folds(results: Results) -> list[str]:
    """Of systems that were scored on several folds: mean, deviation, all sentences together."""
    kinds: dict[tuple[Row, int], list[dict[str, Any]]] = {}
    for row, result in results.items():
        if fold := fold_of(row.protocol):
            kinds.setdefault((replace(row, protocol=""), fold[1]), []).append(result)
    lines = []
    for (row, of), found in kinds.items():
        if len(found) > 1:
            part = f", 1/{row.part} of the training part" if row.part > 1 else ""
            f1 = [100 * result["gold_tokens"]["ents_f"] for result in found]
            counts = np.concatenate([result["sentence_counts"] for result in found])
            low, high = bootstrap_interval(counts)
            lines.append(
                f"- {SYSTEMS[row.system].title}{_cut_short(row)}{part}: {len(f1)} of {of} folds, "
                f"mean {mean(f1):.2f}, sd "
                f"{stdev(f1):.2f}; all {len(counts):,} sentences together "
                f"{points(f_score(*counts.sum(axis=0)))} ({points(low)} to {points(high)})"
            )
    return lines


def _curves(results: Results) -> list[str]:
    """Of systems that were trained on several shares: strict F1 by share, one seed."""
    known = {
        (row.system, row.protocol, row.part): points(result["gold_tokens"]["ents_f"])
        for row, result in results.items()
        if row.seed == 0
    }
    curves = dict.fromkeys((system, protocol) for system, protocol, part in known if part > 1)
    if not curves:
        return []
    shares = sorted({part for *_, part in known}, reverse=True)
    names = [f"1/{part}" if part > 1 else "all" for part in shares]
    lines = [f"| system, protocol | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for system, protocol in curves:
        scores = [known.get((system, protocol, part), "") for part in shares]
        lines.append(f"| {SYSTEMS[system].title}, {protocol} | {' | '.join(scores)} |")
    return lines


def _rows(outcomes: Sequence[Outcome], results: Results) -> list[str]:
    lines = []
    for system in dict.fromkeys(outcome.row.system for outcome in outcomes):
        own = [o for o in outcomes if o.row.system == system]
        title = SYSTEMS[system].title + _cut_short(own[0].row)
        scored = [(o.row, o.result) for o in own if o.result is not None]
        if not scored:
            note = "open" if own[0].open else "failed"
            lines.append("|".join(["", f" {title} ", f" {note} ", *[" "] * (COLUMNS - 2), ""]))
            continue
        for row, result in scored:
            seed = f", seed {row.seed}" if len(scored) > 1 else ""
            lines.append(_line(f"{title}{seed}", row, result, results))
        if len(scored) > 1:
            lines.append(_mean(title, [result for _, result in scored]))
    return lines


def _cut_short(row: Row) -> str:
    return f", {row.max_steps} steps" if row.max_steps else ""


def _steps(protocol: str, results: Results) -> list[str]:
    """What steps are worth, the same sentences drawn for the systems before and after each."""
    lines = []
    for step, before, after in STEPS:
        rows = [Row(name, protocol) for name in (before, after)]
        found = {row.system: row for row in results if replace(row, max_steps=0) in rows}
        if len(found) == 2:
            difference = _paired(found[before], found[after], results)
            titles = f"{SYSTEMS[before].title} | {SYSTEMS[after].title}"
            lines.append(f"| {step} | {titles} | {difference} |")
    header = ["", "| step | from | to | points (95 %) |", "|---|---|---|---:|"]
    return [*header, *lines] if lines else []


def _line(title: str, row: Row, result: dict[str, Any], results: Results) -> str:
    low, high = result["interval95"]
    calibration = result["calibration"]
    cells = [
        title,
        points(result["gold_tokens"]["ents_f"]),
        f"{points(low)} to {points(high)}",
        _difference(row, results),
        points(result["raw_text"]["ents_f"]),
        points(result["gold_tokens"]["macro_f"]),
        f"{calibration['ece']:.3f}" if calibration else "",
        " + ".join(f"{result[kind]['seconds'] / 60:.0f}" for kind in PROCESSES) + " min",
        f"{result['prediction']['words_per_second']:,.0f}",
        " and ".join(_giga(result[kind]["peak_bytes"]) for kind in PROCESSES),
        f"{result['model_bytes'] / 1e6:,.0f} MB",
    ]
    return f"| {' | '.join(cells)} |"


def _mean(title: str, results: Sequence[dict[str, Any]]) -> str:
    f1 = [100 * result["gold_tokens"]["ents_f"] for result in results]
    raw = mean(100 * result["raw_text"]["ents_f"] for result in results)
    macro = mean(100 * result["gold_tokens"]["macro_f"] for result in results)
    cells = [
        f"{title}, mean of {len(results)}",
        f"**{mean(f1):.2f}**",
        f"sd {stdev(f1):.2f}",
        "",
        f"{raw:.2f}",
        f"{macro:.2f}",
        *[""] * (COLUMNS - 6),
    ]
    return f"| {' | '.join(cells)} |"


def _difference(row: Row, results: Results) -> str:
    """In points, against the default of the same protocol with seed 0, sentences drawn together."""
    default = replace(row, system=DEFAULT, seed=0)
    if default not in results or row.system == DEFAULT:
        return ""
    return _paired(default, row, results)


def _paired(before: Row, after: Row, results: Results) -> str:
    """The difference in points with its interval, the same sentences drawn for both."""
    counts = (np.array(results[row]["sentence_counts"]) for row in (before, after))
    paired = paired_bootstrap(*counts)
    low, high = 100 * paired.low, 100 * paired.high
    return f"{100 * paired.difference:+.2f} ({low:+.2f} to {high:+.2f})"


def _giga(number: int | None) -> str:
    return "?" if number is None else f"{number / 1e9:.1f}"


def label_table(outcomes: Sequence[Outcome]) -> str:
    """Strict F1 by label, and of names that the training part has and has not."""
    lines: list[str] = []
    for row, result in results_by_row(outcomes).items():
        if row.part > 1 or row.seed:
            continue
        labels = result["gold_tokens"]["ents_per_type"]
        if not lines:
            names = sorted(labels, key=lambda name: -labels[name]["support"])
            lines += [
                f"| system, protocol | {' | '.join(names)} | seen | unseen |",
                f"|---|{'---:|' * (len(names) + 2)}",
            ]
        cells = [f"{100 * labels[name]['f']:.1f}" if name in labels else "" for name in names]
        forms = [f"{100 * result['forms'][kind]['f']:.1f}" for kind in ("seen", "unseen")]
        title = f"{SYSTEMS[row.system].title}{_cut_short(row)}, {row.protocol}"
        lines.append(f"| {title} | {' | '.join([*cells, *forms])} |")
    return "\n".join(lines) + "\n" if lines else ""


def replace_block(text: str, block: str, where: str) -> str:
    """The text with what stands between its markers replaced.

    Raises InputError where the markers are missing.
    """
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise InputError(
            f"{where} has no lines {BEGIN} and {END}: add them where the tables belong."
        )
    return f"{before}{BEGIN}\n\n{block.strip()}\n\n{END}{after}"
