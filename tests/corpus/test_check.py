"""The check of a converted corpus finds what was changed behind its records' back."""

import json
import shutil

import pytest
import spacy
from spacy.tokens import Doc, DocBin

from gmb_ner.corpus.check import check_corpus
from gmb_ner.corpus.convert import Options, convert
from gmb_ner.errors import InputError

VOCAB = spacy.blank("en").vocab


@pytest.fixture
def corpus(fetched, kaggle, tmp_path):
    """Convert a hundred sentences, the last of which is also the first."""

    def make(protocol="canonical"):
        text = kaggle(99) + kaggle(1).split("\n", 1)[1].replace("Sentence: 1,", "Sentence: 100,")
        convert(*fetched(text), tmp_path / "out", Options(protocol=protocol))
        return tmp_path / "out"

    return make


def edit(path, change):
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def refusal(folder):
    with pytest.raises(InputError) as error:
        check_corpus(folder)
    return str(error.value)


def test_the_figures_of_a_sound_corpus_are_recounted(corpus):
    checked = check_corpus(corpus("contiguous"))
    parts = checked.pop("parts")
    assert checked == {
        "corpus": "voyages",
        "sample": False,
        "protocol": "contiguous",
        "holds": True,
        "test_sentences_also_in_train_or_dev": 0,
    }
    assert parts["train"] == {
        "docs": 14,
        "sentences": 70,
        "words": 350,
        "entities": {"per": 70, "geo": 70},
    }
    assert parts["test"]["sentences"] == 19  # the last one is trained on, and left out


FIGURES = [
    (("sentences",), "sentences: "),
    (("sentences_left_out",), "sentences of all parts and left out: "),
    (("sentences_per_doc",), "sentences per Doc: "),
    (("labels",), "labels: "),
    (("test_sentences_also_in_train_or_dev",), "test sentences also in train or dev (manifest"),
    *(
        (("parts", part, figure), f"{figure} of {part}: ")
        for part in ("train", "dev", "test")
        for figure in ("docs", "sentences", "words")
    ),
    *(
        (("parts", part, "entities", label), f"entities {label} of {part}: ")
        for part in ("train", "dev", "test")
        for label in ("per", "geo")
    ),
    *(
        (("parts", part, "entities", "count"), f"entities of {part}: ")
        for part in ("train", "dev", "test")
    ),
]


def test_every_figure_of_the_manifest_is_held_to_the_docs(corpus, tmp_path):
    folder = corpus()
    for keys, named in FIGURES:
        doctored = shutil.copytree(folder, tmp_path / "doctored", dirs_exist_ok=True)

        def change(data, keys=keys):
            *parents, last = keys
            for key in parents:
                data = data[key]
            data[last] = ["art", *data[last]] if last == "labels" else data[last] + 1

        edit(doctored / "manifest.json", change)
        message = refusal(doctored)
        assert message.startswith(named)
        assert message.endswith("convert again with `spacy project run convert`.")


def test_no_figure_of_the_manifest_is_forgotten(corpus):
    manifest = json.loads((corpus() / "manifest.json").read_text(encoding="utf-8"))

    def figures(data, *keys):
        if isinstance(data, dict):
            return {found for key in data for found in figures(data[key], *keys, key)}
        return {keys} if isinstance(data, int) and not isinstance(data, bool) else set()

    # The size of the CSV is no figure of the Docs.
    known = {keys for keys, _ in FIGURES} - {("labels",)} | {("source", "bytes")}
    assert figures(manifest) == known


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda data: data["rows"].update(read=501), "rows kept and dropped: 500 were counted and"),
        (lambda data: data["tags"].update(O=299), "words by tag: "),
        (lambda data: data["entities"].update(per=99), "entities by label: "),
        (lambda data: data["entities"].update(per=99, geo=101), "entities per by tag: "),
        (
            lambda data: data.update(test_sentences_also_in_train_or_dev=7),
            "test sentences also in train or dev (audit.json): ",
        ),
    ],
)
def test_the_audit_is_held_to_its_sums_and_the_docs(corpus, change, named):
    folder = corpus()
    edit(folder / "audit.json", change)
    assert refusal(folder).startswith(named)


