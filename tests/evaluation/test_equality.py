"""Two pipelines, entity by entity."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import spacy
import typer
from spacy.tokens import Doc, DocBin, Span
from typer.testing import CliRunner

from gmb_ner.evaluation.equality import Difference, compare_pipelines
from gmb_ner.pipeline.entities import register_confidence, set_entities

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare.py"


def ruler(*labels):
    nlp = spacy.blank("en")
    patterns = [{"label": label, "pattern": label.upper()} for label in labels]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    return nlp


@pytest.fixture
def docs():
    vocab = spacy.blank("en").vocab
    return [Doc(vocab, words=["GEO", "met", "PER"]), Doc(vocab, words=["ORG", "left"])]


def test_every_entity_is_compared(docs):
    found = compare_pipelines(ruler("geo", "org"), ruler("geo", "per"), docs)
    assert found == Difference(same=1, only_first=1, only_second=1, confidence=None)
    assert compare_pipelines(ruler("geo"), ruler("geo"), docs[1:]).same == 0


def test_the_largest_difference_of_confidences(docs):
    def sure(confidence):
        register_confidence()
        nlp = spacy.blank("en")
        name = f"sure_{int(100 * confidence)}"

        @spacy.Language.component(name)
        def find(doc):
            set_entities(doc, [(Span(doc, 0, 1, "geo"), confidence)])
            return doc

        nlp.add_pipe(name)
        return nlp

    found = compare_pipelines(sure(0.9), sure(0.75), docs)
    assert (found.same, found.only_first, found.only_second) == (2, 0, 0)
    np.testing.assert_allclose(found.confidence, 0.15)


def test_the_command_fails_where_they_must_be_equal(docs, tmp_path):
    ruler("geo", "org").to_disk(tmp_path / "a")
    ruler("geo").to_disk(tmp_path / "b")
    DocBin(docs=docs).to_disk(tmp_path / "docs.spacy")
    app = typer.Typer()
    app.command()(runpy.run_path(str(SCRIPT))["main"])

    def run(*names):
        done = CliRunner().invoke(app, [str(tmp_path / name) for name in names] + ["--equal"])
        return done.exit_code, " ".join(done.output.split())

    code, said = run("a", "a", "docs.spacy")
    assert code == 0 and "2 entities are the same, 0 are found" in said
    code, said = run("a", "b", "docs.spacy")
    assert code == 1 and "do not find the same entities" in said
