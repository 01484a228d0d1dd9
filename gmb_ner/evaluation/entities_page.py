"""A page to look at: entities in displaCy, gold beside predicted, documents with errors first."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from spacy.glossary import GLOSSARY

from gmb_ner.evaluation.comparison import ComparedEntity, Comparison
from gmb_ner.evaluation.report import points
from gmb_ner.evaluation.scores import f_score
from gmb_ner.pipeline.labels import LABELS, label_colors
from gmb_ner.pipeline.markup import Mark, mark

TEMPLATE = """<mark class="entity {state}" style="background: {bg}">\
{text}<span class="label">{label}{kb_link}</span>{hint}</mark>"""


def entities_page(
    comparisons: Sequence[Comparison], *, title: str, limit: int = 50, note: str = ""
) -> str:
    """Compose the page: one HTML file that needs neither network nor other files.

    comparisons: documents with most errors by entity come first, of equals those with more.
    limit: how many documents to show.
    note: a banner above everything, for example that this is only the sample.
    """
    shown = sorted(comparisons, key=lambda doc: (-doc.error_rate, -doc.errors, doc.number))[:limit]
    used = {ent.label for doc in comparisons for ent in (*doc.gold, *doc.predicted)}
    labels = [label for label in LABELS if label in used] + sorted(used - LABELS.keys())
    colors = label_colors(labels)
    last = max((doc.number for doc in comparisons), default=0)
    right = sum(doc.true_positives for doc in comparisons)
    spurious = sum(doc.false_positives for doc in comparisons)
    missed = sum(doc.false_negatives for doc in comparisons)
    return PAGE.format(
        title=escape(title),
        style=STYLE,
        banner=f'<p class="banner" role="note">{escape(note)}</p>' if note else "",
        shown=f"{len(shown):,}",
        total=f"{len(comparisons):,}",
        drawn=f", evenly spaced among {last:,}" if last > len(comparisons) else "",
        right=f"{right:,}",
        false_positives=f"{spurious:,}",
        false_negatives=f"{missed:,}",
        f_score=points(f_score(right, spurious, missed)),
        legend="\n".join(_legend_entry(label, colors[label]) for label in labels),
        documents="\n".join(_card(doc, colors) for doc in shown),
    )


def _card(doc: Comparison, colors: Mapping[str, str]) -> str:
    return CARD.format(
        number=f"{doc.number:,}",
        sentences=f"{doc.sentences} sentence{'' if doc.sentences == 1 else 's'}",
        right=doc.true_positives,
        false_positives=doc.false_positives,
        false_negatives=doc.false_negatives,
        gold=_render(doc.text, doc.gold, colors),
        predicted=_render(doc.text, doc.predicted, colors),
    )


def _render(text: str, entities: Iterable[ComparedEntity], colors: Mapping[str, str]) -> str:
    return mark(text, map(_mark, entities), colors, TEMPLATE)


def _mark(entity: ComparedEntity) -> Mark:
    wrong = entity.kind != "correct"
    hint = f'<span class="kind">{HINTS[entity.kind]}</span>' if wrong else ""
    state = "wrong" if wrong else "right"
    return Mark(entity.start, entity.end, entity.label, {"state": state, "hint": hint})


def _legend_entry(label: str, color: str) -> str:
    description = LABELS.get(label) or GLOSSARY.get(label, "")
    return (
        f'<div><dt><mark class="entity" style="background: {color}">{escape(label)}</mark></dt>'
        f"<dd>{escape(description)}</dd></div>"
    )


HINTS = {
    "label": "label",
    "boundary": "boundary",
    "both": "label, boundary",
    "missed": "missed",
    "spurious": "spurious",
}

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 2rem 1.25rem 4rem; background: #fff;
  color: #1b1f24; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.6rem; line-height: 1.25; }
h3 { margin: 0 0 .25rem; font-size: .8rem; text-transform: uppercase; letter-spacing: .05em;
  color: #57606a; }
.lead { margin: 0 0 1.5rem; color: #57606a; }
.banner { margin: 0 0 1.5rem; padding: .75rem 1rem; border: 2px solid #9a3b00;
  border-radius: .5rem; background: #fff4e5; color: #7a2e00; font-weight: 600; }
.legend { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr));
  gap: .5rem 1.5rem; margin: 0 0 1rem; }
.legend div { display: flex; gap: .75rem; align-items: baseline; }
.legend dt { flex: 0 0 auto; min-width: 3.5rem; }
.legend dt mark { font-size: .8rem; font-weight: 700; }
.legend dd { margin: 0; font-size: .9rem; }
.key { margin: 0 0 2rem; font-size: .9rem; }
article { margin: 0 0 1.25rem; border: 1px solid #d0d7de; border-radius: .5rem; }
article header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline;
  padding: .6rem 1rem; border-bottom: 1px solid #d0d7de; border-radius: .5rem .5rem 0 0;
  background: #f6f8fa; }
h2 { margin: 0; font-size: 1rem; }
.meta { color: #57606a; font-size: .9rem; }
.counts { margin-left: auto; font-size: .9rem; font-variant-numeric: tabular-nums; }
.columns { display: grid; grid-template-columns: 1fr 1fr; }
.columns section { min-width: 0; padding: .75rem 1rem 1rem; overflow-wrap: anywhere; }
.columns section + section { border-left: 1px solid #d0d7de; }
.entities { line-height: 2.1 !important; }
mark.entity { padding: .2em .4em; margin: 0 .1em; border-radius: .35em; color: #000; line-height: 1;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; }
mark .label { margin-left: .45em; font-size: .72em; font-weight: 700; }
mark.wrong { outline: 2px solid #a40e26; outline-offset: -2px; }
mark .kind { margin-left: .45em; padding: .1em .4em; border-radius: .3em; background: #a40e26;
  color: #fff; font-size: .7em; font-weight: 600; white-space: nowrap; }
@media (max-width: 48rem) {
  .columns { grid-template-columns: 1fr; }
  .columns section + section { border-left: 0; border-top: 1px solid #d0d7de; }
  .counts { margin-left: 0; }
}
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{banner}
<h1>{title}</h1>
<p class="lead">{shown} of {total} test documents{drawn}, most errors by entity first. All {total}
together: {right} right, {false_positives} predicted wrongly, {false_negatives} not found;
strict F1 {f_score}.</p>
<dl class="legend">
{legend}
</dl>
<p class="key">An outline marks entities that count as errors:
<mark class="entity wrong" style="background: #eee">text\
<span class="label">label</span>\
<span class="kind">kind</span></mark>
&ensp;[…] stands for sentences that are not part of this test set.</p>
<main>
{documents}
</main>
</body>
</html>
"""

CARD = """<article>
<header><h2>Document {number}</h2> <span class="meta">{sentences}</span>
<span class="counts"><abbr title="true positives">tp</abbr> {right} &ensp;
<abbr title="false positives">fp</abbr> {false_positives} &ensp;
<abbr title="false negatives">fn</abbr> {false_negatives}</span></header>
<div class="columns">
<section><h3>Gold</h3>{gold}</section>
<section><h3>Predicted</h3>{predicted}</section>
</div>
</article>"""
