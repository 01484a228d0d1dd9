"""Shards: whole, in order, each record once, whatever happens."""

import datetime
import json
import os
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from hypothesis import given
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import DocBin, SpanGroup

from gmb_ner.annotate.engines import run_here, run_processes
from gmb_ner.annotate.formats import FORMATS, entities
from gmb_ner.annotate.job import (
    Counts,
    Job,
    annotate_shard,
    finished,
    load,
    prepare,
    remove_unfinished,
    split,
)
from gmb_ner.annotate.records import Record, read_records
from gmb_ner.errors import InputError
from gmb_ner.pipeline.scorer import CONFIDENCES

TEXTS = [f"Ada Lin saw Oslo on day {i} ." for i in range(10)]


@pytest.fixture
def job(tmp_path, ruler):
    def make(texts=TEXTS, **settings):
        (tmp_path / "in.txt").write_text("".join(f"{text}\n" for text in texts))
        settings = {"shard_size": 4, "batch_size": 3, **settings}
        return Job(str(tmp_path / "in.txt"), tmp_path / "out", str(ruler), **settings)

    return make


def run(job, engine=run_here, **options):
    sources = prepare(job)
    shards = split(read_records(sources, keep=job.keep), job.shard_size, finished(job))
    total = Counts()
    for counts in engine(job, shards, **options):
        total = total.plus(counts)
    return total


def lines(folder):
    return [
        json.loads(line)
        for path in sorted(folder.glob("part-*.jsonl"))
        for line in path.read_text().splitlines()
    ]


