"""A file becomes a corpus: whole runs of the conversion, through its function and its command."""

import io
import json
import sys
from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin

from gmb_ner.corpus import convert as converting
from gmb_ner.corpus.check import check_corpus
from gmb_ner.corpus.convert import Options, convert
from gmb_ner.errors import InputError
from gmb_ner.files import file_digest

SAMPLE = Path(__file__).parents[2] / "corpus" / "sample.csv"
PARTS = ("train", "dev", "test")
FILES = [
    *("audit.json", "dev.spacy", "manifest.json"),
    *("misaligned.jsonl", "test.spacy", "train.spacy"),
]


def load(out, part):
    return list(DocBin().from_disk(out / f"{part}.spacy").get_docs(spacy.blank("en").vocab))


def own_sentences(out, part):
    """Words of each sentence that is annotated in a part."""
    sents = [sent for doc in load(out, part) for sent in doc.sents]
    return [tuple(token.text for token in sent) for sent in sents if sent[0].ent_iob != 0]


def listing(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize("sentences_per_doc", [5, 1])
@pytest.mark.parametrize(
    ("protocol", "sizes"), [("canonical", (76, 4, 20)), ("contiguous", (70, 10, 20))]
)
def test_all_parts_together_hold_every_sentence_once(
    fetched, kaggle, tmp_path, protocol, sizes, sentences_per_doc
):
    options = Options(protocol=protocol, sentences_per_doc=sentences_per_doc)
    converted = convert(*fetched(kaggle(100)), tmp_path / "out", options)
    assert listing(tmp_path / "out") == FILES
    parts = [own_sentences(tmp_path / "out", part) for part in PARTS]
    assert len({words for part in parts for words in part}) == sum(map(len, parts)) == 100
    if protocol == "contiguous" or sentences_per_doc == 1:
        assert tuple(map(len, parts)) == sizes
    manifest = converted.manifest
    for part, sentences in zip(PARTS, parts, strict=True):
        about, n = manifest["parts"][part], len(sentences)
        assert (about["sentences"], about["words"]) == (n, 5 * n)
        assert about["entities"] == {"count": 2 * n, "per": n, "geo": n}
        assert about["docs"] == len(load(tmp_path / "out", part))
    assert manifest["labels"] == ["geo", "per"]
    assert check_corpus(tmp_path / "out")["holds"] is True


def test_the_records_are_written_as_they_are_returned(fetched, kaggle, tmp_path):
    csv, record = fetched(kaggle(40), origin="a shelf")
    converted = convert(csv, record, tmp_path / "out", Options())
    for name, held in (("manifest.json", converted.manifest), ("audit.json", converted.audit)):
        assert json.loads((tmp_path / "out" / name).read_text(encoding="utf-8")) == held
    manifest = converted.manifest
    assert (manifest["corpus"], manifest["sample"], "note" in manifest) == ("voyages", False, False)
    assert manifest["source"] == {
        "file": "words.csv",
        "sha256": file_digest(csv),
        "bytes": csv.stat().st_size,
        "origin": "a shelf",
    }
    assert (manifest["protocol"], manifest["dev_share"]) == ("canonical", 0.05)
    assert (manifest["sentences"], manifest["sentences_left_out"]) == (40, 0)
    assert converted.audit["rows"] == {"read": 200, "kept": 200, "dropped": {}}
    assert converted.audit["alignment"] == {"entities": 80, "misaligned": 0, "share_aligned": 1.0}
    # No path of the machine that made it is kept.
    assert all(str(tmp_path).encode() not in (tmp_path / "out" / n).read_bytes() for n in FILES)


def test_contiguous_leaves_out_what_an_earlier_part_holds(fetched, kaggle, tmp_path):
    csv, record = fetched(kaggle(100).replace("Zagreb", "Oslo"))  # 91 to 100 are as 1 to 10
    leaving = convert(csv, record, tmp_path / "a", Options(protocol="contiguous")).manifest
    assert (leaving["sentences_left_out"], leaving["parts"]["test"]["sentences"]) == (10, 10)
    assert leaving["test_sentences_also_in_train_or_dev"] == 0
    assert leaving["dev_share"] is None  # the protocol's own share is fixed
    counting = convert(csv, record, tmp_path / "b", Options()).manifest
    assert counting["sentences_left_out"] == 0
    assert counting["test_sentences_also_in_train_or_dev"] > 0


def test_misaligned_entities_are_written_line_by_line(fetched, kaggle, tmp_path):
    odd = "Sentence: 31,R,NN,B-art\n,&,CC,O\n,B,NN,O\n"
    convert(*fetched(kaggle(30) + odd), tmp_path / "out", Options())
    (line,) = (tmp_path / "out" / "misaligned.jsonl").read_text(encoding="utf-8").splitlines()
    expected = {"sentence": "Sentence: 31", "row": 152, "label": "art", "entity": "R"}
    assert json.loads(line) == expected | {"tokens": "R&B"}


def test_the_sample_says_so_and_all_its_quirks_survive(fetched, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    about = {"corpus": "sample", "sample": True}
    csv, record = fetched(SAMPLE.read_bytes(), "sample.csv", **about)
    code, output = command("convert.py", csv.name, record.name, "out")
    assert code == 0
    assert "SAMPLE" in output and "Read as cp1252" in output
    manifest = json.loads(Path("out/manifest.json").read_text(encoding="utf-8"))
    assert manifest["sample"] is True
    assert manifest["note"].startswith("SAMPLE")
    assert manifest["labels"] == ["art", "eve", "geo", "gpe", "nat", "org", "per", "tim"]
    assert check_corpus(Path("out"))["sample"] is True
    sentences = [words for part in PARTS for words in own_sentences(Path("out"), part)]
    words = {word for sentence in sentences for word in sentence}
    assert "None" in {sentence[0] for sentence in sentences}
    assert '"' in words
    assert any("\u00c0" <= letter <= "\u00ff" for word in words for letter in word)
    assert not any("\x80" <= letter <= "\x9f" for word in words for letter in word)  # latin-1's
    code, output = command("audit.py", "out", "metrics/corpus.json")
    assert code == 0 and "SAMPLE" in output


def test_another_table_with_iob1_tags(fetched, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [("Ada", "Turin"), ("Bo", "Riga"), ("Cy", "Umea"), ("Di", "Oslo"), ("Ed", "Bari")]
    rows = ["lemma\tsurface\tkind"]
    for who, where in names * 4:  # blank rows between sentences, no ids
        rows += [f"-\t{who}\tI-PERSON", "-\tleft\tO", f"-\t{where}\tI-TOWN", "-\tRoma\tB-TOWN", ""]
    csv, record = fetched("\n".join(rows), "voyages.tsv")
    command_line = ("convert.py", csv.name, record.name, "out", "--sentences-per-doc", "1")
    code, output = command(*command_line, "--column-word", "surface", "--column-tag", "kind")
    assert code == 0, output
    assert "delimiter '\\t', tags iob1" in output and "SAMPLE" not in output
    audited = json.loads(Path("out/audit.json").read_text(encoding="utf-8"))
    assert audited["rows"]["dropped"] == {"blank row (sentence border)": 19}
    assert audited["tags"] == {"B-TOWN": 40, "B-PERSON": 20, "O": 20}
    (doc, *_) = load(Path("out"), "train")
    assert [(ent.label_, ent.text) for ent in doc.ents][1:] == [
        ("TOWN", doc[2].text),
        ("TOWN", "Roma"),  # IOB1's B- parts it from the town before
    ]


def test_labels_that_cannot_be_learned_or_scored_are_told(fetched, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = ["drag", *["drug"] * 38, "drog"]  # the first is trained on, the last a test
    rows = [
        f"{n},{chr(97 + n % 26) * (1 + n // 26)},B-{label}\n{n},helps,O"
        for n, label in enumerate(labels)
    ]
    csv, record = fetched("\n".join(["id,word,tag", *rows]), "drugs.csv")
    command_line = ("convert.py", csv.name, record.name, "out", "--protocol", "contiguous")
    code, output = command(*command_line, "--sentences-per-doc", "1")
    told = " ".join(output.split())
    assert code == 0, output
    assert "Not in train, so that it cannot be learned: drog. Is it a slip of the pen?" in told
    assert "Not in test, so that it cannot be scored: drag. Is it a slip of the pen?" in told


# What goes wrong leaves everything as it was


def test_a_record_of_another_file_is_refused(fetched, kaggle, tmp_path):
    csv, record = fetched(kaggle(30))
    csv.write_text(kaggle(31), encoding="utf-8")
    with pytest.raises(InputError) as error:
        convert(csv, record, tmp_path / "out", Options())
    assert str(error.value) == (
        f"{csv} is not the file that {record} describes: run `spacy project run fetch` again."
    )
    assert not (tmp_path / "out").exists()


def test_a_record_that_lacks_something_is_refused(fetched, kaggle, tmp_path):
    csv, record = fetched(kaggle(30))
    record.write_text(json.dumps({"sha256": file_digest(csv)}), encoding="utf-8")
    with pytest.raises(InputError, match="does not tell the corpus; make it with"):
        convert(csv, record, tmp_path / "out", Options())


def test_what_calls_itself_the_corpus_is_held_to_its_counts(fetched, kaggle, tmp_path):
    with pytest.raises(InputError, match="has 1048575 rows, but 150 were found"):
        convert(*fetched(kaggle(30), corpus="gmb"), tmp_path / "out", Options())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"protocol": "random"},
            "There is no protocol random; give one of canonical, contiguous, or such as "
            "fold-1-of-5.",
        ),
        ({"sentences_per_doc": 0}, "--vars.sentences_per_doc is 0; a Doc holds at least one."),
        ({"dev_share": 0.0}, "--dev-share is 0.0; give a share between 0 and 1."),
        ({"dev_share": 1.0}, "--dev-share is 1.0; give a share between 0 and 1."),
        ({"max_repairs": 1.5}, "--vars.max_repairs is 1.5; give a share from 0 to 1."),
        ({"max_repairs": float("nan")}, "--vars.max_repairs is nan; give a share from 0 to 1."),
    ],
)
def test_options_that_cannot_be_meant_are_refused(tmp_path, options, message):
    with pytest.raises(InputError) as error:
        convert(tmp_path / "words.csv", tmp_path / "r.json", tmp_path / "out", Options(**options))
    assert str(error.value) == message


