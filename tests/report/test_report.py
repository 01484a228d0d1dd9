"""The page: complete, self-contained, and harmless whatever the text is."""

import json
import runpy
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import spacy
import typer
from typer.testing import CliRunner

from gmb_ner.benchmark.row import Row
from gmb_ner.errors import InputError
from gmb_ner.evaluation.evaluate import evaluate
from gmb_ner.evaluation.files import load_docs
from gmb_ner.files import read_object, write_json
from gmb_ner.report.report import Material, make_report, read_learning

ROOT = Path(__file__).parents[2]
EVIL = "<script>alert(1)</script>"


class Elements(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found, self.ids, self.open = [], set(), []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.found.append((tag, attributes))
        if "id" in attributes:
            self.ids.add(attributes["id"])

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def material(sample_corpus):
    nlp = spacy.blank("en")
    train = load_docs(sample_corpus / "train.spacy", nlp.vocab)
    names = sorted({(ent.label_, ent.text) for doc in train for ent in doc.ents})
    patterns = [{"label": label, "pattern": text} for label, text in names]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    references = load_docs(sample_corpus / "test.spacy", nlp.vocab)
    predicted = []
    scores = evaluate(
        nlp, references, corpus="sample", protocol="canonical", config="rules", predicted=predicted
    )
    manifest, audit = (
        read_object(sample_corpus / f"{name}.json", "") for name in ("manifest", "audit")
    )
    curve = [{"epoch": 0, "step": step, "score": score} for step, score in ((0, 0.1), (5, 0.8))]
    run = {
        "config": "rules",
        "seed": None,
        "seconds": 60.0,
        "steps": 5,
        "precision": "float32",
        "encoder": None,
        "curve": curve,
    }
    return Material(scores, manifest, audit, run, train, references, predicted)


def test_the_page_is_whole_and_needs_nothing_else(material):
    report = make_report(replace(material, learning=[(0.5, 70.0), (1.0, 80.0)]))
    elements = Elements(report.html)
    for link in elements.of("a"):
        target = link["href"]
        assert target.startswith("data:") or target[1:] in elements.ids
    assert not [a for _, a in elements.found if "src" in a or a.get("href", "").startswith("http")]
    assert not elements.of("link") and not elements.of("img")
    pictures = [svg["aria-label"] for svg in elements.of("svg")]
    assert len(pictures) == len(set(pictures)) == 7  # no confidences: two fewer
    assert "one text, 95th percentile" in report.html
    assert "SAMPLE" in report.html and "SAMPLE" in report.markdown
    assert "#010203" not in report.html  # what stands for the colour of the text


def test_scores_from_raw_text_stand_beside_those_on_tokens(material):
    scores = json.loads(json.dumps(material.scores))
    scores["gold_tokens"]["ents_f"], scores["raw_text"]["ents_f"] = 0.8765, 0.87
    html = make_report(replace(material, scores=scores)).html
    row = '<th scope="row">all</th><td>87.65</td><td>87.00</td><td>-0.65</td>'
    assert row in html


def test_the_markdown_tells_what_thresholds_do(material):
    assert "confidence at least" not in make_report(material).markdown
    rows = [{"threshold": 0.9, "kept": 2, "precision": 1.0, "recall": 0.25, "f": 0.4}]
    known = {"ece": 0.0123, "brier": 0.1, "thresholds": rows, "reliability": []}
    markdown = make_report(
        replace(material, scores={**material.scores, "calibration": known})
    ).markdown
    assert "| 0.9 | 100.00 | 25.00 | 40.00 |" in markdown and "error 0.012." in markdown
    assert "Again: `spacy project run all . --vars.csv corpus/sample.csv" in markdown


def test_a_training_without_a_curve_has_no_picture_of_it(material):
    for curve in ([], material.run["curve"][:1]):
        html = make_report(replace(material, run={**material.run, "curve": curve})).html
        assert "How training went" not in html


def test_every_error_is_counted(material):
    report = make_report(material)
    kinds = material.scores["error_kinds"]
    errors = sum(count for kind, count in kinds.items() if kind != "correct")
    assert f"of {errors:,} errors" in report.html
    for kind in ("label", "boundary", "both", "missed", "spurious"):
        assert f" | {kinds[kind]:,} | " in report.markdown
    shown = Elements(report.html).of("article")
    assert len(shown) == min(errors, 60)
    assert {card["data-kind"] for card in shown} <= set(kinds)


def test_text_is_text(material, sample_corpus):
    """Script in the corpus, in its labels and in its names stays what it is: text."""
    nlp = spacy.blank("en")
    words = ["Ada", EVIL, "left", "."]
    gold = spacy.tokens.Doc(nlp.vocab, words=words, ents=["B-per", "B-per", "O", "O"])
    found = spacy.tokens.Doc(nlp.vocab, words=words, ents=["B-per", f"B-{EVIL}", "O", "O"])
    scores = json.loads(json.dumps(material.scores))
    scores["config"] = EVIL
    run = {**material.run, "config": EVIL}
    scores["gold_tokens"]["ents_per_type"][EVIL] = {"p": 0.0, "r": 0.0, "f": 0.0, "support": 0}
    scores["interval95_by_label"][EVIL] = [0.0, 0.0]
    report = make_report(
        replace(material, scores=scores, run=run, references=[gold], predictions=[found])
    )
    assert EVIL not in report.html
    cards = [json.loads(card["data-labels"]) for card in Elements(report.html).of("article")]
    assert [EVIL in labels for labels in cards] == [True]
    assert len(Elements(report.html).of("script")) == 1


def test_predictions_of_other_documents_are_refused(material):
    with pytest.raises(InputError, match="are not of these test documents"):
        make_report(replace(material, predictions=material.predictions[1:]))


def test_scores_of_another_training_are_refused(material):
    for other in ({"config": "crf"}, {"seed": 1}):
        with pytest.raises(InputError, match=r"was trained last: run .* evaluate` again"):
            make_report(replace(material, run={**material.run, **other}))


def test_a_learning_curve_is_read(tmp_path):
    write_json(tmp_path / "corpus.json", {"file": "words.csv", "sha256": "1"})
    assert read_learning(tmp_path, "crf", "canonical", "1") == []
    for part, f1, steps in ((1, 0.8, 0), (4, 0.7, 0), (4, 0.1, 60)):
        row = Row("crf", part=part, max_steps=steps)
        found = {"row": asdict(row), "gold_tokens": {"ents_f": f1}}
        write_json(tmp_path / "canonical" / f"{row.name}.json", found)
    assert read_learning(tmp_path, "crf", "canonical", "1") == [(0.25, 70.0), (1.0, 80.0)]
    assert read_learning(tmp_path, "crf", "canonical", "2") == []  # of another file
    (tmp_path / "corpus.json").unlink()
    assert read_learning(tmp_path, "crf", "canonical", "1") == []


def test_scores_of_mapped_labels_are_refused(material):
    scores = {**material.scores, "label_map": "onto"}
    with pytest.raises(InputError, match=r"labels mapped to onto: run .* without --label-map"):
        make_report(replace(material, scores=scores))


@pytest.mark.parametrize("single_sentences", [False, True])
def test_the_commands_leave_it_beside_its_data(single_sentences, sample_corpus, tmp_path):
    nlp = spacy.blank("en")
    nlp.config["corpora"]["train"] = {"sentences": single_sentences}
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "geo", "pattern": "Germany"}])
    nlp.to_disk(tmp_path / "model")
    write_json(tmp_path / "run.json", {"config": "rules", "seed": 0, "gpu_id": -1})

    def run(script, *args):
        app = typer.Typer()
        app.command()(runpy.run_path(str(ROOT / "scripts" / f"{script}.py"))["main"])
        done = CliRunner().invoke(app, [str(arg) for arg in args])
        assert done.exit_code == 0, done.output

    scores, predictions = tmp_path / "test.json", tmp_path / "predictions.spacy"
    run("evaluate", tmp_path / "model", sample_corpus / "test.spacy", scores,
        "--manifest", sample_corpus / "manifest.json", "--run", tmp_path / "run.json",
        "--predictions", predictions)  # fmt: skip
    run("report", sample_corpus, scores, predictions, tmp_path / "report.html",
        "--run", tmp_path / "run.json", "--learning", tmp_path)  # fmt: skip
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.startswith("<!DOCTYPE html>")
    assert ("each read by itself" in html) is single_sentences
    assert (tmp_path / "report.md").is_file() and (tmp_path / "suspects.jsonl").is_file()
