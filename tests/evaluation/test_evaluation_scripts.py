import json
import runpy
from pathlib import Path

import pytest
import typer
from spacy.tokens import DocBin
from typer.testing import CliRunner

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def project(ruler, reference, tmp_path, monkeypatch):
    """A folder with a pipeline, test documents, a manifest and a run."""
    monkeypatch.chdir(tmp_path)
    ruler.to_disk("model")
    docs = [reference(("Bush flew to Kampala.", [("per", "Bush"), ("geo", "Kampala")]))] * 3
    DocBin(docs=docs).to_disk("test.spacy")
    Path("manifest.json").write_text(
        '{"corpus": "gmb", "sample": false, "protocol": "canonical"}', encoding="utf-8"
    )
    Path("sample.json").write_text(
        '{"corpus": "gmb", "sample": true, "protocol": "canonical"}', encoding="utf-8"
    )
    Path("run.json").write_text('{"config": "cnn", "seed": 1, "gpu_id": -1}', encoding="utf-8")
    Path("other.json").write_text(
        '{"config": "cnn", "source": {"corpus": "words", "protocol": "canonical", "sha256": "1"}}',
        encoding="utf-8",
    )


def invoke(script: str, *args: str):
    app = typer.Typer()
    app.command()(runpy.run_path(str(SCRIPTS / script))["main"])
    result = CliRunner().invoke(app, list(args))
    return result.exit_code, result.output


def test_evaluate_writes_and_shows_the_scores(project):
    code, output = invoke(
        *("evaluate.py", "model", "test.spacy", "metrics/test.json"),
        *("--manifest", "manifest.json", "--run", "run.json", "--gpu-id", "-1"),
    )
    assert code == 0
    result = json.loads(Path("metrics/test.json").read_text(encoding="utf-8"))
    assert result["gold_tokens"]["ents_f"] == pytest.approx(2 / 3)
    assert (result["corpus"], result["config"], result["seed"]) == ("gmb", "cnn", 1)
    *_, score, time = output.strip().splitlines()
    assert "Strict F1 66.67 (95 %: 66.67 to 66.67) on GMB canonical" in score
    assert "evaluate took" in time
    assert "micro avg" in output and "spurious" in output and "SAMPLE" not in output
    assert result["calibration"] is None and "calibration" not in output


def test_evaluate_shows_the_calibration_of_confidences(project, ruler):
    ruler.add_pipe("confident")
    ruler.to_disk("confident")
    code, output = invoke("evaluate.py", "confident", "test.spacy", "test.json")
    assert code == 0
    result = json.loads(Path("test.json").read_text(encoding="utf-8"))
    assert result["calibration"]["ece"] == pytest.approx(0.04)
    _, shown = output.split("Confidences: calibration, gold tokens")
    assert "ECE 0.0400" in shown
    assert "confidence: ECE 0.040, Brier 0.002; at 0.9 precision 100.00, recall 50.00" in shown


def test_evaluate_takes_other_settings(project, ruler):
    args = ("evaluate.py", "model", "test.spacy", "test.json", "--set")
    code, _ = invoke(*args, "components.entity_ruler.phrase_matcher_attr=LOWER")
    assert code == 0
    for wrong in ("components.entity_ruler.speed=1", "components.entity_ruler", "nlp.batch_size="):
        code, output = invoke(*args, wrong)
        assert code == 1 and f"--set {wrong} is no setting of model/config.cfg" in " ".join(
            output.split()
        )


def test_evaluate_says_sample_on_the_sample(project):
    code, output = invoke(
        "evaluate.py", "model", "test.spacy", "test.json", "--manifest", "sample.json"
    )
    assert code == 0
    result = json.loads(Path("test.json").read_text(encoding="utf-8"))
    assert result["corpus"] == "sample" and result["note"].startswith("SAMPLE")
    assert output.count("SAMPLE") >= 3


def test_visualize_writes_the_page(project):
    args = ("visualize.py", "model", "test.spacy", "metrics/entities.html", "--limit", "2")
    code, output = invoke(*args, "--manifest", "sample.json")
    assert code == 0 and "SAMPLE" in output and "2 documents shown" in output
    page = Path("metrics/entities.html").read_text(encoding="utf-8")
    assert page.count("<article>") == 2 and 'role="note">SAMPLE' in page
    invoke(*args, "--manifest", "manifest.json")
    page = Path("metrics/entities.html").read_text(encoding="utf-8")
    assert "SAMPLE" not in page and "gmb, canonical" in page


@pytest.mark.parametrize("script", ["evaluate.py", "visualize.py"])
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nothing", "test.spacy", "out"), "is not a trained pipeline"),
        (("model", "nothing.spacy", "out"), "There is no file nothing.spacy"),
        (("model", "test.spacy", "out", "--manifest", "nothing"), "There is no file nothing"),
        (("model", "test.spacy", "out", "--gpu-id", "cuda"), "a number or auto"),
        (
            ("model", "test.spacy", "out", "--manifest", "manifest.json", "--run", "other.json"),
            "was trained on words (canonical), and what is converted now is gmb (canonical)",
        ),
    ],
)
def test_bad_input_ends_with_a_sentence_and_no_output(project, script, args, message):
    code, output = invoke(script, *args)
    assert code == 1
    assert message in " ".join(output.split())
    assert not Path("out").exists()
