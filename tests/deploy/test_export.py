"""Pipelines without torch find what those with it find."""

import json
import pickle
import shutil
import subprocess
import sys
import threading
import zipfile
from email.parser import Parser
from types import SimpleNamespace

import numpy as np
import pytest
import spacy
from spacy import util
from spacy.tokens import Doc
from spacy.training import Example
from tokenizers import Tokenizer, models

from gmb_ner.benchmark.prediction_speed import Contestant
from gmb_ner.benchmark.roofline import operations_per_piece, work
from gmb_ner.deploy.export import export
from gmb_ner.deploy.package import package
from gmb_ner.errors import InputError
from gmb_ner.pipeline.loading import load_model, reads_sentences
from gmb_ner.pipeline.onnx_ner import OnnxNER

TRAINING = [
    ("Angela Merkel met Iraqi police in London on Friday .", [(0, 13, "per"), (34, 40, "geo")]),
    ("The United Nations met in Baghdad .", [(4, 18, "org"), (26, 33, "geo")]),
]
TEXTS = [
    *(text for text, _ in TRAINING),
    "angela merkel was in BAGHDAD on Monday.",
    "London",
    "  ",
    "",
    # Several windows, and a word of more pieces than a window has.
    "The United Nations met Angela Merkel in London . " * 12 + "x" * 100,
]
# No graph is written for this activation by hand.
TRACED = {"transformer_config": {"hidden_act": "relu"}}
SETTINGS = {"label_bias": {"org": 0.25}, "threshold": 0.1}


def contextual(pooling="reduce_first", hidden_width=0):
    """A model of the tags, on the transformer."""
    return {
        "@architectures": "gmb_ner.LinearTagger.v1",
        "hidden_width": hidden_width,
        "tok2vec": {
            "@architectures": "gmb_ner.TransformerListener.v1",
            "grad_factor": 1.0,
            "pooling": {"@layers": f"{pooling}.v1"},
        },
    }


def requirements_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        return Parser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist")


def examples(nlp):
    return [Example.from_dict(nlp.make_doc(text), {"entities": ents}) for text, ents in TRAINING]


def make(folder, encoder, *, lexical=True, cased=True, transformer_config=None, **settings):
    """Train a small pipeline with our own components, and write it."""
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    transformer = {
        "@architectures": "gmb_ner.TransformerModel.v1",
        "name": str(encoder),
        "window": 32,
        "context": 6,
        "case_embeddings": cased,
        "precision": "float32",
        "transformer_config": transformer_config or {},
    }
    nlp.add_pipe("transformer", config={"model": transformer})
    model = contextual(**settings)
    if lexical:
        table = {"@architectures": "gmb_ner.LexicalTagger.v1", "min_count": 1}
        experts = {"contextual": model, "lexical": table}
        model = {"@architectures": "gmb_ner.ExpertTaggers.v1", "*": experts}
    nlp.add_pipe("linear_ner", name="ner", config={"model": model, **SETTINGS})
    nlp.add_pipe("trf_data_cleaner")  # as in our configs
    data = examples(nlp)
    optimizer = nlp.initialize(lambda: data)
    optimizer.learn_rate = 0.01
    for _ in range(25):
        nlp.update(data, sgd=optimizer)
    nlp.get_pipe("ner").cfg["temperature"] = 1.5
    nlp.to_disk(folder)
    return folder


def found(nlp):
    """Entities of the texts, and their confidences."""
    docs = list(nlp.pipe(TEXTS, batch_size=3))
    entities = [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs]
    return entities, [ent._.confidence for doc in docs for ent in doc.ents]


@pytest.fixture(scope="module")
def trained(tiny_bert, tmp_path_factory):
    return make(tmp_path_factory.mktemp("trained") / "model", tiny_bert)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    return export(trained, tmp_path_factory.mktemp("exported") / "model", precision="fp32")


