"""The benchmark on the built-in sample: its rows, what it does with failures, tables and plots."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from spacy.util import load_config

from gmb_ner.benchmark.benchmark import (
    Outcome,
    Workplace,
    choose_rows,
    claim,
    minutes_left,
    run_rows,
)
from gmb_ner.benchmark.plots import plot_all
from gmb_ner.benchmark.row import Place, Row, RowError, make_row
from gmb_ner.benchmark.systems import SYSTEMS
from gmb_ner.benchmark.tables import BEGIN, END, label_table, replace_block, tables
from gmb_ner.errors import InputError
from gmb_ner.files import write_json

ROOT = Path(__file__).parents[2]
CRF = Row("crf", max_steps=2)


@pytest.fixture(autouse=True)
def in_project(monkeypatch):
    """Rows name their configs as the project's commands do, from its folder."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def place(tmp_path_factory, sample_corpus):
    folder = tmp_path_factory.mktemp("benchmark")
    assets = folder / "assets"
    assets.mkdir()
    shutil.copy(ROOT / "corpus" / "sample.csv", assets / "corpus.csv")
    shutil.copy(sample_corpus.parent / "corpus.json", assets / "corpus.json")
    return Workplace(assets, folder / "work", folder / "results")


@pytest.fixture(scope="module")
def outcome(place):
    os.chdir(ROOT)
    (outcome,) = run_rows([CRF], place)
    return outcome


def test_which_rows():
    assert choose_rows(["crf", "minilm"], ["canonical", "contiguous"], seeds=2) == [
        Row("crf"),
        Row("minilm", seed=0),
        Row("minilm", seed=1),
        Row("crf", "contiguous"),
        Row("minilm", "contiguous"),
    ]
    parts = choose_rows(["crf", "crf"], ["fold-1-of-3"], parts=[1, 4, 1])
    assert [row.name for row in parts] == ["crf-0", "crf-0-4th"]
    with pytest.raises(InputError, match="There is no system bert-large: choose from crf"):
        choose_rows(["bert-large"], ["canonical"])
    with pytest.raises(InputError, match="There is no protocol random"):
        choose_rows(["crf"], ["random"])


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_each_system_has_a_config(system):
    corpora = load_config(ROOT / "configs" / f"{system.config}.cfg")["corpora"]
    # What is chosen on dev, and scored on test, is read as in training.
    assert corpora["dev"]["sentences"] is corpora["train"]["sentences"]


def test_a_row_and_what_is_known_of_it(outcome, place):
    result = outcome.result
    assert result == json.loads(place.result(CRF).read_text(encoding="utf-8"))
    assert place.result(CRF).name == "crf-0-2steps.json"
    assert result["row"]["system"] == result["config"] == "crf"
    assert result["corpus"] == "sample" and result["protocol"] == "canonical"
    counts = result["sentence_counts"]
    assert len(counts) == result["counts"]["sentences"]
    right = sum(row[0] for row in counts)
    assert right == result["error_kinds"]["correct"]
    assert result["agreement"] == pytest.approx(
        dict.fromkeys(("gmb_ner", "seqeval", "conlleval"), result["gold_tokens"]["ents_f"])
    )
    assert result["model_bytes"] > 10_000
    for kind in ("training", "prediction"):
        assert result[kind]["words_per_second"] > 0
        assert result[kind]["seconds"] > 0.5  # a process that imports spaCy
        assert result[kind]["peak_bytes"] > 50e6


def test_a_row_that_is_there_is_read(outcome, place):
    told = []
    assert list(run_rows([CRF], place, told.append)) == [outcome]
    assert told == []
    assert minutes_left([CRF, Row("crf")], place) == SYSTEMS["crf"].minutes


def test_rows_of_one_core_share_the_time(place):
    rows = [Row("crf"), Row("cnn", part=2), Row("minilm")]
    crf, cnn, minilm = (SYSTEMS[row.system].minutes for row in rows)
    assert minutes_left(rows, place) == crf + cnn / 2 + minilm
    assert minutes_left(rows, replace(place, together=2)) == max(crf, (crf + cnn / 2) / 2) + minilm


