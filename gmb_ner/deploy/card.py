"""The card of a package: meta.json, README.md and LICENSES_SOURCES, from the facts of a run."""

import json
from collections.abc import Sequence
from typing import Any

from gmb_ner.deploy.facts import Facts
from gmb_ner.evaluation.report import points
from gmb_ner.pipeline.labels import CONVENTIONS, LABELS

SAMPLE_WARNING = (
    "SAMPLE: trained and tested on the small built-in sample of gmb-ner, not on the corpus. "
    "It shows that everything works; its entities and its figures are worth nothing."
)
CODE_LICENCE = "MIT"
SURE, RARE = 0.9, 100
FOUND = "names, places, organizations and times in English text of the kind of news"
USES = (
    "for search, statistics and reading aids. Not for decisions about people without somebody who "
    "checks, nor for other languages."
)
EXAMPLE = "Angela Merkel visited Iraq in May."


def describe(facts: Facts, onnx: bool = False) -> str:
    """A sentence about the pipeline, and one more where it runs on onnxruntime."""
    corpus = "the Groningen Meaning Bank" if facts.corpus == "gmb" else f"the corpus {facts.corpus}"
    start = f", starting from {facts.repository}" if facts.repository else ""
    text = f"{facts.template.get('description', '')}, trained with {corpus}{start}."
    if onnx:
        text += " Runs on onnxruntime, without torch."
    return f"{SAMPLE_WARNING} {text}" if facts.sample else text


def performance(facts: Facts) -> dict[str, Any]:
    """The scores on the test part as meta.json keeps them, fractions of 1.

    At the top those on gold tokens, under spaCy's own names; the others beside them.
    """
    scores = facts.scores
    return {
        **_scores(scores["gold_tokens"]),
        "raw_text": _scores(scores["raw_text"]),
        "interval95": scores["interval95"],
        "token_f_without_o": scores.get("token_f_without_o"),
        "words_per_second": scores.get("words_per_second"),
        "device": scores.get("device"),
        "corpus": facts.corpus,
        "part": "test",
        "protocol": facts.protocol,
        "seed": facts.seed,
        "single_sentences": scores.get("single_sentences", False),
        "counts": scores.get("counts", {}),
    }


def sources(facts: Facts) -> list[dict[str, str]]:
    """Data and weights, as spaCy's meta.json lists its sources."""
    listed = [{"name": facts.data["source"], "license": facts.data["licence"]}]
    if facts.encoder:
        name = facts.repository or "an encoder of the user's own"
        listed.append({"name": name, "license": str(facts.encoder.get("licence") or "unknown")})
        if facts.repository:
            listed[-1]["url"] = _address(facts)
    return [*facts.template.get("sources", []), *listed]


