"""Pipelines beside each other, and what their configs tell."""

import os

import pytest
import spacy
import torch

from gmb_ner.errors import InputError
from gmb_ner.pipeline.loading import load_beside, load_model, reads_sentences
from gmb_ner.pipeline.onnx_ner import OnnxNER


@pytest.mark.parametrize(("processes", "threads"), [(1, 6), (2, 3), (4, 1), (8, 1)])
def test_each_of_several_processes_takes_its_share_of_the_cores(processes, threads, monkeypatch):
    taken = []
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "9")

    def load():
        assert os.environ["OMP_NUM_THREADS"] == str(threads)
        nlp = spacy.blank("en")
        nlp.add_pipe("onnx_ner")
        return nlp

    component = load_beside(processes, load).get_pipe("onnx_ner")
    assert isinstance(component, OnnxNER) and component.threads == threads
    assert taken == [threads]


@pytest.mark.parametrize(
    ("corpora", "expected"),
    [
        ({}, False),
        ({"train": {"sentences": True}}, True),
        ({"train": {"sentences": False}}, False),
        ({"train": {"sentences": "${paths.train}"}}, False),  # null
        ({"dev": {"sentences": True}}, False),
    ],
)
def test_whether_a_pipeline_learned_from_single_sentences(corpora, expected):
    nlp = spacy.blank("en")
    nlp.config["corpora"] = corpora
    assert reads_sentences(nlp) is expected


def test_the_corpus_that_trains_may_have_another_name():
    nlp = spacy.blank("en")
    nlp.config["corpora"] = {"news": {"sentences": True}}
    nlp.config["training"]["train_corpus"] = "corpora.news"
    assert reads_sentences(nlp)


def test_what_cannot_be_loaded_is_one_sentence(tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("linear_ner", config={"threshold": 0.5})
    nlp.to_disk(tmp_path / "model")
    assert load_model(tmp_path / "model", {"components.linear_ner.threshold": 0.9})
    with pytest.raises(InputError, match=r"model cannot be loaded \(threshold is a confidence in"):
        load_model(tmp_path / "model", {"components.linear_ner.threshold": 2})
    (tmp_path / "model" / "linear_ner" / "model").write_bytes(b"")
    with pytest.raises(InputError, match=r"model cannot be loaded \("):
        load_model(tmp_path / "model")
    config = (tmp_path / "model" / "config.cfg").read_text(encoding="utf-8")
    (tmp_path / "model" / "config.cfg").write_text(
        config.replace('factory = "linear_ner"', 'factory = "other_ner"'), encoding="utf-8"
    )
    with pytest.raises(InputError, match="nothing that is installed makes its component other_"):
        load_model(tmp_path / "model")
    with pytest.raises(InputError, match=r"nowhere cannot be loaded \("):
        load_model("nowhere")