def test_rows_of_one_core_are_made_together_and_others_alone(place, monkeypatch):
    both, running = threading.Barrier(2, timeout=60), []

    def make(row, place, stop):
        running.append(row)
        if place.one_core:
            both.wait()  # fails unless another one comes
            time.sleep(0.2)  # in which one that should be alone could begin
        else:
            assert running == [row]
        running.remove(row)
        return {"row": row.name}

    monkeypatch.setattr("gmb_ner.benchmark.benchmark.make_row", make)
    monkeypatch.setattr(
        "gmb_ner.benchmark.benchmark.fetch_minilm", lambda assets, offline: FakeEncoder()
    )
    rows = [Row("minilm", seed=7), Row("crf", seed=7), Row("cnn", seed=7), Row("minilm", seed=8)]
    made = list(run_rows(rows, replace(place, together=2)))
    assert {outcome.row for outcome in made[:2]} == set(rows[1:3])
    assert [outcome.row for outcome in made[2:]] == [rows[0], rows[3]]
    for outcome in made:
        assert outcome.result == {"row": outcome.row.name}
        place.result(outcome.row).unlink()


def test_a_row_whose_training_is_done_is_only_scored(outcome, place):
    trained = place.work / "canonical" / CRF.name / "model-best" / "meta.json"
    before = trained.stat().st_mtime_ns
    (place.work / "canonical" / CRF.name / "scored.json").unlink()
    place.result(CRF).unlink()
    (again,) = run_rows([CRF], place)
    assert again.result["sentence_counts"] == outcome.result["sentence_counts"]
    assert trained.stat().st_mtime_ns == before


def test_a_failed_row_stops_no_other_and_is_tried_again(outcome, place, monkeypatch):
    broken = Row("minilm", max_steps=2)
    (place.assets / "minilm").mkdir()
    (place.assets / "minilm" / "config.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(
        "gmb_ner.benchmark.benchmark.fetch_minilm", lambda assets, offline: FakeEncoder()
    )
    other, failed = run_rows([broken, CRF], place)
    assert failed.result is None and not failed.open
    reason = place.results / "canonical" / "minilm-0-2steps.failed.txt"
    assert str(reason) in failed.reason and reason.read_text(encoding="utf-8")
    assert other.result is not None
    text = tables([failed, other])
    assert "| MiniLM and `linear_ner`: the default, 2 steps | failed |" in text
    assert f"- canonical, {broken.name}: " in text
    told = []
    next(run_rows([broken], place, told.append))
    assert told == [broken]


class FakeEncoder:
    path = Path("nowhere")


def test_what_is_out_of_reach_is_open(place, monkeypatch):
    monkeypatch.setattr(
        "gmb_ner.benchmark.benchmark.bert_available",
        lambda local, offline: (False, "no network" if offline else "the hub is silent"),
    )
    glove, bert = run_rows([Row("glove"), Row("bert")], replace(place, offline=True))
    assert glove.open and glove.reason == "needs a file of GloVe's vectors: --glove"
    assert bert.open and bert.reason.endswith("no network")
    assert "| BiLSTM on GloVe | open |" in tables([glove, bert])


@pytest.mark.parametrize(
    "system", ["study-a-bert", "study-a-bert-without-padding", "study-b-bert", "bert", "bert-stock"]
)
def test_rows_of_bert_run_with_a_tiny_one(system, place, tiny_bert):
    (made,) = run_rows([Row(system, max_steps=2)], replace(place, bert=tiny_bert))
    assert made.reason == ""
    counts = made.result["counts"]
    assert counts["entities"] > 0
    # The study's systems learn sentence by sentence.
    assert made.result["single_sentences"] is system.startswith("study")
    assert (counts["documents"] == counts["sentences"]) is system.startswith("study")
    assert len(made.result["sentence_counts"]) == counts["sentences"]


def test_a_row_of_vectors_from_a_file(place, tmp_path):
    file = tmp_path / "glove.txt"
    file.write_text("the 1 2 3\nIraq 0.5 1 0\n", encoding="utf-8")
    (made,) = run_rows([Row("glove", max_steps=2)], replace(place, glove=file))
    assert made.reason == ""


