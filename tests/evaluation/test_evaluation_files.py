import json

import pytest
from spacy.tokens import DocBin
from spacy.vocab import Vocab

from gmb_ner.errors import InputError
from gmb_ner.evaluation.files import (
    Manifest,
    Run,
    choose_gpu,
    load_docs,
    load_pipeline,
    read_manifest,
    read_run,
)
from gmb_ner.files import write_json, write_text


def test_manifest_and_run_are_read(tmp_path):
    path = tmp_path / "some.json"
    path.write_text(json.dumps({"corpus": "gmb", "sample": False, "protocol": "canonical", "n": 1}))
    assert read_manifest(path) == Manifest("gmb", False, "canonical")
    path.write_text(json.dumps({"corpus": "x", "sample": True, "protocol": "contiguous"}))
    assert read_manifest(path) == Manifest("sample", True, "contiguous")
    path.write_text(json.dumps({"config": "bert", "seed": 3, "gpu_id": 0}))
    assert read_run(path) == Run("bert", 3, 0)
    assert read_manifest(None) == Manifest("", False, "")
    assert read_run(None) == Run("", None, -1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no file"),
        ("{", "is not valid JSON"),
        ("[1]", "does not hold a JSON object"),
        ('{"corpus": "gmb"}', "has no protocol"),
    ],
)
def test_bad_manifests_are_refused_with_a_remedy(tmp_path, content, message):
    path = tmp_path / "manifest.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_manifest(path)
    assert "spacy project run convert" in str(error.value)


def test_bad_documents_are_refused(tmp_path):
    path = tmp_path / "test.spacy"
    with pytest.raises(InputError, match="There is no file"):
        load_docs(path, Vocab())
    path.write_bytes(b"no documents")
    with pytest.raises(InputError, match=r"not a \.spacy file"):
        load_docs(path, Vocab())
    DocBin().to_disk(path)
    with pytest.raises(InputError, match="holds no documents"):
        load_docs(path, Vocab())


def test_pipelines_are_loaded_or_refused(ruler, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="not a trained pipeline"):
        load_pipeline(tmp_path)
    ruler.to_disk(tmp_path / "model")
    assert load_pipeline(tmp_path / "model").pipe_names == ["entity_ruler"]

    def no_gpu(gpu_id):
        raise ValueError("No GPU devices detected.")

    monkeypatch.setattr("spacy.require_gpu", no_gpu)
    with pytest.raises(InputError, match=r"GPU 1 cannot be used \(No GPU devices detected\); use"):
        load_pipeline(tmp_path / "model", 1)


def test_the_gpu_is_the_options_or_the_trainings():
    assert choose_gpu("auto", Run(gpu_id=2)) == 2
    assert choose_gpu("-1", Run(gpu_id=2)) == -1
    with pytest.raises(InputError, match="a number or auto, not 'cuda'"):
        choose_gpu("cuda", Run())


def test_files_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "metrics" / "test.json"
    write_json(path, {"f": 1 / 3, "name": "é"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"f": 1 / 3, "name": "é"}
    with pytest.raises(ValueError):
        write_json(path, {"f": float("nan")})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert [file.name for file in path.parent.iterdir()] == ["test.json"]
    assert json.loads(path.read_text(encoding="utf-8"))["f"] == 1 / 3