def test_entities_and_confidences_are_those_of_torch(trained, exported):
    entities, confidences = found(spacy.load(trained))
    assert entities[0] == [("Angela Merkel", "per"), ("London", "geo")]
    same, close = found(spacy.load(exported))
    assert same == entities
    np.testing.assert_allclose(close, confidences, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        *({"lexical": False}, {"pooling": "reduce_mean"}, {"hidden_width": 8}, {"cased": False}),
        {"transformer_config": {"num_hidden_layers": 1}},
        TRACED,
        {**TRACED, "pooling": "reduce_mean"},
        {**TRACED, "hidden_width": 8, "cased": False},
        {"transformer_config": {"num_hidden_layers": 0}},
    ],
    ids=[
        *("one expert", "mean pooling", "hidden layer", "no case embeddings", "fewer layers"),
        *("traced", "traced, mean pooling", "traced, hidden layer, no case embeddings"),
        "no layers",
    ],
)
def test_other_models(settings, tiny_bert, tmp_path):
    trained = make(tmp_path / "trained", tiny_bert, **settings)
    entities, confidences = found(spacy.load(trained))
    same, close = found(spacy.load(export(trained, tmp_path / "model", precision="fp32")))
    assert same == entities
    np.testing.assert_allclose(close, confidences, rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_operations_of_a_graph_are_those_of_its_encoder_and_tags(precision, tiny_bert, tmp_path):
    trained = make(tmp_path / "trained", tiny_bert, transformer_config={"num_hidden_layers": 1})
    exported = spacy.load(export(trained, tmp_path / "model", precision=precision))
    tags = 32 * (1 + 2 * len(exported.get_pipe("ner").labels))
    exported.add_pipe("sentencizer")  # what else is in the pipeline does not count
    assert operations_per_piece(spacy.load(trained)) == 2 * (4 * 32 * 32 + 2 * 32 * 64)
    assert operations_per_piece(exported) == operations_per_piece(spacy.load(trained)) + 2 * tags
    # One thread reads both windows together; the tags' weights are float32 in any case.
    exported.get_pipe("ner").threads = 1
    size = {"fp32": 4, "int8": 1}[precision]
    read = work(Contestant(exported), ["nile xy", "nile"], 3, batch_size=2, encoder=tiny_bert)
    assert read.bytes == (size * (4 * 32 * 32 + 2 * 32 * 64) + 4 * tags) / 3


def test_settings_go_along(exported):
    nlp = spacy.load(exported)
    assert nlp.pipe_names == ["ner"]
    component = nlp.get_pipe("ner")
    assert {"label_bias": component.label_bias, "threshold": component.threshold} == SETTINGS
    assert component.cfg["temperature"] == 1.5
    assert component.labels == ("geo", "org", "per")
    stricter = spacy.load(exported, config={"components.ner.threshold": 1.0})
    assert found(stricter)[1] == []


@pytest.mark.parametrize("sentences", [False, True])
def test_it_is_scored_on_what_the_trained_one_is_scored_on(sentences, trained, tmp_path):
    learned = spacy.load(trained)
    learned.config["corpora"]["train"] = {"sentences": sentences}
    learned.to_disk(tmp_path / "trained")
    written = export(tmp_path / "trained", tmp_path / "model", precision="fp32")
    assert reads_sentences(spacy.load(written)) is sentences


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("settings", [{}, TRACED], ids=["written", "traced"])
def test_int8_gives_a_text_the_same_whatever_stands_beside_it(
    settings, threads, tiny_bert, tmp_path
):
    trained = make(tmp_path / "trained", tiny_bert, **settings)
    config = {"components.ner.threads": threads}
    nlp = spacy.load(export(trained, tmp_path / "model", precision="int8"), config=config)
    texts = [nlp.make_doc(text) for text in TEXTS]
    together = nlp.get_pipe("ner").tag_scores(texts)
    alone = [nlp.get_pipe("ner").tag_scores([text]) for text in texts]
    np.testing.assert_array_equal(np.concatenate(alone), together)


@pytest.mark.parametrize("settings", [{}, TRACED], ids=["written", "traced"])
def test_int8_is_smaller_and_close(settings, tiny_bert, tmp_path):
    trained = make(tmp_path / "trained", tiny_bert, **settings)
    small = spacy.load(export(trained, tmp_path / "int8", precision="int8"))
    exact = spacy.load(export(trained, tmp_path / "fp32", precision="fp32"))
    assert len(small.get_pipe("ner").graph) < len(exact.get_pipe("ner").graph)
    texts = [exact.make_doc(text) for text in TEXTS]
    scores = [nlp.get_pipe("ner").tag_scores(texts) for nlp in (small, exact)]
    difference = np.abs(scores[0] - scores[1])
    assert 0 < difference.max() < 1.0
    assert difference.mean() < 0.1


def test_texts_tell_the_ranges_of_int8(trained, tmp_path):
    docs = [spacy.blank("en").make_doc(text) for text in TEXTS]
    graphs = []
    for name, texts in (("built-in", []), ("these", docs), ("again", docs), ("none", [docs[5]])):
        written = export(trained, tmp_path / name, precision="int8", texts=texts)
        graphs.append((written / "ner" / "graph").read_bytes())
    built_in, these, again, none = graphs
    assert these == again != built_in == none


def test_a_doc_alone_is_read_as_in_a_batch(exported):
    nlp = spacy.load(exported)
    alone = [[(ent.text, ent.label_) for ent in nlp(text).ents] for text in TEXTS]
    assert alone == found(nlp)[0]


def test_nothing_to_read(exported):
    nlp = spacy.load(exported)
    assert list(nlp.pipe([])) == []
    assert [len(doc.ents) for doc in nlp.pipe(["", ""])] == [0, 0]
    doc = nlp(Doc(nlp.vocab))
    assert doc.ents == ()


def test_in_bytes(exported):
    nlp = spacy.load(exported)
    again = spacy.util.load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())
    assert found(again) == found(nlp)


