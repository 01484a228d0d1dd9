"""The CRF learns, decodes and is as sure as CRFsuite says."""

import itertools
import sys

import numpy as np
import pycrfsuite
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example

from gmb_ner.pipeline.crf_ner import CrfNER
from gmb_ner.pipeline.decoding import tag_names
from gmb_ner.pipeline.lexical import keys_of

SENTENCES = [
    ("Ada Lin visited Oslo on Monday .", ["B-per", "I-per", "O", "B-geo", "O", "B-tim", "O"]),
    ("The Nile rose .", ["O", "B-geo", "O", "O"]),
    ("Ada saw the Nile on Friday .", ["B-per", "O", "O", "B-geo", "O", "B-tim", "O"]),
]
SETTINGS = {"min_count": 0, "l2": 0.01}


def examples(nlp, sentences=SENTENCES):
    for text, tags in sentences:
        words = text.split()
        reference = Doc(nlp.vocab, words=words, ents=tags)
        yield Example(Doc(nlp.vocab, words=words), reference)


def trained(sentences=SENTENCES, **settings):
    nlp = spacy.blank("en")
    nlp.add_pipe("crf_ner", name="ner", config=SETTINGS | settings)
    nlp.initialize(lambda: list(examples(nlp, sentences)))
    return nlp


def read(nlp, text):
    doc = nlp(Doc(nlp.vocab, words=text.split()))
    return [(ent.text, ent.label_) for ent in doc.ents]


@pytest.fixture(scope="module")
def pipeline():
    return trained()


def test_sentences_are_learned(pipeline):
    assert read(pipeline, SENTENCES[0][0]) == [
        ("Ada Lin", "per"),
        ("Oslo", "geo"),
        ("Monday", "tim"),
    ]
    assert pipeline.evaluate(list(examples(pipeline)))["ents_f"] == 1


def test_probabilities_are_those_of_crfsuite(tmp_path):
    """Of every tag sequence that IOB2 allows, in proportion."""
    sentences = [("a b", ["B-x", "O"]), ("b a", ["O", "B-x"]), ("a a", ["B-x", "I-x"])]
    nlp = trained(sentences, l2=0.5)
    ner = nlp.get_pipe("ner")
    tags = tag_names(["x"])
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
    trainer.set_params({"c2": 0.5, "feature.possible_transitions": True, "max_iterations": 100})
    rows = {}
    for text, gold in sentences:
        doc = Doc(nlp.vocab, words=text.split())
        rows[text] = [list(map(str, row)) for row in keys_of(ner.table.features([doc])).tolist()]
        trainer.append(rows[text], gold)
    trainer.train(str(tmp_path / "model"))
    tagger = pycrfsuite.Tagger()
    tagger.open(str(tmp_path / "model"))
    for text, features in rows.items():
        tagger.set(features)
        scores = ner.table.score([Doc(nlp.vocab, words=text.split())])
        for some, others in itertools.product(itertools.product(tags, repeat=2), repeat=2):
            expected = np.log(tagger.probability(list(some)) / tagger.probability(list(others)))
            found = [
                scores[0, tags.index(a)]
                + scores[1, tags.index(b)]
                + ner.transition[tags.index(a), tags.index(b)]
                for a, b in (some, others)
            ]
            assert found[0] - found[1] == pytest.approx(expected, abs=0.02)


def test_confidences(pipeline):
    doc = pipeline(Doc(pipeline.vocab, words=["Ada", "saw", "the", "Nile", "."]))
    assert doc.ents and all(0.5 < ent._.confidence <= 1 for ent in doc.ents)
    stricter = trained(threshold=1.0)
    assert read(stricter, "Ada saw the Nile .") == []


def test_tokens_without_annotation_teach_nothing():
    missing = [(text, [tag if tag != "O" else "" for tag in tags]) for text, tags in SENTENCES]
    nlp = spacy.blank("en")
    ner = nlp.add_pipe("crf_ner", name="ner", config=SETTINGS)

    def annotated():
        for text, tags in missing:
            reference = Doc(nlp.vocab, words=text.split())
            spans = [reference[i : i + 1] for i, tag in enumerate(tags) if not tag]
            reference.set_ents([], missing=spans, default="outside")
            yield Example(Doc(nlp.vocab, words=text.split()), reference)

    assert [tags for _, tags in ner._sequences(annotated())] == [
        ["O"] * count for count in (2, 1, 1, 1, 1, 1, 1)
    ]


@pytest.mark.parametrize("way", ["disk", "bytes"])
def test_saved_and_loaded(way, pipeline, tmp_path):
    if way == "disk":
        pipeline.to_disk(tmp_path)
        loaded = spacy.load(tmp_path)
    else:
        loaded = spacy.blank("en")
        loaded.add_pipe("crf_ner", name="ner")
        loaded.from_bytes(pipeline.to_bytes())
    for text, _ in SENTENCES:
        assert read(loaded, text) == read(pipeline, text)
        docs = [nlp(Doc(nlp.vocab, words=text.split())) for nlp in (loaded, pipeline)]
        scores = [doc.spans["ner"].attrs["scores"] for doc in docs]
        np.testing.assert_array_equal(*scores)


def test_empty_docs_and_batches(pipeline):
    docs = [Doc(pipeline.vocab), *(Doc(pipeline.vocab, words=t.split()) for t, _ in SENTENCES)]
    found = [[(e.text, e.label_) for e in doc.ents] for doc in pipeline.pipe(docs, batch_size=2)]
    assert found == [[], *(read(pipeline, text) for text, _ in SENTENCES)]


def test_no_labels():
    with pytest.raises(ValueError, match="E143"):
        trained([("it rained", ["O", "O"])])


def test_prediction_before_initialize():
    nlp = spacy.blank("en")
    assert isinstance(nlp.add_pipe("crf_ner"), CrfNER)
    with pytest.raises(ValueError, match="E109"):
        nlp("Oslo")


@pytest.mark.parametrize("settings", [{"threshold": 2.0}, {"l1": -1.0}])
def test_wrong_settings(settings):
    with pytest.raises(ValueError, match=r"threshold is|l1 and l2 are"):
        spacy.blank("en").add_pipe("crf_ner", config=settings)


def test_crfsuite_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycrfsuite", None)
    with pytest.raises(ImportError, match=r"pip install 'gmb-ner\[train\]'"):
        trained()