def group_lives(number):
    """Whether a process of a group runs; one that has ended and is not yet waited for does not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # ended just now
            continue
        if int(group) == number and state != "Z":
            return True
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks at Linux's processes")
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_benchmark_leaves_no_process_and_goes_on(kind, place, tmp_path):
    row = Row("cnn", max_steps=100_000)
    command = [
        *(sys.executable, str(ROOT / "scripts" / "benchmark.py"), str(place.assets)),
        *(str(tmp_path / "work"), str(tmp_path / "results"), "--systems", "cnn"),
        *("--protocols", "canonical", "--max-steps", str(row.max_steps), "--gpu-id", "-1"),
    ]
    log = tmp_path / "work" / "canonical" / row.name / "train.log"
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        # What a shell starts in the background ignores Ctrl-C, and so does all that it starts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    until = time.monotonic() + 120
    while not (log.is_file() and "Training pipeline" in log.read_text(encoding="utf-8")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.2)
    # Ctrl-C reaches all processes of a terminal, and is no failure of a row.
    os.killpg(process.pid, kind) if kind == signal.SIGINT else process.send_signal(kind)
    process.wait(timeout=60)
    until = time.monotonic() + 30
    while group_lives(process.pid):
        assert time.monotonic() < until, "the training goes on without its parent"
        time.sleep(0.2)
    assert not list((tmp_path / "results" / "canonical").glob("*"))


def test_who_asks_for_no_more_rows_waits_for_none(place, monkeypatch):
    begun, first = [], threading.Event()

    def make(row, place, stop):
        begun.append(row)
        if not first.is_set():
            first.set()
            return {}
        assert stop.wait(60)
        raise CancelledError

    monkeypatch.setattr("gmb_ner.benchmark.benchmark.make_row", make)
    rows = [Row("crf", seed=seed) for seed in (11, 12, 13)]
    made = run_rows(rows, place)
    assert next(made).row == rows[0]
    made.close()
    assert len(begun) <= 2
    assert not any(place.result(row).is_file() for row in rows[1:])
    place.result(rows[0]).unlink()


def test_rows_that_share_vectors_do_not_prepare_them_at_once(place, monkeypatch):
    running = []

    def make(row, place, stop):
        running.append(row)
        time.sleep(0.2)
        assert running == [row]
        running.remove(row)
        return {}

    monkeypatch.setattr("gmb_ner.benchmark.benchmark.make_row", make)
    rows = [Row("word2vec-cbow", part=part, seed=11) for part in (1, 2)]
    for outcome in run_rows(rows, replace(place, together=2)):
        place.result(outcome.row).unlink()


def test_a_row_that_is_ended_is_not_done(place, outcome, tmp_path):
    corpus = place.work / "canonical" / "corpus"
    stop = threading.Event()
    stop.set()
    with pytest.raises(CancelledError):
        make_row(CRF, Place(str(corpus), str(tmp_path / "row"), str(tmp_path)), stop)
    assert not (tmp_path / "row" / "trained.json").exists()


def test_what_a_process_said_last_is_told(place, tmp_path):
    nowhere = Place(str(tmp_path / "none"), str(tmp_path / "row"), str(tmp_path))
    with pytest.raises(RowError, match=r"There is no file .*train\.spacy"):
        make_row(CRF, nowhere)


def test_a_workplace_belongs_to_one_corpus(tmp_path):
    place = Workplace(tmp_path / "assets", tmp_path / "work", tmp_path / "results")
    claim(place)  # nothing was fetched: what is there may be looked at
    assert not place.results.exists()
    record = place.assets / "corpus.json"
    write_json(record, {"file": "sample.csv", "sha256": "1"})
    claim(place)
    claim(place)
    write_json(record, {"file": "gmb.csv", "sha256": "2"})
    with pytest.raises(
        InputError, match=r"work holds rows of sample\.csv, and gmb\.csv was fetched"
    ):
        claim(place)
    claim(replace(place, work=tmp_path / "other", results=tmp_path / "others"))


def test_rows_of_the_sample_and_of_few_steps_say_so(outcome):
    text = tables([outcome])
    assert text.startswith("### canonical, SAMPLE\n")
    assert "| CRF, hand-made features, 2 steps | " in text
    whole = Outcome(Row("crf"), {**outcome.result, "corpus": "gmb"})
    assert tables([whole]).startswith("### canonical\n")
    assert "| CRF, hand-made features | " in tables([whole])


def test_tables_and_plots(outcome, place, tmp_path):
    default = Outcome(Row("minilm", max_steps=2), outcome.result)
    second = Outcome(Row("minilm", seed=1, max_steps=2), outcome.result)
    part = Outcome(Row("minilm", part=4, max_steps=2), outcome.result)
    text = tables([outcome, default, second])
    assert text.count("+0.00 (+0.00 to +0.00)") == 1  # the CRF against itself
    assert "| MiniLM and `linear_ner`: the default, 2 steps, mean of 2 | **" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1
    outcomes = [outcome, default, second, part]
    assert label_table(outcomes).count("\n| ") == 2
    pictures = plot_all(outcomes, tmp_path)
    assert [path.name for path in pictures] == [
        f"{name}-canonical.png"
        for name in ("scores", "speed", "labels", "forms", "reliability", "learning")
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_what_the_rows_took_is_told(outcome):
    def took(system, train, score):
        seconds = {"training": 60 * train, "prediction": 60 * score}
        costs = {kind: {**outcome.result[kind], "seconds": s} for kind, s in seconds.items()}
        return Outcome(Row(system), outcome.result | costs)

    text = tables([took("crf", 9, 1), took("minilm", 19.4, 5.6)])
    assert "| 9 + 1 min |" in text and "| 19 + 6 min |" in text
    assert (
        "\n\nTraining and scoring took 35 minutes, rows added up; 10 of them are of rows that use "
        "one core, made several at a time.\n" in text
    )


def test_what_a_step_is_worth_is_told(outcome):
    counts = outcome.result["sentence_counts"]
    worse = {**outcome.result, "sentence_counts": [[0, 0, tp + fn] for tp, _, fn in counts]}
    before = Outcome(Row("study-a", max_steps=2), worse)
    after = Outcome(Row("study-a-without-padding", max_steps=2), outcome.result)
    other = Outcome(Row("bilstm-crf", max_steps=2), outcome.result)
    f1 = f"{100 * outcome.result['gold_tokens']['ents_f']:.2f}"
    (line,) = (one for one in tables([before, after, other]).splitlines() if "padding in" in one)
    assert line.startswith("| no padding in the loss | Study A, MiniLM for BERT | Study A without")
    assert f"| +{f1} (+" in line
    assert "| step |" not in tables([after, other])


def test_scores_by_share_of_the_training_part(outcome):
    quarter = Outcome(replace(CRF, part=4), outcome.result)
    default = Outcome(Row("minilm", part=2), outcome.result)
    f1 = f"{100 * outcome.result['gold_tokens']['ents_f']:.2f}"
    text = tables([outcome, quarter, default])
    assert "| system, protocol | 1/4 | 1/2 | all |\n|---|---:|---:|---:|\n" in text
    assert f"| CRF, hand-made features, canonical | {f1} |  | {f1} |\n" in text
    assert f"the default, canonical |  | {f1} |  |\n" in text
    assert "share of the training part" not in tables([outcome])


def test_folds_are_summed_up(outcome):
    folds = [
        Outcome(Row("crf", f"fold-{number}-of-2", max_steps=2), outcome.result) for number in (1, 2)
    ]
    sentences = 2 * outcome.result["counts"]["sentences"]
    f1 = f"{100 * outcome.result['gold_tokens']['ents_f']:.2f}"
    text = tables(folds)
    assert f"2 of 2 folds, mean {f1}, sd 0.00; all {sentences} sentences together {f1} (" in text
    assert "All folds" not in tables(folds[:1])
    others = [
        Outcome(Row("crf", protocol, part=part, max_steps=2), outcome.result)
        for protocol, part in (("fold-1-of-3", 1), ("fold-1-of-2", 4))
    ]
    assert tables([folds[0], *others]).count("folds, mean") == 0  # of different kinds


def test_replace_block():
    text = f"Before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replace_block(text, "new\n", "x") == f"Before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    with pytest.raises(InputError, match=r"BENCHMARKS\.md has no lines"):
        replace_block("Before", "new", "BENCHMARKS.md")
