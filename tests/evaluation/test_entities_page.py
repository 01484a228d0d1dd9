import re
from html.parser import HTMLParser

import pytest

from gmb_ner.evaluation.comparison import CUT, compare_documents
from gmb_ner.evaluation.entities_page import entities_page, label_colors
from gmb_ner.pipeline.labels import DISPLACY_COLORS


@pytest.fixture
def docs(reference):
    return [
        reference(("Bush flew to Baghdad.", [("per", "Bush"), ("geo", "Baghdad")])),
        reference(
            ("Iraq is not part of this.", None),
            ("Bush saw <script>alert(1)</script> & the United Nations.", [("per", "Bush")]),
            ("Nor is Darfur.", None),
            ("Washington slept.", [("geo", "Washington")]),
        ),
        reference(("Kampala and Nairobi.", [("<b>", "Kampala"), ("geo", "Nairobi")])),
        reference(("All of it is context.", None)),
    ]


class Strict(HTMLParser):
    """Checks that tags are closed in order, and collects the text."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.tags = [], "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def parse(page):
    parser = Strict()
    parser.feed(page)
    assert not parser.open
    return parser


def test_documents_are_cut_to_what_is_scored(ruler, docs):
    comparisons = compare_documents(ruler, docs)
    assert [doc.number for doc in comparisons] == [1, 2, 3]
    second = comparisons[1]
    assert second.text == (
        f"[…] Bush saw <script>alert(1)</script> & the United Nations.{CUT}Washington slept."
    )
    shown = [(second.text[e.start : e.end], e.label, e.kind) for e in second.predicted]
    assert shown == [
        ("Bush", "per", "correct"),
        ("United Nations", "org", "spurious"),
        ("Washington", "org", "label"),
    ]
    assert [second.text[e.start : e.end] for e in second.gold] == ["Bush", "Washington"]
    assert (second.true_positives, second.false_positives, second.false_negatives) == (1, 2, 1)
    assert second.sentences == 2


def test_text_after_the_last_scored_sentence_is_marked_as_cut(ruler, reference):
    doc = reference(("Iraq here.", [("geo", "Iraq")]), ("Darfur there.", None))
    assert compare_documents(ruler, [doc])[0].text == "Iraq here. […]"


def test_of_many_documents_some_are_taken_evenly_spaced(ruler, reference):
    docs = [reference(("Iraq.", [])) for _ in range(10)]
    numbers = [doc.number for doc in compare_documents(ruler, docs, at_most=4)]
    assert numbers == [1, 4, 7, 10]
    page = entities_page(compare_documents(ruler, docs, at_most=4), title="Entities", limit=2)
    assert "2 of 4 test documents, evenly spaced among 10, most errors" in page


def test_page_is_sound_sorted_and_escaped(ruler, docs):
    page = entities_page(compare_documents(ruler, docs), title="Entities <now>")
    parser = parse(page)
    assert "Entities <now>" in parser.text
    assert "<script>alert(1)</script>" in parser.text
    assert not any(tag in ("script", "b", "link", "img") for tag, _ in parser.tags)
    assert not re.search(r"https?://|url\(|@import", page)
    order = [int(number) for number in re.findall(r"<h2>Document (\d+)</h2>", page)]
    assert order == [3, 2, 1]
    assert "3 of 3 test documents" in page
    assert "3 right, 2 predicted wrongly, 3 not found" in " ".join(parser.text.split())
    assert "Places: countries" in parser.text
    assert 'role="note"' not in page
    assert page.count("<h3>Gold</h3>") == page.count("<h3>Predicted</h3>") == 3


def test_limit_and_sample_banner(ruler, docs):
    page = entities_page(
        compare_documents(ruler, docs), title="Entities", limit=1, note="SAMPLE & small"
    )
    assert "1 of 3 test documents" in page
    assert page.count("<article>") == 1
    assert '<p class="banner" role="note">SAMPLE &amp; small</p>' in page


def test_marks_name_the_kind_of_error(ruler, docs):
    page = entities_page(compare_documents(ruler, docs), title="Entities")
    assert page.count('<mark class="entity wrong" style="background: #eee">') == 1  # the key
    assert page.count('class="entity right"') == 6
    kinds = re.findall(r'<span class="kind">([a-z, ]+)</span></mark>', page)
    assert sorted(kinds) == ["kind", "label", "label", "missed", "missed", "spurious"]


def test_labels_of_other_corpora_get_colours_of_their_own():
    colors = label_colors(["geo", "PERSON", "disease", "gene"])
    assert colors["geo"] == DISPLACY_COLORS["geo"]
    assert len(set(colors.values())) == 4
    assert set(label_colors([f"label{i}" for i in range(20)]).values()) == set(
        DISPLACY_COLORS.values()
    )
