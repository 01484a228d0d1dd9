"""Small pipelines, and the files of a run that goes with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.training import Example

TRAINING = [
    ("Angela Merkel met Iraqi police in London on Friday .", [(0, 13, "per"), (34, 40, "geo")]),
    ("The United Nations met in Baghdad .", [(4, 18, "org"), (26, 33, "geo")]),
]
NER = {
    "scorer": {"@scorers": "gmb_ner.entity_scorer.v1"},
    "model": {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 16,
        "maxout_pieces": 1,
        "use_upper": False,
    },
}
TOK2VEC = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    **{"width": 16, "depth": 1, "embed_size": 100, "window_size": 1, "maxout_pieces": 2},
    **{"subword_features": False, "pretrained_vectors": None},
}
LISTENER = {
    "@architectures": "spacy-transformers.TransformerListener.v1",
    "grad_factor": 1.0,
    "pooling": {"@layers": "reduce_mean.v1"},
}


def add_ner(nlp: Language, tok2vec: dict[str, Any], steps: int) -> None:
    """Add an `ner` and train it a little."""
    nlp.add_pipe("ner", config={**NER, "model": {**NER["model"], "tok2vec": tok2vec}})
    examples = [
        Example.from_dict(nlp.make_doc(text), {"entities": ents}) for text, ents in TRAINING
    ]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(steps):
        nlp.update(examples, sgd=optimizer)


@pytest.fixture(scope="session")
def plain_model(tmp_path_factory) -> Path:
    """A pipeline without a transformer, whose config names paths of its machine."""
    path = tmp_path_factory.mktemp("plain") / "training" / "model-best"
    nlp = spacy.blank("en")
    add_ner(nlp, TOK2VEC, 20)
    nlp.config["paths"] |= {"train": str(path.parent / "train.spacy"), "dev": "dev.spacy"}
    path.parent.mkdir()
    nlp.to_disk(path)
    return path


@pytest.fixture(scope="session")
def bert_model(tiny_bert, tmp_path_factory) -> Path:
    """A pipeline on the tiny BERT, which its config names by the folder."""
    path = tmp_path_factory.mktemp("bert") / "training" / "model-best"
    nlp = spacy.blank("en")
    model = {
        "@architectures": "spacy-transformers.TransformerModel.v3",
        "name": str(tiny_bert),
        "tokenizer_config": {"use_fast": True},
        "get_spans": {
            "@span_getters": "spacy-transformers.strided_spans.v1",
            **{"window": 32, "stride": 24},
        },
    }
    nlp.add_pipe("transformer", config={"model": model})
    add_ner(nlp, LISTENER, 3)
    path.parent.mkdir()
    nlp.to_disk(path)
    return path


def scores(f: float) -> dict[str, Any]:
    per_type = {
        "geo": {"p": 0.9, "r": 0.8, "f": 0.847, "support": 1200},
        "per": {"p": 0.5, "r": 0.25, "f": 1 / 3, "support": 34},
    }
    return {"ents_p": f, "ents_r": f, "ents_f": f, "ents_per_type": per_type, "macro_f": 0.59}


@pytest.fixture
def run_files(tmp_path) -> Callable[..., dict[str, Path]]:
    """Write the files of a run and a small checkout; changes: file -> keys that differ."""

    def write(**changes: dict[str, Any]) -> dict[str, Path]:
        data: dict[str, dict[str, Any]] = {
            "manifest": {"corpus": "gmb", "sample": False, "protocol": "canonical"},
            "run": {"config": "cnn", "encoder": None, "seed": 7, "gpu_id": -1, "seconds": 5},
            "scores": {
                **{"corpus": "gmb", "protocol": "canonical", "config": "cnn", "seed": 7},
                "gold_tokens": scores(0.8123),
                "raw_text": scores(0.8011),
                "interval95": [0.8, 0.82],
                "interval95_by_label": {"geo": [0.84, 0.855]},
                "calibration": {
                    "ece": 0.0123,
                    "thresholds": [{"threshold": 0.9, "precision": 0.97, "recall": 0.5}],
                },
                "words_per_second": 12345.6,
            },
            "fetched": {
                **{"corpus": "gmb", "sample": False},
                "source": "A corpus of news",
                "licence": "ODbL (its page)",
            },
            "meta": {
                "lang": "en",
                "description": "Names",
                "author": "",
                "email": "",
                "url": "",
                "license": "auto",
                "sources": [],
            },
        }
        files = {}
        for name, content in data.items():
            files[name] = tmp_path / "run" / f"{name}.json"
            files[name].parent.mkdir(exist_ok=True)
            text = json.dumps(content | changes.get(name, {}))
            files[name].write_text(text, encoding="utf-8")
        (tmp_path / "run" / "Apache-2.0.txt").write_text("The text of a licence\n")
        files["project"] = tmp_path / "project"
        (files["project"] / "gmb_ner" / "__pycache__").mkdir(parents=True, exist_ok=True)
        (files["project"] / "gmb_ner" / "__init__.py").write_text('__version__ = "0.1.0"\n')
        (files["project"] / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["setuptools>=77"]\n'
            'build-backend = "setuptools.build_meta"\n'
            '[project]\nname = "gmb-ner"\nversion = "0.1.0"\n'
        )
        return files

    return write
