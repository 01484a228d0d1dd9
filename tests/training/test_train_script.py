"""What `train` refuses before it trains."""

import runpy
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gmb_ner.files import read_object, write_json

SCRIPT = Path(__file__).parents[2] / "scripts" / "train.py"


@pytest.mark.parametrize("option", ["--seed", "--max-steps"])
def test_what_makes_no_training_is_refused(option, sample_corpus, tmp_path):
    app = typer.Typer()
    app.command()(runpy.run_path(str(SCRIPT))["main"])
    done = CliRunner().invoke(app, ["plan.json", str(sample_corpus), str(tmp_path), option, "-1"])
    assert done.exit_code == 2 and option in done.output


def test_a_corpus_that_is_not_the_one_fetched_is_refused(sample_corpus, tmp_path):
    source = read_object(sample_corpus / "manifest.json", "")["source"]
    write_json(
        tmp_path / "plan.json", {"encoder": None, "config": "cnn", "path": "configs/cnn.cfg"}
    )
    write_json(tmp_path / "corpus.json", {"sha256": "f" * 64, "file": "other.csv"})
    app = typer.Typer()
    app.command()(runpy.run_path(str(SCRIPT))["main"])
    paths = [tmp_path / "plan.json", sample_corpus, tmp_path / "training"]
    done = CliRunner().invoke(app, [*map(str, paths), "--assets", str(tmp_path)])
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert f"was converted from {source['file']}, and other.csv was fetched since" in said
    assert not (tmp_path / "training").exists()