@pytest.mark.parametrize("failing", ["write_docbin", "write_text"])
def test_a_failure_leaves_the_old_corpus_whole(fetched, kaggle, tmp_path, monkeypatch, failing):
    out = tmp_path / "out"
    convert(*fetched(kaggle(30)), out, Options())
    before = {path: path.read_bytes() for path in out.iterdir()}

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(converting, failing, full_disk)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\): free"):
        convert(*fetched(kaggle(60)), out, Options())
    # Nothing changed, and no temporary file is left, hidden ones included.
    assert {path: path.read_bytes() for path in out.rglob("*")} == before


def test_a_terminal_gets_a_progress_bar_that_fills(fetched, kaggle, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    class Bar(converting.tqdm):
        def close(self):
            counted.append((self.n, self.total))
            super().close()

    counted = []
    monkeypatch.setattr(converting, "tqdm", Bar)
    monkeypatch.setattr(sys, "stderr", Terminal())
    convert(*fetched(kaggle(30)), tmp_path / "out", Options(), progress=True)
    for title in ("read", "tags", "split", "align", "write train", "done"):
        assert title in sys.stderr.getvalue()
    assert counted[0] == (5, 5)


def test_nothing_is_drawn_where_nobody_looks(fetched, kaggle, tmp_path, capsys):
    convert(*fetched(kaggle(30)), tmp_path / "out", Options(), progress=True)
    assert capsys.readouterr() == ("", "")
