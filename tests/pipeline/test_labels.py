import itertools
from importlib.metadata import entry_points

import numpy as np
import pytest
import spacy
from spacy.displacy.render import DEFAULT_LABEL_COLORS, EntityRenderer
from spacy.glossary import GLOSSARY

from gmb_ner.errors import InputError
from gmb_ner.pipeline.labels import (
    DISPLACY_COLORS,
    LABEL_MAPS,
    LABELS,
    displacy_colors,
    resolve_label_map,
)

# G. M. Machado, M. M. Oliveira and L. A. F. Fernandes, "A Physiologically-based Model for
# Simulation of Color Vision Deficiency" (IEEE TVCG 15, 2009), severity 1.0, on linear RGB.
VISION = {
    "trichromat": np.eye(3),
    "protanope": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranope": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
# B. Ottosson, "A perceptual color space for image processing" (2020): linear sRGB to OKLab.
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear_rgb(color: str) -> np.ndarray:
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def oklab(linear: np.ndarray) -> np.ndarray:
    return TO_LAB @ np.cbrt(TO_CONES @ np.clip(linear, 0, 1))


def test_black_text_has_contrast_on_every_colour():
    for color in DISPLACY_COLORS.values():
        luminance = linear_rgb(color) @ [0.2126, 0.7152, 0.0722]
        assert (luminance + 0.05) / 0.05 >= 7


@pytest.mark.parametrize("vision", VISION)
def test_colours_stay_apart_from_each_other_and_from_the_page(vision):
    # A just noticeable difference in OKLab is about .02.
    seen = [oklab(VISION[vision] @ linear_rgb(c)) for c in (*DISPLACY_COLORS.values(), "#ffffff")]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert nearest > 0.07


def test_displacy_finds_the_palette_and_keeps_its_own_colours():
    colors = EntityRenderer().colors
    assert {label: colors[label.upper()] for label in LABELS} == DISPLACY_COLORS
    assert {label: colors[label] for label in DEFAULT_LABEL_COLORS} == DEFAULT_LABEL_COLORS


def test_the_palette_has_its_entry_point():
    (entry_point,) = entry_points(group="spacy_displacy_colors", name="gmb_ner.colors.v1")
    assert entry_point.load() is displacy_colors


def test_every_label_is_explained_and_nothing_is_overwritten():
    assert all(spacy.explain(label) == text for label, text in LABELS.items())
    assert GLOSSARY["ORG"] == "Companies, agencies, institutions, etc."
    assert LABELS.keys() == DISPLACY_COLORS.keys()


@pytest.mark.parametrize("name", LABEL_MAPS)
def test_shipped_maps_are_idempotent(name):
    changes = resolve_label_map(name)
    for target in changes.values():
        assert target is None or target not in changes


def test_shipped_maps_cover_our_labels():
    assert resolve_label_map("identity") == resolve_label_map(None) == {}
    for name in ("onto", "conll"):
        assert LABELS.keys() <= LABEL_MAPS[name].keys()


def test_entries_that_change_nothing_are_dropped():
    assert resolve_label_map({"geo": "geo", "per": "PERSON", "nat": None}) == {
        "per": "PERSON",
        "nat": None,
    }


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        ("ontonotes", "no label map named 'ontonotes'; choose one of conll, identity, onto"),
        ({"geo": "loc", "loc": "place"}, "map 'geo' straight to its final name"),
        ({"geo": "gpe", "gpe": None}, "map 'geo' straight to its final name"),
    ],
)
def test_unusable_maps_are_refused(label_map, message):
    with pytest.raises(InputError, match=message):
        resolve_label_map(label_map)