def readme(facts: Facts, meta: dict[str, Any]) -> str:
    """README.md: what it is, how to use it, what it was measured at, where it comes from.

    spaCy's own has neither scores by label nor raw text, and multiplies whatever number it finds
    in `performance` by 100.

    meta: the package's meta.json.
    """
    name = f"{meta['lang']}_{meta['name']}"
    labels = sorted({label for names in meta.get("labels", {}).values() for label in names})
    known = set(labels) <= set(LABELS)
    quoted = ", ".join(f"`{label}`" for label in labels)
    found = FOUND if known else f"{quoted} in text of the kind that it has learned from"
    parts = [
        f"# {name}",
        f"> **{SAMPLE_WARNING}**" if facts.sample else "",
        meta["description"] if not facts.sample else "",
        "```python\n"
        "import spacy\n\n"
        f'nlp = spacy.load("{name}")\n'
        f"text = {json.dumps(EXAMPLE if known else 'A text of yours.')}\n"
        "print([(ent.text, ent.label_) for ent in nlp(text).ents])"
        "\n```",
        _table(
            ("", ""),
            [
                ("Version", meta["version"]),
                ("Pipeline", ", ".join(f"`{pipe}`" for pipe in meta.get("pipeline", []))),
                ("Requires", ", ".join(f"`{item}`" for item in meta["requirements"])),
                ("Licence", facts.licence),
            ],
        ),
        "## Intended use",
        f"Finding {found}, {USES}",
        "## Scores",
        _measure(facts),
        _score_table(facts),
        _confidence(facts),
        "## Labels",
        _label_table(labels) if known else f"{quoted}, as the training data has them.",
        "## Limits",
        _limits(facts),
        "## Made by",
        f"```bash\n{facts.again}\n```",
        "## Sources and licences",
        licences(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _label_table(labels: list[str]) -> str:
    rows = [(f"`{name}`", LABELS[name], CONVENTIONS.get(name, "")) for name in labels]
    return _table(("Label", "Meaning", "As in"), rows)


def _confidence(facts: Facts) -> str:
    """What the confidences are worth; nothing where there are none."""
    calibration = facts.scores.get("calibration")
    if not calibration:
        return ""
    at = next((row for row in calibration["thresholds"] if row["threshold"] == SURE), None)
    text = (
        "Each entity has a confidence, `ent._.confidence`: the probability that it stands there "
        "with exactly these borders and this label. Expected calibration error on the test part: "
        f"{calibration['ece']:.3f}."
    )
    if at and at["precision"] is not None and at["recall"] is not None:
        text += (
            f" Of entities with {SURE} or more, {points(at['precision'])} % are right; that finds "
            f"{points(at['recall'])} % of all."
        )
    return text


def _limits(facts: Facts) -> str:
    """What it cannot do, and what is known of the errors of its corpus."""
    found = facts.scores["gold_tokens"].get("ents_per_type") or {}
    rare = [f"`{label}` ({of['support']})" for label, of in found.items() if of["support"] < RARE]
    lines = [
        "- The same name can get another label in another sentence.",
        "- On texts of another kind or time than those it has learned from it finds less: score "
        "some hundred sentences of your own first.",
    ]
    if rare:
        lines.append(
            f"- Labels with fewer than {RARE} test entities have scores that are hardly known, "
            f"and are unreliable: {', '.join(rare)}."
        )
    if facts.corpus == "gmb":
        lines.append(
            "- The corpus is news of the years after 2000, annotated by machines and corrected "
            "here and there. Its duplicate sentences agree with each other at a strict F1 of .932: "
            "figures near that, here or elsewhere, deserve distrust."
        )
    return "\n".join(lines)


def licences(facts: Facts) -> str:
    """LICENSES_SOURCES: of the trained weights, the data, the encoder and the code, in Markdown."""
    lines = [
        f"- Trained weights (this package): {facts.licence}.",
        f"- Training data: {facts.data['source']}. Licence: {facts.data['licence']}. "
        "The package holds no text of it; its vocabulary lists words that occur in it.",
    ]
    if facts.encoder:
        name, revision = "an encoder of the user's own, not published", ""
        if facts.repository:
            name = f"{facts.repository}, {_address(facts)}"
            pinned = facts.encoder.get("revision")
            revision = f", revision {pinned}" if pinned else ""
        lines.append(
            f"- Encoder: {name}{revision}. Licence: {facts.encoder.get('licence') or 'unknown'}. "
            "Its weights were changed by training."
        )
    lines.append(f"- Code it runs on: gmb-ner ({CODE_LICENCE}), spaCy (MIT).")
    if "ODbL" in facts.data["licence"]:
        lines.append(
            "- Contains information derived from a database that is made available under the "
            "Open Database License: https://opendatacommons.org/licenses/odbl/1-0/"
        )
    return "\n".join(lines)


def _address(facts: Facts) -> str:
    return f"https://huggingface.co/{facts.repository}"


def _scores(scores: dict[str, Any]) -> dict[str, Any]:
    keys = ("ents_p", "ents_r", "ents_f", "ents_per_type", "macro_f")
    return {key: scores.get(key) for key in keys}


def _measure(facts: Facts) -> str:
    low, high = facts.scores["interval95"]
    counts = facts.scores.get("counts", {})
    size = ", ".join(f"{counts[key]:,} {key}" for key in ("sentences", "entities") if key in counts)
    speed, device = facts.scores.get("words_per_second"), facts.scores.get("device")
    # A score of the sample says nothing about any other text.
    subject = "SAMPLE" if facts.sample else facts.corpus
    sentences = [
        f"Measured on the test part of {subject}, protocol `{facts.protocol}`"
        + (f" ({size})" if size else "")
        + f", config `{facts.config}`, seed {facts.seed}.",
        "An entity counts if label and boundaries are both right.",
        "Each sentence was read by itself, as in training: split longer texts into sentences."
        if facts.scores.get("single_sentences")
        else "",
        f"95 % interval of F on gold tokens: {points(low)} to {points(high)}.",
        f"Speed on {device or 'the machine that measured'}: {speed:,.0f} words/s." if speed else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _score_table(facts: Facts) -> str:
    tokens, text = facts.scores["gold_tokens"], facts.scores["raw_text"]
    by_label, by_label_text = tokens.get("ents_per_type") or {}, text.get("ents_per_type") or {}
    intervals = facts.scores.get("interval95_by_label") or {}
    rows = [
        (
            f"`{label}`",
            f"{by_label.get(label, {}).get('support', 0):,}",
            *(points(by_label.get(label, {}).get(key)) for key in "prf"),
            _interval(intervals.get(label)),
            *(points(by_label_text.get(label, {}).get(key)) for key in "prf"),
        )
        for label in sorted({*by_label, *by_label_text})
    ]
    support = sum(scores.get("support", 0) for scores in by_label.values())
    totals = ("ents_p", "ents_r", "ents_f")
    rows.append(
        (
            "**all**",
            f"{support:,}",
            *(points(tokens.get(key)) for key in totals),
            _interval(facts.scores["interval95"]),
            *(points(text.get(key)) for key in totals),
        )
    )
    macro = (points(tokens.get("macro_f")), "", "", "", points(text.get("macro_f")))
    rows.append(("mean of the labels", "", "", "", *macro))
    header = ("Label", "Support", "P", "R", "F", "95 %", "P raw text", "R raw text", "F raw text")
    return _table(header, rows, numbers=True)


def _interval(interval: list[float] | None) -> str:
    return "" if interval is None else f"{points(interval[0])} to {points(interval[1])}"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], numbers: bool = False) -> str:
    """A Markdown table; numbers: columns but the first are set flush right."""
    rule = ["---"] + ["---:" if numbers else "---"] * (len(header) - 1)
    cells = [header, rule, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
