"""All that is known of a trained pipeline as one HTML page, and in short as Markdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from spacy.tokens import Doc

from gmb_ner.errors import InputError
from gmb_ner.evaluation.evaluate import SAMPLE_NOTE
from gmb_ner.evaluation.findings import (
    SUSPECT,
    Finding,
    findings,
    most_confident,
    most_frequent,
    suspects,
)
from gmb_ner.evaluation.forms import by_form, forms_of
from gmb_ner.evaluation.report import caution, points
from gmb_ner.evaluation.scored import is_scored, scored_doc
from gmb_ner.files import read_object
from gmb_ner.pipeline.labels import LABELS, label_colors
from gmb_ner.pipeline.markup import Mark, mark
from gmb_ner.report import pictures
from gmb_ner.reproduce import run_command

# The study's F1 by token, B and I merged (W. Lin and J. Liu 2020).
STUDY = {
    **{"geo": 0.87, "org": 0.75, "tim": 0.88, "per": 0.84},
    **{"gpe": 0.95, "art": 0.22, "eve": 0.33, "nat": 0.38},
}
SHOWN, FREQUENT = 60, 30
KINDS = {
    "label": "right borders, wrong label",
    "boundary": "right label, wrong borders",
    "both": "overlapping, neither right",
    "missed": "not found",
    "spurious": "nothing there",
}


@dataclass(frozen=True)
class Material:
    """What a report is made of.

    scores: as of `gmb_ner.evaluation.evaluate.evaluate`. manifest, audit: of the corpus.
    run: of the training. train, references: Docs of the training and the test part.
    predictions: Docs on the words of `references`, with the entities that were found.
    learning: (share of the training part, strict F1), where a learning curve was measured.
    """

    scores: Mapping[str, Any]
    manifest: Mapping[str, Any]
    audit: Mapping[str, Any]
    run: Mapping[str, Any]
    train: Sequence[Doc]
    references: Sequence[Doc]
    predictions: Sequence[Doc]
    learning: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Report:
    """html: the page. markdown: the figures for terminals. suspects: JSON Lines."""

    html: str
    markdown: str
    suspects: str


def make_report(material: Material) -> Report:
    """Compose the report.

    Raises InputError where predictions and references are not of the same documents, or scores and
    training not of the same config and seed.
    """
    for key in ("config", "seed"):
        if material.scores[key] != material.run.get(key):
            raise InputError(
                f"The scores are of {key} {material.scores[key]!r}, but {material.run.get(key)!r} "
                "was trained last: run `spacy project run evaluate` again."
            )
    if material.scores["label_map"] not in (None, "identity"):
        raise InputError(
            f"The scores are of labels mapped to {material.scores['label_map']}: run `spacy "
            "project run evaluate` without --label-map."
        )
    references = [doc for doc in material.references if is_scored(doc)]
    if [len(doc) for doc in references] != [len(doc) for doc in material.predictions]:
        raise InputError(
            "The stored predictions are not of these test documents: run `spacy project run "
            "evaluate` again."
        )
    pairs = zip(references, material.predictions, strict=True)
    docs = [scored_doc(reference, predicted) for reference, predicted in pairs]
    found = findings(references, docs)
    forms = by_form(references, docs, forms_of(material.train))
    labels = _label_rows(material.scores)
    doubtful = suspects(found)
    lines = "".join(json.dumps(f.as_dict(), ensure_ascii=False) + "\n" for f in doubtful)
    html = _page(material, labels, forms, found, doubtful, lines)
    return Report(html, _markdown(material, labels, forms, len(doubtful)), lines)


def _label_rows(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The scores of each label with their intervals, the frequent ones first."""
    of_gmb = scores["corpus"] == "gmb"
    rows = []
    for label, found in scores["gold_tokens"]["ents_per_type"].items():
        low, high = scores["interval95_by_label"][label]
        rows.append(
            {
                "label": label,
                "description": LABELS.get(label, ""),
                **found,
                "low": low,
                "high": high,
                "token_f": scores["token_f_by_label"].get(label, 0.0),
                "raw_f": scores["raw_text"]["ents_per_type"].get(label, {}).get("f"),
                "earlier": STUDY.get(label) if of_gmb else None,
            }
        )
    return sorted(rows, key=lambda row: -row["support"])