def rewrite(path, change):
    """Write Docs anew, each with words and tags as `change` leaves them ("" is missing)."""
    docs = []
    for doc in DocBin().from_disk(path).get_docs(VOCAB):
        words = [token.text for token in doc]
        tags = [
            token.ent_iob_ + (f"-{token.ent_type_}" if token.ent_type_ else "") for token in doc
        ]
        change(words, tags)
        starts = [bool(token.is_sent_start) for token in doc]
        docs.append(Doc(VOCAB, words=words, ents=tags, sent_starts=starts))
    DocBin(attrs=["ENT_IOB", "ENT_TYPE", "SENT_START", "SPACY"], docs=docs).to_disk(path)


def test_a_leak_is_found_from_the_docs_themselves(corpus):
    folder = corpus("contiguous")
    (first, *_) = DocBin().from_disk(folder / "train.spacy").get_docs(VOCAB)
    (trained, *_) = first.sents

    def leak(words, tags):
        if not done:  # of equal length and labels: no figure gives it away
            words[:5] = [token.text.upper() for token in trained]
            done.append(True)

    done = []
    rewrite(folder / "test.spacy", leak)
    found = "1 were counted and 0 are on record"
    assert refusal(folder).startswith(
        f"test sentences also in train or dev (manifest.json): {found}"
    )
    for name in ("manifest.json", "audit.json"):  # not even if the records admit it
        edit(folder / name, lambda data: data.update(test_sentences_also_in_train_or_dev=1))
    assert refusal(folder) == (
        f"{folder / 'test.spacy'}: test sentences also in train or dev: 1, and the protocol "
        "contiguous allows none; convert again with `spacy project run convert`."
    )


def test_under_canonical_a_leak_is_reported_only(corpus):
    # Sentence 100 is a copy of sentence 1: each in whichever part chance put it.
    folder = corpus()
    checked = check_corpus(folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    key = "test_sentences_also_in_train_or_dev"
    assert checked[key] == manifest[key]


def test_a_sentence_that_is_annotated_in_part_is_refused(corpus):
    folder = corpus()

    def forget(words, tags):
        tags[1] = "" if tags[1] else "O"

    rewrite(folder / "dev.spacy", forget)
    assert refusal(folder).startswith("dev.spacy: the sentence '")
    assert refusal(folder).endswith(
        "' is annotated in part only; convert again with `spacy project run convert`."
    )


@pytest.mark.parametrize("content", [None, b"", b"no DocBin", "half"])
def test_docs_that_cannot_be_read_are_named(corpus, content):
    folder = corpus()
    path = folder / "test.spacy"
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    assert refusal(folder) == f"{path} cannot be read: make it with `spacy project run convert`."


def test_records_that_are_missing_or_of_another_kind_are_named(corpus):
    folder = corpus()
    edit(folder / "manifest.json", lambda data: data.pop("parts"))
    assert refusal(folder) == (
        f"{folder}: manifest.json and audit.json are not as they are written here (at 'parts'); "
        "convert again with `spacy project run convert`."
    )
    (folder / "audit.json").unlink()
    assert refusal(folder).startswith(f"There is no file {folder / 'audit.json'}; make it with")


def test_the_command_writes_figures_or_nothing(corpus, command, tmp_path):
    folder, output = corpus(), tmp_path / "metrics" / "corpus.json"
    code, said = command("audit.py", folder, output)
    assert code == 0 and "hold to their records" in said
    assert json.loads(output.read_text(encoding="utf-8")) == check_corpus(folder)
    output.unlink()
    edit(folder / "manifest.json", lambda data: data.update(sentences=7))
    code, said = command("audit.py", folder, output)
    assert code == 1 and "sentences: 100 were counted and 7 are on record" in said
    assert not output.exists()
