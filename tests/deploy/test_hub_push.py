"""What spaCy's own command lays out on the hub: a pipeline that loads, its scores, its wheel.

https://github.com/explosion/spacy-huggingface-hub: the wheel is unpacked and uploaded as a folder.
"""

import shutil
from pathlib import Path

import pytest
import spacy
import yaml

from gmb_ner.deploy.package import package

# Not among the requirements, as it asks for a typer that breaks spaCy's commands: see .ci/run.
hub = pytest.importorskip("spacy_huggingface_hub.push")


class Api:
    """The hub, as far as a push asks it for a place."""

    def create_repo(self, **wanted):
        assert wanted["repo_id"] == "someone/en_ner_gmb_cnn"


def test_a_pushed_wheel_is_a_pipeline_with_its_card(plain_model, run_files, tmp_path, monkeypatch):
    wheel = package(plain_model, tmp_path / "packages", **run_files()).wheel
    pushed = tmp_path / "pushed"

    def upload_folder(*, repo_id, folder_path, path_in_repo, commit_message):
        shutil.copytree(folder_path, pushed)
        return f"https://hub/{repo_id}/tree/main"

    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(hub, "upload_folder", upload_folder)
    hub.push(wheel, "someone", silent=True)

    text = "Germany and Berlin."
    here, there = (
        [(ent.start_char, ent.end_char, ent.label_) for ent in spacy.load(path)(text).ents]
        for path in (plain_model, pushed)
    )
    assert here == there
    _, head, card = (pushed / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    tagged = yaml.safe_load(head)
    assert tagged["license"] == "apache-2.0" and "token-classification" in tagged["tags"]
    metrics = tagged["model-index"][0]["results"][0]["metrics"]
    assert {m["type"]: m["value"] for m in metrics}["f_score"] == 0.8123
    assert card.startswith("# en_ner_gmb_cnn")
    copied = pushed / "en_ner_gmb_cnn-any-py3-none-any.whl"
    assert copied.read_bytes() == Path(wheel).read_bytes()
