"""The whole path of configs/bert.cfg, with a tiny BERT in place of the hub's."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin

from gmb_ner.deploy import _proof
from gmb_ner.deploy.package import package
from gmb_ner.evaluation.evaluate import evaluate
from gmb_ner.files import write_json
from gmb_ner.training.plan import make_plan
from gmb_ner.training.train import train

ROOT = Path(__file__).parents[2]
TEXTS = ["President Ada Lin visited Oslo on Monday.", "", "Oslo"]


@pytest.fixture(scope="module")
def run(tiny_bert, sample_corpus, tmp_path_factory):
    """A folder with training/, metrics/ and packages/, as the project's commands leave it."""
    folder = tmp_path_factory.mktemp("project")
    plan = make_plan("bert", "-1", encoder_dir=str(tiny_bert))
    assert plan.path == "configs/bert.cfg"
    # As scripts/train.py records an encoder of the user's own.
    encoder = {
        "key": "bert",
        "repo": None,
        "revision": None,
        "licence": None,
        "origin": "the user's own directory",
    }
    train(
        ROOT / plan.path,
        sample_corpus,
        folder / "training",
        name=plan.config,
        encoder=encoder,
        encoder_path=str(tiny_bert),
        gpu_id=plan.gpu_id,
        max_steps=2,
    )
    nlp = spacy.load(folder / "training" / "model-best")
    docs = list(DocBin().from_disk(sample_corpus / "test.spacy").get_docs(nlp.vocab))[:5]
    scores = evaluate(nlp, docs, corpus="sample", protocol="canonical", config="bert", seed=0)
    write_json(folder / "metrics" / "test.json", scores)
    package(
        folder / "training" / "model-best",
        folder / "packages",
        manifest=sample_corpus / "manifest.json",
        run=folder / "training" / "run.json",
        scores=folder / "metrics" / "test.json",
        fetched=sample_corpus.parent / "corpus.json",
        meta=ROOT / "metas" / "meta.json",
        project=ROOT,
    )
    return folder


def test_trained_from_the_local_directory(run):
    nlp = spacy.load(run / "training" / "model-best")
    assert nlp.pipe_names == ["transformer", "ner", "trf_data_cleaner"]
    assert nlp.get_pipe("transformer").model.transformer.config.hidden_size == 32


def test_docs_do_not_keep_the_output_of_the_encoder(run):
    path = run / "training" / "model-best"
    docs = list(spacy.load(path).pipe(["Heavy rain fell in Oslo.", "Ada slept."]))
    assert [doc._.trf_data for doc in docs] == [None, None]
    assert [doc.vector.size for doc in docs] == [0, 0]  # which spaCy's doc_cleaner would break
    kept = spacy.load(path, exclude=["trf_data_cleaner"])("Heavy rain fell in Oslo.")
    assert kept._.trf_data.model_output.last_hidden_state.shape[-1] == 32


def test_wheels(run):
    made = json.loads((run / "packages" / "manifest.json").read_text(encoding="utf-8"))
    assert made["model"] == "en_ner_gmb_trf_sample"
    names = sorted(path.name for path in (run / "packages").glob("*.whl"))
    assert names == [
        "en_ner_gmb_trf_sample-0.1.0-py3-none-any.whl",
        "gmb_ner-0.1.0-py3-none-any.whl",
    ]


def test_installed_package_predicts_the_same_offline(run, tiny_bert, tmp_path):
    wheel = run / "packages" / "en_ner_gmb_trf_sample-0.1.0-py3-none-any.whl"
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    hidden = tiny_bert.rename(tiny_bert.with_name("moved-away"))
    try:
        job = {
            "model": str(
                tmp_path / "site" / "en_ner_gmb_trf_sample" / "en_ner_gmb_trf_sample-0.1.0"
            ),
            "sentences": TEXTS,
            "colors": {},
            "explain": ["geo"],
        }
        (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
        subprocess.run(
            [sys.executable, "-I", _proof.__file__, "job.json", "result.json"],
            cwd=tmp_path,
            check=True,
        )
    finally:
        hidden.rename(tiny_bert)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    nlp = spacy.load(run / "training" / "model-best")
    assert result["entities"] == [_proof.entities(nlp(text)) for text in TEXTS]
