"""Sentences become Docs: words, spaces, sentence starts, entities and missing annotation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin

from gmb_ner.corpus.docs import annotated_sentences, blocks, make_doc, part_docs, write_docbin
from gmb_ner.corpus.table import Sentence
from gmb_ner.corpus.tags import spans

ROOT = Path(__file__).parents[2]
VOCAB = spacy.blank("en").vocab
READER_VOCAB = spacy.blank("en").vocab  # a reader knows none of the writer's strings
MISSING, INSIDE, OUTSIDE, BEGIN = range(4)  # spaCy's ent_iob


def read(path):
    return list(DocBin().from_disk(path).get_docs(READER_VOCAB))


def entities(doc):
    return [(entity.label_, entity.text) for entity in doc.ents]


def test_blocks_are_consecutive_sentences():
    assert blocks(7, 3) == [0, 0, 0, 1, 1, 1, 2]
    assert blocks(2, 1) == [0, 1]
    assert blocks(0, 5) == []
    with pytest.raises(ValueError, match="at least one sentence, not 0"):
        blocks(3, 0)


def test_a_doc_has_words_natural_text_sentence_starts_and_entities(sentence):
    first = sentence("Ada|B-per Hill|I-per ca n't leave Oslo|B-geo .")
    second = sentence('" Rain|B-nat , " she said .')
    doc = make_doc(VOCAB, [first, second], [True, True])
    assert [token.text for token in doc] == [*first.words, *second.words]
    assert doc.text == 'Ada Hill can\'t leave Oslo. "Rain," she said.'
    assert [token.is_sent_start for token in doc] == [True, *[False] * 6, True, *[False] * 6]
    assert [sent.text for sent in doc.sents] == ["Ada Hill can't leave Oslo.", '"Rain," she said.']
    assert entities(doc) == [("per", "Ada Hill"), ("geo", "Oslo"), ("nat", "Rain")]


def test_no_space_follows_the_last_word_and_one_parts_sentences(sentence):
    doc = make_doc(VOCAB, [sentence("Stop !"), sentence("Why")], [True, True])
    assert doc.text_with_ws == "Stop! Why"


def test_a_foreign_sentence_is_missing_annotation_and_its_text_context(sentence):
    own, foreign = sentence("Ada|B-per sails ."), sentence("Oslo|B-geo waits .")
    doc = make_doc(VOCAB, [own, foreign], [True, False])
    assert doc.text == "Ada sails. Oslo waits."
    assert [token.ent_iob for token in doc] == [BEGIN, OUTSIDE, OUTSIDE, *[MISSING] * 3]
    assert entities(doc) == [("per", "Ada")]


@pytest.mark.parametrize("per_sentence", [True, False])
def test_an_entity_ends_with_its_sentence_even_where_the_next_is_missing(
    sentence, tmp_path, per_sentence
):
    ends = sentence("He left New|B-geo York|I-geo")
    starts = sentence("York|B-geo slept")
    doc = make_doc(VOCAB, [ends, starts, ends], [True, per_sentence, True])
    write_docbin([doc], tmp_path / "part.spacy")
    for one in (doc, *read(tmp_path / "part.spacy")):
        assert entities(one)[0] == entities(one)[-1] == ("geo", "New York")
        assert len(one.ents) == (3 if per_sentence else 2)
        expected = [BEGIN, OUTSIDE] if per_sentence else [MISSING, MISSING]
        assert [token.ent_iob for token in one[4:6]] == expected


def test_a_part_holds_the_docs_with_one_of_its_sentences(sentence):
    sentences = [sentence(f"{name}|B-per slept") for name in ("Ada", "Bo", "Cy", "Di", "Ed")]
    parts = ["train", "test", "train", "train", "test"]
    in_train, in_test = (
        [[token.ent_iob for token in doc] for doc in part_docs(VOCAB, sentences, parts, part, 2)]
        for part in ("train", "test")
    )
    own, foreign = [BEGIN, OUTSIDE], [MISSING, MISSING]
    assert in_train == [own + foreign, own + own]
    assert in_test == [foreign + own, own]
    assert list(part_docs(VOCAB, sentences, parts, "dev", 2)) == []


def test_docs_of_single_sentences_hold_no_foreign_one(sentence):
    sentences = [sentence("Ada|B-per"), sentence("Bo|B-per slept"), sentence("Cy|B-per sat .")]
    docs = list(part_docs(VOCAB, sentences, ["train", "test", "train"], "train", 1))
    assert [doc.text for doc in docs] == ["Ada", "Cy sat."]
    assert [len(list(doc.sents)) for doc in docs] == [1, 1]  # also where it is a single word
    assert all(token.ent_iob != MISSING for doc in docs for token in doc)


WORD = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6)
CHUNK = st.tuples(st.lists(WORD, min_size=1, max_size=3), st.sampled_from(["O", "geo", "a-b c"]))


@st.composite
def any_sentence(draw):
    words, tags = [], []
    for chunk, label in draw(st.lists(CHUNK, min_size=1, max_size=4)):
        words += chunk
        inside = [f"I-{label}"] * (len(chunk) - 1)
        tags += ["O"] * len(chunk) if label == "O" else [f"B-{label}", *inside]
    return Sentence("1", tuple(words), tuple(tags), range(2, 2 + len(words)))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(any_sentence(), st.booleans()), min_size=1, max_size=5))
def test_a_docbin_gives_back_all_that_was_written(tmp_path_factory, known):
    sentences, annotated = zip(*known, strict=True)
    path = tmp_path_factory.mktemp("docbin") / "part.spacy"
    written = make_doc(VOCAB, sentences, annotated)
    assert write_docbin([written], path) == 1
    (doc,) = read(path)
    assert doc.text == written.text
    for own, sent, given_ in zip(sentences, doc.sents, annotated, strict=True):
        assert tuple(token.text for token in sent) == own.words
        found = [(ent.label_, ent.start - sent.start, ent.end - sent.start) for ent in sent.ents]
        assert found == (spans(own.tags) if given_ else [])
        assert all((token.ent_iob == MISSING) is not given_ for token in sent)


def test_the_same_input_gives_the_same_bytes(kaggle, fetched, tmp_path):
    csv, record = fetched(kaggle(60))
    outs = [tmp_path / seed for seed in ("1", "2")]
    runs = [
        subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "convert.py"), csv, record, out],
            env=os.environ | {"PYTHONHASHSEED": out.name},  # the order of sets of strings
            stdout=subprocess.DEVNULL,
        )
        for out in outs
    ]
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    names = sorted(path.name for path in outs[0].iterdir())
    assert names == [
        *("audit.json", "dev.spacy", "manifest.json"),
        *("misaligned.jsonl", "test.spacy", "train.spacy"),
    ]
    for name in names:
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes(), name


def test_annotated_sentences():
    doc = Doc(
        VOCAB,
        words=["Ada", "left", ".", "Who", "?", "Oslo", "."],
        sent_starts=[True, False, False, True, False, True, False],
        ents=["B-per", "O", "O", "", "", "B-geo", "O"],
    )
    assert [
        (part.text, [ent.label_ for ent in part.ents]) for part in annotated_sentences(doc)
    ] == [("Ada left . ", ["per"]), ("Oslo . ", ["geo"])]


def test_a_doc_without_sentence_starts_is_one_sentence():
    doc = Doc(VOCAB, words=["Ada", "left", "Oslo"], ents=["", "O", "B-geo"])
    (sentence,) = annotated_sentences(doc)
    assert [(token.text, token.ent_iob) for token in sentence] == [
        ("Ada", MISSING),
        ("left", OUTSIDE),
        ("Oslo", BEGIN),
    ]
    assert not list(annotated_sentences(Doc(VOCAB, words=["Ada", "left"])))
