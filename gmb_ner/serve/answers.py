"""From found entities to answers: chosen, renamed, and marked by displaCy."""

from dataclasses import asdict

from gmb_ner.pipeline.labels import label_colors, resolve_label_map
from gmb_ner.pipeline.markup import Mark, mark
from gmb_ner.serve.batching import Entity
from gmb_ner.serve.messages import Answer, Asked, Found

SCHEMES: dict[str, str | None] = {"corpus": None, "onto": "onto", "conll": "conll"}
TEMPLATE = """<mark class="entity" style="background: {bg}">{text}\
<span class="label">{label}{kb_link}</span></mark>"""


def answer(text: str, entities: list[Entity], asked: Asked) -> Answer:
    """What is answered for one text: the entities that are wanted, under the wanted names."""
    renamed = resolve_label_map(SCHEMES[asked.scheme])
    wanted = None if asked.labels is None else set(asked.labels)
    kept = []
    for entity in entities:
        label = renamed.get(entity.label, entity.label)
        sure = entity.confidence is None or entity.confidence >= asked.threshold
        if label and sure and (wanted is None or label in wanted):
            kept.append(Found(**{**asdict(entity), "label": label}))
    return Answer(entities=kept, html=_marked(text, kept) if asked.html else None)


def named(labels: list[str], scheme: str) -> dict[str, str]:
    """The names of the labels in a scheme, each with its colour."""
    renamed = resolve_label_map(SCHEMES[scheme])
    names = dict.fromkeys(name for label in labels if (name := renamed.get(label, label)))
    return label_colors(names)


def _marked(text: str, entities: list[Found]) -> str:
    marks = [Mark(entity.start, entity.end, entity.label) for entity in entities]
    return mark(text, marks, label_colors({entity.label for entity in entities}), TEMPLATE)
