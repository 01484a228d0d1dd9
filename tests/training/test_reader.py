import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Corpus

from gmb_ner.training.reader import create_doc_reader

WORDS = ["Ada", "Lin", "spoke", ".", "Half-hearted", "rain", ".", "Oslo", "slept", "."]
TAGS = ["B-per", "I-per", "O", "O", "", "", "", "B-geo", "O", "O"]
STARTS = [True, False, False, False, True, False, False, True, False, False]


@pytest.fixture
def nlp():
    return spacy.blank("en")


@pytest.fixture
def path(nlp, tmp_path):
    """Two Docs of three sentences; the second sentence of each is another part's."""
    docs = []
    for _ in range(2):
        spaces = [
            word != "." and after != "."
            for word, after in zip(WORDS, [*WORDS[1:], "."], strict=True)
        ]
        spaces[3] = spaces[6] = True
        docs.append(Doc(nlp.vocab, WORDS, spaces=spaces, sent_starts=STARTS, ents=TAGS))
    DocBin(docs=docs).to_disk(tmp_path / "part.spacy")
    return tmp_path / "part.spacy"


def tokens(example):
    return [token.text for token in example.predicted]


def entities(example):
    return [(ent.text, ent.label_) for ent in example.reference.ents]


def test_whole_docs_on_the_corpus_own_tokens(nlp, path):
    examples = list(create_doc_reader(path)(nlp))
    assert [tokens(example) for example in examples] == [WORDS, WORDS]
    assert entities(examples[0]) == [("Ada Lin", "per"), ("Oslo", "geo")]
    assert all(token.ent_iob == 0 for token in examples[0].predicted)


def test_docs_with_rare_labels_are_repeated(nlp, path):
    docs = list(DocBin().from_disk(path).get_docs(nlp.vocab))
    docs.append(Doc(nlp.vocab, ["Nobody", "came"], ents=["O", "O"]))
    DocBin(docs=docs).to_disk(path)
    # Both labels stand in the first two Docs, none in the third.
    reader = create_doc_reader(path, repeat={"per": 2, "geo": 3, "art": 9})
    assert [len(tokens(example)) for example in reader(nlp)] == [10, 10, 10, 10, 10, 10, 2]
    # Where runs are Docs of their own, each has its own labels.
    reader = create_doc_reader(path, repeat={"per": 2}, annotated_only=True)
    assert [len(tokens(example)) for example in reader(nlp)] == [4, 4, 3, 4, 4, 3, 2]
    with pytest.raises(ValueError, match="repeat has 0 for art: give how many times, at least 1"):
        create_doc_reader(path, repeat={"art": 0})


def test_raw_share_alternates_with_spacys_own_tokens(nlp, path):
    own, raw = create_doc_reader(path, raw_share=0.5)(nlp)
    assert "Half-hearted" in tokens(own) and "Half-hearted" not in tokens(raw)
    assert own.predicted.text == raw.predicted.text


@pytest.mark.parametrize("share, raw", [(0.0, 0), (0.25, 2), (0.3, 3), (0.5, 5), (1.0, 10)])
def test_raw_share_is_met(nlp, path, share, raw):
    docs = list(DocBin().from_disk(path).get_docs(nlp.vocab))
    DocBin(docs=docs * 5).to_disk(path)
    examples = list(create_doc_reader(path, raw_share=share)(nlp))
    assert sum(tokens(example) != WORDS for example in examples) == raw


def test_raw_share_outside_0_to_1_is_refused(path):
    with pytest.raises(ValueError, match=r"raw_share is a share between 0 and 1, not 1\.5"):
        create_doc_reader(path, raw_share=1.5)


def test_annotated_only_yields_each_run_alone(nlp, path):
    examples = list(create_doc_reader(path, annotated_only=True)(nlp))
    assert [tokens(example) for example in examples] == [WORDS[:4], WORDS[7:]] * 2
    assert [entities(example) for example in examples[:2]] == [
        [("Ada Lin", "per")],
        [("Oslo", "geo")],
    ]


def test_other_annotation_goes_along_but_for_dependencies(nlp, tmp_path):
    doc = Doc(
        nlp.vocab,
        ["Ada", "slept", "in", "Oslo"],
        tags=["NNP", "VBD", "IN", "NNP"],
        heads=[1, 1, 1, 2],
        deps=["nsubj", "ROOT", "prep", "pobj"],
        ents=["B-per", "O", "", "B-geo"],
    )
    DocBin(docs=[doc]).to_disk(tmp_path / "parsed.spacy")
    reader = create_doc_reader(tmp_path / "parsed.spacy", annotated_only=True)
    references = [example.reference for example in reader(nlp)]
    assert [[token.tag_ for token in part] for part in references] == [["NNP", "VBD"], ["NNP"]]
    assert [[ent.label_ for ent in part.ents] for part in references] == [["per"], ["geo"]]


def test_limit_counts_docs_of_the_file(nlp, path):
    assert len(list(create_doc_reader(path, limit=1)(nlp))) == 1
    assert len(list(create_doc_reader(path, annotated_only=True, limit=1)(nlp))) == 2


def test_nothing_is_lost_where_spacys_reader_drops_long_docs(nlp, path):
    long = Doc(nlp.vocab, ["word"] * 3000, ents=["O"] * 3000)
    DocBin(docs=[long]).to_disk(path)
    assert [len(example.predicted) for example in create_doc_reader(path)(nlp)] == [3000]
    assert [len(example.predicted) for example in Corpus(path, max_length=500)(nlp)] == []


def test_registered():
    assert spacy.registry.readers.get("gmb_ner.DocReader.v1") is create_doc_reader


def test_sentences_are_docs_of_their_own(nlp, path):
    examples = list(create_doc_reader(path, sentences=True)(nlp))
    assert [tokens(example) for example in examples] == 2 * [WORDS[:4], WORDS[7:]]
    assert entities(examples[0]) == [("Ada Lin", "per")]
    # And what is limited is sentences.
    assert len(list(create_doc_reader(path, sentences=True, limit=3)(nlp))) == 3
