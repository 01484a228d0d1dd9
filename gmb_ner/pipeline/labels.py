"""The eight labels of the Groningen Meaning Bank: descriptions, colours and maps to other names.

Importing this module (which loading the entity scorer does) lets `spacy.explain` answer for the
labels; displaCy finds the colours through the entry point group `spacy_displacy_colors`.
"""

from collections.abc import Iterable, Mapping
from itertools import cycle

from spacy.glossary import GLOSSARY

from gmb_ner.errors import InputError

LabelMap = Mapping[str, str | None]

LABELS: dict[str, str] = {
    "geo": "Places: countries, cities, regions, rivers, mountains",
    "org": "Organizations: companies, agencies, institutions, political and armed groups",
    "per": "People, with their titles",
    "gpe": "Nationalities and peoples, as in 'the Iraqi army'",
    "tim": "Dates, days, times and periods",
    "art": "Artifacts: named works, products, vessels, buildings, laws, languages",
    "eve": "Named events: wars, storms, tournaments, holidays",
    "nat": "Natural phenomena: named storms and diseases",
}

# What the corpus' annotators do, where people would ask; sentences of our own.
CONVENTIONS: dict[str, str] = {
    "geo": "*Kenya*, *Nairobi*, *Horn of Africa*",
    "org": "*NATO*, *United Nations*; often *U.S.*, where its government acts",
    "per": "*President Ada Lin*: titles belong to the name, and some stand alone (*Mr.*)",
    "gpe": "*Kenyan* officials; the country itself is geo",
    "tim": "*Monday*, *September 2009*, *since 2009*; rarely with another preposition",
    "art": "*English*, *Twitter*, *International Space Station*",
    "eve": "*World War II*, *Australian Open*, *Ramadan*",
    "nat": "*H5N1*, *Katrina*",
}

# Black text has a contrast of at least 7:1 on each (WCAG 2.2, AAA), and any two stay apart for
# deuteranopes and protanopes. displaCy upper-cases labels, so "org" and "gpe" share
# their entry with OntoNotes' ORG and GPE: they keep displaCy's own colours, and installing this
# package changes nothing in the pages of other pipelines.
DISPLACY_COLORS: dict[str, str] = {
    "geo": "#fef77d",
    "org": "#7aecec",
    "per": "#c0b6ff",
    "gpe": "#feca74",
    "tim": "#93ffbd",
    "art": "#efa8b1",
    "eve": "#5da0cc",
    "nat": "#ac9493",
}

# `nat` mixes storms (events elsewhere) with diseases and viruses (no entity elsewhere): no name
# in the other schemes fits both, so it is left out.
LABEL_MAPS: dict[str, dict[str, str | None]] = {
    "identity": {},
    # OntoNotes 5. `art` holds what OntoNotes splits into WORK_OF_ART (which covers titles and
    # awards) and PRODUCT, so both are merged under the first, as are its places and its times;
    # what the corpus has no label for is left out.
    "onto": {
        "geo": "LOC",
        "GPE": "LOC",
        "FAC": "LOC",
        "org": "ORG",
        "per": "PERSON",
        "gpe": "NORP",
        "tim": "DATE",
        "TIME": "DATE",
        "art": "WORK_OF_ART",
        "PRODUCT": "WORK_OF_ART",
        "eve": "EVENT",
        "nat": None,
        "LAW": None,
        "LANGUAGE": None,
        "CARDINAL": None,
        "ORDINAL": None,
        "PERCENT": None,
        "MONEY": None,
        "QUANTITY": None,
    },
    # CoNLL-2003: nationalities, events and works are MISC there; it has no times.
    "conll": {
        "geo": "LOC",
        "org": "ORG",
        "per": "PER",
        "gpe": "MISC",
        "art": "MISC",
        "eve": "MISC",
        "tim": None,
        "nat": None,
    },
}


def resolve_label_map(label_map: str | LabelMap | None) -> dict[str, str | None]:
    """Turn a map's name, a map, or None (no renaming) into a map.

    A label that is not a key keeps its name; a label mapped to None is left out. Entries that
    change nothing are dropped, so an empty result means that nothing has to be renamed.

    Raises InputError if a name is unknown, or if a map would rename its own results: applied to
    names that are already mapped, a map has to leave them as they are, or gold and prediction
    could part.
    """
    if label_map is None:
        return {}
    if isinstance(label_map, str):
        if label_map not in LABEL_MAPS:
            known = ", ".join(sorted(LABEL_MAPS))
            raise InputError(f"There is no label map named {label_map!r}; choose one of {known}.")
        label_map = LABEL_MAPS[label_map]
    for source, target in label_map.items():
        if target is not None and label_map.get(target, target) != target:
            raise InputError(
                f"The label map renames {source!r} to {target!r} and {target!r} again to "
                f"{label_map[target]!r}; map {source!r} straight to its final name."
            )
    return {source: target for source, target in label_map.items() if source != target}


def displacy_colors() -> dict[str, str]:
    """The palette by label (hex RGB), as displaCy's registry of colours expects it."""
    return dict(DISPLACY_COLORS)


def label_colors(labels: Iterable[str]) -> dict[str, str]:
    """A background for each label: displaCy's or ours, else the palette's colours in turn.

    displaCy itself paints labels without a colour grey, all of them alike.
    """
    # Only now: displaCy is for pages alone.
    from spacy.displacy.render import EntityRenderer

    known = EntityRenderer(options={"colors": DISPLACY_COLORS}).colors
    labels = list(labels)
    taken = {known[label.upper()] for label in labels if label.upper() in known}
    spare = cycle([c for c in DISPLACY_COLORS.values() if c not in taken] or ["#dddddd"])
    return {label: known.get(label.upper()) or next(spare) for label in labels}


for _label, _description in LABELS.items():
    GLOSSARY.setdefault(_label, _description)
