"""Marked text: displaCy's HTML, in which neither text nor label is ever markup."""

from gmb_ner.pipeline.markup import Mark, mark

EVIL = "<script>alert(1)</script>"


def test_entities_are_marked_in_their_colours():
    html = mark("Ada left.", [Mark(0, 3, "per")], {"per": "#abcdef"})
    assert html.count("<mark") == 1
    assert "#abcdef" in html and "per" in html and "Ada" in html and "left." in html


def test_text_and_labels_are_escaped():
    html = mark(EVIL, [Mark(0, 8, EVIL)], {EVIL: "#abcdef"})
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "#abcdef" in html  # the label is known by its own name


def test_a_template_has_slots_of_its_own():
    marks = [Mark(0, 3, "per", {"hint": "<b>!</b>"})]
    assert mark("Ada", marks, {}, "[{text}|{label}|{hint}]").count("[Ada|per|<b>!</b>]") == 1