def test_pickled(exported):
    # As processes that are spawned get it.
    nlp = spacy.load(exported)
    component = pickle.loads(pickle.dumps(nlp.get_pipe("ner")))
    doc = nlp.make_doc(TEXTS[0])
    again = nlp.make_doc(TEXTS[0])
    assert [ent.text for ent in component(doc).ents] == ["Angela Merkel", "London"]
    assert component.threshold == SETTINGS["threshold"]
    assert component.name == "ner"
    nlp.get_pipe("ner")(again)
    assert [ent._.confidence for ent in doc.ents] == [ent._.confidence for ent in again.ents]
    nlp.set_error_handler(util.ignore_error)
    handler = pickle.loads(pickle.dumps(nlp.get_pipe("ner"))).get_error_handler()
    assert handler is util.ignore_error


def test_on_disk(exported, tmp_path):
    nlp = spacy.load(exported)
    nlp.to_disk(tmp_path / "again")
    assert found(spacy.load(tmp_path / "again")) == found(nlp)


def test_it_needs_neither_torch_nor_transformers(exported):
    code = (
        "import json, sys\n"
        "import catalogue\n"
        "missing = 'torch', 'transformers', 'spacy_transformers', 'onnx'\n"
        "sys.modules |= dict.fromkeys(missing)\n"
        # spaCy loads what installed packages announce.
        "announced = catalogue.Registry._get_entry_points\n"
        "catalogue.Registry._get_entry_points = lambda self: [\n"
        "    entry for entry in announced(self) if entry.value.split('.')[0] not in missing\n"
        "]\n"
        "import spacy\n"
        f"doc = spacy.load({str(exported)!r})({TEXTS[0]!r})\n"
        "print(json.dumps([[ent.text, ent.label_] for ent in doc.ents]))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(run.stdout) == [["Angela Merkel", "per"], ["London", "geo"]]


def test_its_wheel_has_a_name_and_requirements_of_its_own(exported, run_files, tmp_path):
    files = run_files(run={"config": "minilm"}, scores={"config": "minilm"})
    made = package(exported, tmp_path / "packages", **files)
    assert made.name == "en_ner_gmb_sm_onnx"
    required = requirements_of(made.wheel)
    assert sorted(line.partition("<")[0] for line in required) == ["gmb-ner[onnx]", "spacy"]
    with zipfile.ZipFile(made.wheel) as archive:
        archive.extractall(tmp_path / "site")
    installed = spacy.load(tmp_path / "site" / made.name / f"{made.name}-0.1.0")
    assert installed.meta["description"].endswith("Runs on onnxruntime, without torch.")
    assert [(ent.text, ent.label_) for ent in installed(TEXTS[0]).ents] == [
        ("Angela Merkel", "per"),
        ("London", "geo"),
    ]


def test_a_missing_library_is_named(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    message = r"ner needs onnxruntime: pip install 'gmb-ner\[onnx\]'"
    with pytest.raises(ImportError, match=message):
        spacy.load(exported)


def test_pieces_that_are_not_berts_need_tokenizers(exported, run_files, tmp_path, monkeypatch):
    model = tmp_path / "model"
    shutil.copytree(exported, model)
    other = Tokenizer(models.BPE({"a": 0}, []))
    (model / "ner" / "tokenizer").write_text(other.to_str())
    files = run_files(run={"config": "minilm"}, scores={"config": "minilm"})
    made = package(model, tmp_path / "packages", **files)
    required = [line.partition("<")[0] for line in requirements_of(made.wheel)]
    assert sorted(required) == ["gmb-ner[onnx]", "spacy", "tokenizers"]
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match="ner needs tokenizers: pip install tokenizers"):
        spacy.load(model)


def test_prediction_before_a_graph_is_there():
    nlp = spacy.blank("en")
    component = nlp.add_pipe("onnx_ner", name="ner")
    assert isinstance(component, OnnxNER)
    with pytest.raises(ValueError, match="E109"):
        nlp("Oslo")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 2.0}, "threshold is a confidence in"),
        ({"threads": -1}, "threads is at least 0"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        spacy.blank("en").add_pipe("onnx_ner", config=settings)


def test_as_many_threads_read_as_are_asked_for_last(exported):
    nlp = spacy.load(exported)
    component = nlp.get_pipe("ner")
    for threads in (2, 3):
        component.threads = threads
        nlp(TEXTS[-1])  # of several windows
        assert component.encoder.pool[1]._max_workers == threads


def test_a_stream_that_is_given_up_is_not_read_on(exported, monkeypatch):
    nlp = spacy.load(exported, config={"components.ner.threads": 2})
    component = nlp.get_pipe("ner")
    session, read, given_up = component.encoder.session, [], threading.Event()

    def run(wanted, feed):
        read.append(feed)
        assert given_up.wait(60)
        return session.run(wanted, feed)

    slow = SimpleNamespace(run=run, get_inputs=session.get_inputs)
    monkeypatch.setattr(component.encoder, "session", slow)
    begun = component.begin([nlp.make_doc(TEXTS[0])] * 50)
    del begun
    given_up.set()
    component.encoder.pool[1].shutdown()  # which waits for all that is left to do
    assert len(read) <= 2  # those that the threads were at


def test_it_reads_where_no_thread_can_be_had(exported):
    nlp = spacy.load(exported, config={"components.ner.threads": 2})
    expected = [ent.text for ent in nlp(TEXTS[0]).ents]
    nlp.get_pipe("ner").encoder.pool[1].shutdown()  # as at the end of the main thread
    assert [ent.text for ent in nlp(TEXTS[0]).ents] == expected == ["Angela Merkel", "London"]


def test_a_damaged_graph_is_told(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "model")
    graph = tmp_path / "model" / "ner" / "graph"
    graph.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(InputError, match="The graph of ner is damaged, or of another onnxruntime"):
        load_model(str(tmp_path / "model"))


@pytest.mark.parametrize("threads", [1, 2])
def test_other_threads_read_while_the_next_batch_is_prepared(threads, exported, monkeypatch):
    nlp = spacy.load(exported, config={"components.ner.threads": threads})
    component = nlp.get_pipe("ner")
    assert component.works_ahead is (threads > 1)
    expected = [[(ent.text, ent.label_) for ent in nlp(text).ents] for text in TEXTS]
    session, rain = component.encoder.session, component.word_pieces([nlp.make_doc("Rain")])

    def run(wanted, feed):
        if (feed["input_ids"][:, : rain.lengths[0]] == rain.input_ids).all(axis=1).any():
            raise RuntimeError("no memory")
        return session.run(wanted, feed)

    failing = SimpleNamespace(run=run, get_inputs=session.get_inputs)
    monkeypatch.setattr(component.encoder, "session", failing)
    failed = []
    nlp.set_error_handler(lambda name, pipe, docs, error: failed.append((len(docs), str(error))))
    texts = [*TEXTS, "Rain", *TEXTS]
    docs = list(nlp.pipe(texts, batch_size=len(TEXTS)))
    # The batch of the one that failed is left out, as spaCy's own components do.
    assert failed == [(len(TEXTS), "no memory")]
    assert [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs] == [
        *expected,
        expected[-1],
    ]


# What cannot be exported


def test_unknown_precision(trained, tmp_path):
    with pytest.raises(InputError, match="no precision int4: choose from int8, fp32"):
        export(trained, tmp_path / "model", precision="int4")


def test_no_pipeline(tmp_path):
    with pytest.raises(InputError, match="is not a trained pipeline; make it with"):
        export(tmp_path, tmp_path / "model")


def test_other_pipelines(plain_model, tmp_path):
    with pytest.raises(InputError, match=r"holds ner \(ner\): only pipelines of transformer and "):
        export(plain_model, tmp_path / "model")


def test_another_transformer(tiny_bert, tmp_path):
    nlp = spacy.blank("en")
    stock = {
        "@architectures": "spacy-transformers.TransformerModel.v3",
        "name": str(tiny_bert),
        "get_spans": {"@span_getters": "spacy-transformers.doc_spans.v1"},
    }
    nlp.add_pipe("transformer", config={"model": stock})
    nlp.add_pipe("linear_ner", name="ner", config={"model": contextual()})
    nlp.initialize(lambda: examples(nlp))
    nlp.to_disk(tmp_path / "stock")
    with pytest.raises(InputError, match=r"is a spacy-transformers.TransformerModel.v3: only gmb_"):
        export(tmp_path / "stock", tmp_path / "model")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_library_that_export_needs_is_missing(missing, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "gmb_ner.deploy.export.find_spec", lambda name: None if name == missing else True
    )
    with pytest.raises(InputError, match=rf"export needs {missing}, which is missing: pip install"):
        export(trained, tmp_path / "model")


def test_mean_pooling_with_a_hidden_layer(tiny_bert, tmp_path):
    trained = make(tmp_path / "trained", tiny_bert, pooling="reduce_mean", hidden_width=8)
    with pytest.raises(InputError, match="mean pooling and a hidden layer"):
        export(trained, tmp_path / "model")


def test_a_graph_that_gives_other_scores_is_not_written(trained, exported, tmp_path, monkeypatch):
    old = shutil.copytree(exported, tmp_path / "model")
    before = sorted(old.rglob("*"))
    monkeypatch.setattr("gmb_ner.deploy.export.TOLERANCE", -1.0)
    with pytest.raises(InputError, match="tag scores differ from torch's by up to"):
        export(trained, old)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert sorted(old.rglob("*")) == before


def test_an_earlier_export_is_replaced(trained, exported, tmp_path):
    old = tmp_path / "model"
    shutil.copytree(exported, old)
    (old / "file").touch()
    export(trained, old, precision="fp32")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (old / "file").exists()
    assert (old / "config.cfg").is_file()


def test_what_is_no_export_is_not_replaced(trained, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    (tmp_path / "file").touch()
    for there in (trained, tmp_path / "mine", tmp_path / "file"):
        with pytest.raises(InputError, match="is there and is no exported pipeline: name a new"):
            export(trained, there, precision="fp32")
    assert (tmp_path / "mine" / "notes.txt").is_file() and (trained / "config.cfg").is_file()
