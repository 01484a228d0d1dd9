"""Text with its entities marked by displaCy, as HTML in which text stays text."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import NamedTuple

from spacy import displacy


class Mark(NamedTuple):
    """An entity to mark: characters (end exclusive), label, and HTML for a template's own slots."""

    start: int
    end: int
    label: str
    params: Mapping[str, str] = {}


def mark(
    text: str, entities: Iterable[Mark], colors: Mapping[str, str], template: str | None = None
) -> str:
    """Mark entities; returns HTML without a page around it.

    colors: of the labels. template: of a mark, for displaCy; its own by default.
    """
    # displaCy escapes the text but not the labels, and those come from somebody's file.
    ents = [
        {"start": e.start, "end": e.end, "label": escape(e.label), "params": dict(e.params)}
        for e in entities
    ]
    options: dict[str, object] = {"colors": {escape(k): color for k, color in colors.items()}}
    if template is not None:
        options["template"] = template
    html: str = displacy.render(
        {"text": text, "ents": ents, "title": None},
        style="ent",
        manual=True,
        page=False,
        jupyter=False,
        options=options,
    )
    return html