@given(
    count=st.integers(0, 30),
    size=st.integers(1, 12),
    done=st.sets(st.integers(0, 6)),
)
def test_shards_hold_each_record_once_and_in_order(count, size, done):
    shards = list(split((Record("f", i, "") for i in range(count)), size, done))
    assert not done & {index for index, _ in shards}
    for index, records in shards:
        expected = range(index * size, min((index + 1) * size, count))
        assert [record.row for record in records] == list(expected)
    made = {index for index, _ in shards} | done
    assert made >= set(range(-(-count // size)))


def test_a_whole_job(job):
    made = job()
    assert run(made) == Counts(records=10, words=80, entities=20, errors=0)
    assert sorted(path.name for path in made.output.iterdir()) == [
        "job.json",
        "part-00000.jsonl",
        "part-00001.jsonl",
        "part-00002.jsonl",
    ]
    found = lines(made.output)
    assert [row["text"] for row in found] == TEXTS
    assert [(row["file"], row["row"]) for row in found] == [("in.txt", i + 1) for i in range(10)]
    assert found[0]["entities"] == [
        {"start": 0, "end": 7, "label": "per", "text": "Ada Lin", "confidence": None},
        {"start": 12, "end": 16, "label": "geo", "text": "Oslo", "confidence": None},
    ]


def test_shards_that_are_there_are_not_made_again(job):
    made = job()
    run(made)
    before = {path.name: path.read_bytes() for path in made.output.glob("part-*")}
    (made.output / "part-00001.jsonl").unlink()
    (made.output / ".part-00001.jsonl.x.part").write_text("left by a kill")
    (made.output / "part-00002.jsonl").write_text("untouched")
    assert run(made) == Counts(records=4, words=32, entities=8)
    after = {path.name: path.read_bytes() for path in made.output.glob("*part-*")}
    assert after == before | {"part-00002.jsonl": b"untouched"}
    assert run(made) == Counts()


def test_what_fails_is_told_and_the_rest_goes_on(job, monkeypatch):
    made = job(["Oslo", "b" * 50, "Oslo again"])
    nlp = load(made)
    nlp.max_length = 40
    records = [*read_records(prepare(made)), Record("in.txt", 4, None, error="it is not UTF-8")]
    assert annotate_shard(nlp, made, 0, records) == Counts(2, 3, 2, 2)
    assert [row["row"] for row in lines(made.output)] == [1, 3]
    errors = [json.loads(line) for line in made.errors(0).read_text().splitlines()]
    assert [(error["row"], error["error"][:19]) for error in errors] == [
        (2, "the pipeline failed"),
        (4, "it is not UTF-8"),
    ]


def test_few_docs_are_there_at_a_time(job):
    made = job(["Oslo"] * 20 + ["b" * 50] + ["Oslo"] * 20)
    nlp, there, most = load(made), [], []

    @Language.component("counted")
    def counted(doc):
        there.append(weakref.ref(doc))
        most.append(sum(one() is not None for one in there))
        return doc

    nlp.add_pipe("counted")
    nlp.max_length = 40
    records = list(read_records(prepare(made)))
    assert annotate_shard(nlp, made, 0, records) == Counts(40, 40, 40, 1)
    assert max(most) <= 2 * made.batch_size


def test_files_of_others_are_no_shards(job):
    made = job()
    run(made)
    (made.output / "part-00000.bak.jsonl").write_text("a copy of somebody's")
    assert run(made) == Counts()


def torch_lacks_memory():
    return torch.empty(10**16)


def numpy_lacks_memory():
    return np.empty(10**16)


def cuda_lacks_memory():
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def onnxruntime_lacks_memory():
    raise RuntimeError("bfc_arena.cc:375 Failed to allocate memory for requested buffer of size 9")


@pytest.mark.parametrize(
    "lack", [torch_lacks_memory, numpy_lacks_memory, cuda_lacks_memory, onnxruntime_lacks_memory]
)
def test_a_lack_of_memory_is_no_error_of_a_record(lack, job, monkeypatch):
    made = job(["Oslo", "Oslo again", "Oslo"])
    nlp = load(made)
    records = list(read_records(prepare(made)))

    def fail(*args, **kwargs):
        lack()

    with monkeypatch.context() as patched:
        # Together they need too much, alone they do not.
        patched.setattr(nlp, "pipe", fail)
        assert annotate_shard(nlp, made, 0, records).errors == 0
    monkeypatch.setattr(type(nlp), "__call__", fail)
    monkeypatch.setattr(nlp, "pipe", fail)
    with pytest.raises(InputError, match=r"Memory did not suffice for in\.txt, row 1, alone \("):
        annotate_shard(nlp, made, 1, records)
    assert not made.shard(1).exists() and not made.errors(1).exists()


def test_an_error_that_a_handler_swallows_loses_no_record(job):
    made = job(["Oslo", "bad", "Oslo"])
    nlp = load(made)

    @spacy.Language.component("fails_on_bad")
    def fails_on_bad(doc):
        if doc.text == "bad":
            raise ValueError("no")
        return doc

    nlp.add_pipe("fails_on_bad")
    nlp.set_error_handler(lambda name, pipe, docs, error: None)
    assert annotate_shard(nlp, made, 0, list(read_records(prepare(made)))) == Counts(3, 3, 2, 0)
    assert [row["text"] for row in lines(made.output)] == ["Oslo", "bad", "Oslo"]


def test_nothing_half_written_stays(job, monkeypatch):
    made = job()
    prepare(made)
    nlp = load(made)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(nlp, "pipe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        annotate_shard(nlp, made, 0, list(read_records(prepare(made))))
    assert [path.name for path in made.output.iterdir()] == ["job.json"]


def test_processes_give_what_one_gives(job, tmp_path):
    made = job()
    run(made)
    several = Job(**{**vars(made), "output": tmp_path / "several"})
    assert run(several, run_processes, processes=2) == Counts(10, 80, 20)
    assert lines(several.output) == lines(made.output)


def test_several_processes_take_the_gpu_that_was_asked_for(job, monkeypatch):
    def fail(gpu_id):
        raise ValueError("no GPU")

    monkeypatch.setattr(spacy, "require_gpu", fail)
    with pytest.raises(InputError, match="GPU 0 cannot be used"):
        list(run_processes(job(gpu_id=0), [], processes=2))


def test_another_job_in_the_same_folder_is_refused(job):
    run(job())
    with pytest.raises(InputError, match="holds another job, with other shard_size, files"):
        prepare(job([*TEXTS, "more"], shard_size=5))


def test_a_model_that_was_trained_again_is_another_job(job, ruler, tmp_path):
    model = shutil.copytree(ruler, tmp_path / "model")
    made = Job(**{**vars(job()), "model": str(model)})
    run(made)
    shutil.rmtree(model)
    shutil.copytree(ruler, model)  # again, but the same
    prepare(made)
    patterns = model / "entity_ruler" / "patterns.jsonl"
    patterns.write_text(patterns.read_text().replace("geo", "gpe"))  # of the same size
    with pytest.raises(InputError, match="holds another job, with other model_sha256: give"):
        prepare(made)


def test_the_cache_of_a_package_is_no_part_of_its_model(job, tmp_path, ruler, monkeypatch):
    package = shutil.copytree(ruler, tmp_path / "en_ruler")
    monkeypatch.setattr("gmb_ner.annotate.job.is_package", lambda name: name == "en_ruler")
    monkeypatch.setattr("gmb_ner.annotate.job.get_package_path", lambda name: package)
    made = Job(**{**vars(job()), "model": "en_ruler"})
    prepare(made)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"cache")
    prepare(made)
    (package / "meta.json").write_text("{}")
    with pytest.raises(InputError, match="with other model_sha256"):
        prepare(made)


def test_input_that_was_changed_is_another_job_and_moved_input_is_none(job, tmp_path):
    made = job()
    prepare(made)
    source = tmp_path / "in.txt"
    moved = tmp_path / "moved" / "in.txt"
    moved.parent.mkdir()
    shutil.copy2(source, moved)
    prepare(Job(**{**vars(made), "source": str(moved)}))
    changed = source.stat().st_mtime + 9
    source.write_text(source.read_text().replace("Oslo", "Rome"))
    os.utime(source, (changed, changed))
    with pytest.raises(InputError, match="holds another job, with other file_times: give"):
        prepare(made)


def test_a_folder_of_something_else_is_refused(job):
    made = job()
    made.output.mkdir()
    (made.output / "thesis.txt").touch()
    with pytest.raises(InputError, match="holds something else"):
        prepare(made)


def test_a_folder_that_was_killed_while_job_json_was_written_can_be_taken(job):
    made = job()
    made.output.mkdir()
    (made.output / ".job.json.x1y2z3_a.part").touch()
    prepare(made)
    assert [path.name for path in made.output.iterdir()] == ["job.json"]


def test_a_threshold_needs_confidences(job):
    with pytest.raises(InputError, match="has no confidences"):
        load(job(threshold=0.5))


def test_a_model_that_is_not_there(job):
    with pytest.raises(InputError, match="nowhere cannot be loaded"):
        load(Job(**{**vars(job()), "model": "nowhere"}))


@pytest.mark.parametrize("model", ["numpy", "typing_extensions", "spacy-legacy", "/"])
def test_a_package_or_folder_that_is_no_pipeline(model, job):
    with pytest.raises(InputError, match=f"^{model} cannot be loaded: it is neither"):
        prepare(Job(**{**vars(job()), "model": model}))


def test_docbin(job):
    made = job(["Ada Lin", ""], format="spacy")
    run(made)
    docs = list(DocBin().from_disk(made.shard(0)).get_docs(spacy.blank("en").vocab))
    assert [(doc.text, [ent.label_ for ent in doc.ents]) for doc in docs] == [
        ("Ada Lin", ["per"]),
        ("", []),
    ]
    assert docs[0].user_data["row"] == 1


def test_docbin_leaves_out_what_else_the_pipeline_keeps(job):
    made = job(["Ada Lin saw  Oslo"], format="spacy")
    nlp = load(made)

    @spacy.Language.component("keeps_its_output")
    def keeps_its_output(doc):
        doc.user_data["._.", "output", None, None] = object()  # as an extension is kept
        doc.spans[CONFIDENCES] = SpanGroup(doc, spans=list(doc.ents), attrs={"scores": [0.5, 1.0]})
        return doc

    nlp.add_pipe("keeps_its_output")
    annotate_shard(nlp, made, 0, list(read_records(prepare(made))))
    (doc,) = DocBin().from_disk(made.shard(0)).get_docs(spacy.blank("en").vocab)
    assert doc.user_data == {"file": "in.txt", "row": 1, "kept": {}}
    assert doc.text == "Ada Lin saw  Oslo"
    assert [
        (entity["text"], entity["label"], entity["confidence"]) for entity in entities(doc)
    ] == [
        ("Ada Lin", "per", 0.5),
        ("Oslo", "geo", 1.0),
    ]


def test_conll(job):
    made = job(["Ada Lin  saw Oslo", "x"], format="conll")
    run(made)
    assert made.shard(0).read_text() == (
        "# in.txt:1\nAda\tB-per\nLin\tI-per\n_\tO\nsaw\tO\nOslo\tB-geo\n\n# in.txt:2\nx\tO\n\n"
    )


def test_parquet(tmp_path, ruler):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"text": "Ada Lin", "id": 7, "note": None}, {"text": "x", "id": "b", "note": [1]}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = Job(
        *(str(tmp_path / "in.jsonl"), tmp_path / "out", str(ruler)),
        **{"format": "parquet", "keep": ("id", "note")},
    )
    run(made)
    table = parquet.read_table(made.shard(0))
    assert table.column_names == ["file", "row", "id", "note", "text", "entities"]
    # Kept columns are text, whatever a shard happens to hold.
    assert table["id"].to_pylist() == ["7", "b"]
    assert table["note"].to_pylist() == [None, "[1]"]
    (entity,), nothing = table["entities"].to_pylist()
    assert (entity["text"], entity["label"], nothing) == ("Ada Lin", "per", [])
    empty = Job(**{**vars(made), "output": tmp_path / "empty"})
    prepare(empty)
    annotate_shard(load(empty), empty, 0, [Record("in.jsonl", 1, None, {}, "no")])
    assert parquet.read_table(empty.shard(0)).num_rows == 0


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_can_say_what_is_kept(format, tmp_path, ruler):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = tmp_path / "in"
    folder.mkdir()
    table = pyarrow.table({"text": ["Oslo"], "on": [datetime.datetime(2020, 5, 8)]})
    parquet.write_table(table, folder / "a.parquet")
    (folder / os.fsdecode(b"Zo\xeb.csv")).write_bytes(b"text,on\nOslo,\xff\n")
    made = Job(str(folder), tmp_path / "out", str(ruler), format=format, keep=("on",))
    assert run(made) == Counts(records=1, words=1, entities=1, errors=1)
    error = {"file": "Zo\\udceb.csv", "row": 1, "error": "its on is not UTF-8"}
    assert json.loads(made.errors(0).read_text()) == error
    if format == "jsonl":
        assert lines(made.output)[0]["on"] == "2020-05-08T00:00:00"


@pytest.mark.parametrize("format", ["jsonl", "parquet", "spacy"])
def test_every_record_has_all_columns_that_are_kept(format, tmp_path, ruler):
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("One\n")
    (folder / "b.jsonl").write_text('{"text": "Two", "id": "b1"}\n[]\n')
    made = Job(str(folder), tmp_path / "out", str(ruler), format=format, keep=("id",), shard_size=1)
    assert run(made) == Counts(records=2, words=2, errors=1)
    if format == "jsonl":
        kept = [row["id"] for row in lines(made.output)]
    elif format == "parquet":
        tables = [parquet.read_table(made.shard(index)) for index in range(3)]
        # Of one schema, so that they can be read as one: also that of errors alone.
        assert [table.schema for table in tables] == [tables[0].schema] * 3
        kept = [value for table in tables for value in table["id"].to_pylist()]
    else:
        vocab = spacy.blank("en").vocab
        bins = [DocBin().from_disk(made.shard(index)) for index in range(3)]
        kept = [doc.user_data["kept"]["id"] for one in bins for doc in one.get_docs(vocab)]
    assert kept == [None, "b1"]


@pytest.mark.parametrize("name", ["file", "row", "text", "entities"])
def test_a_column_called_as_a_field_of_the_output_is_refused(name, job):
    made = job(keep=("id", name))
    with pytest.raises(InputError, match=f"^{name} cannot be kept, as each record has a field"):
        prepare(made)
    assert not made.output.exists()


def test_utf16_is_refused_before_the_work(job):
    made = job()
    Path(made.source).write_text("Oslo\nOslo\n", encoding="utf-16")
    with pytest.raises(InputError, match=r"in\.txt begins as utf-16 does"):
        prepare(made)
    assert not made.output.exists()


def test_a_column_whose_name_is_not_utf8_is_refused(job):
    with pytest.raises(InputError, match="is not UTF-8: give it another name"):
        prepare(job(keep=(os.fsdecode(b"Zo\xeb"),)))


def test_a_format_that_there_is_not(job):
    with pytest.raises(InputError, match="There is no format xml: choose from jsonl, parquet"):
        prepare(job(format="xml"))


def test_what_a_killed_worker_left_is_removed(tmp_path):
    job = Job(source="texts.txt", output=tmp_path, model="any")
    (tmp_path / "errors").mkdir()
    for name in (".part-00001.jsonl.x1.part", "errors/.part-00001.jsonl.x2.part"):
        (tmp_path / name).touch()
    (tmp_path / "part-00000.jsonl").touch()
    remove_unfinished(job)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["part-00000.jsonl"]