def _page(
    material: Material,
    labels: Sequence[Mapping[str, Any]],
    forms: Mapping[str, Any],
    found: Sequence[Finding],
    doubtful: Sequence[Finding],
    lines: str,
) -> str:
    scores, manifest = material.scores, material.manifest
    names = [row["label"] for row in labels]
    colors = label_colors(names)
    kinds = {kind: scores["error_kinds"][kind] for kind in KINDS}
    calibration = scores["calibration"]
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["points"] = points
    template = files("gmb_ner.report").joinpath("report.html.jinja").read_text(encoding="utf-8")
    plots = {
        "corpus": pictures.label_counts(manifest["parts"], names),
        "labels": pictures.label_scores(labels),
        "confusion": pictures.confusion(scores["confusion"]),
        "kinds": pictures.bars(kinds, title="Errors by kind", unit="errors"),
        "forms": pictures.bars(
            {f"{kind} ({of['support']:,})": 100 * of["f"] for kind, of in forms.items()},
            title="Strict F1 of names that training has seen, and of others",
            unit="strict F1",
        ),
    }
    if calibration:
        plots["reliability"] = pictures.reliability(calibration["reliability"])
        plots["thresholds"] = pictures.thresholds(calibration["thresholds"])
    # A CRF is trained in one go, and its score stays the same.
    if len({point["score"] for point in material.run.get("curve", ())}) > 1:
        plots["training"] = pictures.curve(
            [(point["step"], 100 * point["score"]) for point in material.run["curve"]],
            title="Strict F1 on the dev part as training goes on",
            unit="batches",
            log=False,
        )
    if material.learning:
        plots["learning"] = pictures.curve(
            material.learning, title="Strict F1 by share of the training part",
            unit="share of the training part", log=True,
        )  # fmt: skip
    return environment.from_string(template).render(
        note=SAMPLE_NOTE if manifest["sample"] else caution(scores),
        scores=scores,
        manifest=manifest,
        audit=material.audit,
        run=material.run,
        again=run_command(manifest, material.run),
        labels=labels,
        forms=forms,
        kinds=kinds,
        kind_words=KINDS,
        colors=colors,
        plots={name: Markup(plot) for name, plot in plots.items()},
        frequent=[error for error in most_frequent(found, FREQUENT) if error[-1] > 1],
        tokens_and_text=[
            ("all", scores["gold_tokens"]["ents_f"], scores["raw_text"]["ents_f"]),
            *((row["label"], row["f"], row["raw_f"]) for row in labels),
        ],
        compared=any(row["earlier"] is not None for row in labels),
        errors=[(error, _sides(error, colors)) for error in most_confident(found, SHOWN)],
        count=len(found),
        suspects=len(doubtful),
        suspect=SUSPECT,
        download=lines,
    )


def _sides(error: Finding, colors: Mapping[str, str]) -> dict[str, Markup]:
    """The sentence of an error with its gold and with its predicted entity."""
    sides = {"gold": error.gold, "predicted": error.predicted}
    return {
        name: Markup(
            mark(error.sentence, [Mark(e.start, e.end, e.label)] if e is not None else [], colors)
        )
        for name, e in sides.items()
    }


def _markdown(
    material: Material,
    labels: Sequence[Mapping[str, Any]],
    forms: Mapping[str, Any],
    doubtful: int,
) -> str:
    scores = material.scores
    low, high = scores["interval95"]
    errors = sum(scores["error_kinds"][kind] for kind in KINDS)
    notes = (SAMPLE_NOTE if material.manifest["sample"] else "", caution(scores))
    lines = [
        f"# {scores['config'] or 'pipeline'} on {scores['corpus']}, {scores['protocol']}",
        "",
        *(f"**{note}**\n" for note in notes if note),
        f"Strict F1 **{points(scores['gold_tokens']['ents_f'])}** ({points(low)} to "
        f"{points(high)}), raw text {points(scores['raw_text']['ents_f'])}, macro "
        f"{points(scores['gold_tokens']['macro_f'])}; {scores['words_per_second']:,.0f} words/s.",
        "",
        "| label | P | R | F1 | 95 % | support | F1 by token |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {row['label']} | {points(row['p'])} | {points(row['r'])} | {points(row['f'])} | "
            f"{points(row['low'])} to {points(row['high'])} | {row['support']:,} | "
            f"{points(row['token_f'])} |"
            for row in labels
        ),
        "",
        "| errors | number | share |",
        "|---|---:|---:|",
        *(
            f"| {kind}: {words} | {scores['error_kinds'][kind]:,} | "
            f"{scores['error_kinds'][kind] / max(1, errors):.1%} |"
            for kind, words in KINDS.items()
        ),
        "",
        "Names: "
        + ", ".join(f"{k} in training F1 {points(v['f'])}" for k, v in forms.items())
        + f". {doubtful:,} confident disagreements with the corpus.",
        *_threshold_lines(scores["calibration"]),
        "",
        f"Again: `{run_command(material.manifest, material.run)}`",
    ]
    return "\n".join(lines) + "\n"


def _threshold_lines(calibration: Mapping[str, Any] | None) -> list[str]:
    """What is left where entities with less confidence are left out."""
    if not calibration:
        return []
    return [
        "",
        "| confidence at least | P | R | F1 |",
        "|---|---:|---:|---:|",
        *(
            f"| {row['threshold']:g} | {points(row['precision'])} | {points(row['recall'])} | "
            f"{points(row['f'])} |"
            for row in calibration["thresholds"]
        ),
        "",
        f"Expected calibration error {calibration['ece']:.3f}.",
    ]


def read_learning(
    folder: Path, system: str, protocol: str, sha256: str | None
) -> list[tuple[float, float]]:
    """The learning curve of a system that `learning-curve` measured; empty where it did not.

    sha256: of the file of words; that of another is no curve of this one.
    """
    owner = folder / "corpus.json"  # see `gmb_ner.benchmark.benchmark.claim`
    if not owner.is_file() or read_object(owner, f"remove {folder}").get("sha256") != sha256:
        return []
    points_found = []
    for path in sorted((folder / protocol).glob(f"{system}-0*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        row = result["row"]
        if (row["system"], row["seed"], row["max_steps"]) == (system, 0, 0):  # of no short trial
            points_found.append((1 / row["part"], 100 * result["gold_tokens"]["ents_f"]))
    return sorted(points_found) if len(points_found) > 1 else []
