from gmb_ner.evaluation.forms import by_form, forms_of
from gmb_ner.evaluation.scored import scored_doc


def test_scores_of_names_that_are_known_and_of_others(ruler, reference):
    """The pipeline finds Iraq (known, right), Bush (new, right), Darfur (new, spurious)."""
    gold = reference(
        ("Bush left Iraq .", [("per", "Bush"), ("geo", "Iraq")]),
        ("Oslo is not in Darfur .", [("geo", "Oslo")]),
    )
    predicted = ruler(ruler.make_doc(gold.text))
    known = forms_of([reference(("Iraq and Oslo .", [("geo", "Iraq"), ("geo", "Oslo")]))])
    assert known == {"Iraq", "Oslo"}
    assert by_form([gold], [scored_doc(gold, predicted)], known) == {
        "seen": {"p": 1.0, "r": 0.5, "f": 2 / 3, "support": 2},
        "unseen": {"p": 0.5, "r": 1.0, "f": 2 / 3, "support": 1},
    }


def test_nothing_of_a_kind(reference):
    doc = reference(("Rain .", []))
    nothing = {"p": 0.0, "r": 0.0, "f": 0.0, "support": 0}
    assert by_form([doc], [scored_doc(doc, doc)], set()) == {"seen": nothing, "unseen": nothing}
