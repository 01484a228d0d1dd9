import runpy
from pathlib import Path

import pytest
import spacy
import typer
from spacy.tokens import Doc
from typer.testing import CliRunner

from gmb_ner.benchmark.parallel_speed import speed_together
from gmb_ner.benchmark.prediction_speed import (
    Contestant,
    Timings,
    compare,
    contestants,
    load,
    texts_of,
)
from gmb_ner.benchmark.roofline import (
    ceilings,
    memory_speed,
    operations_per_piece,
    pieces_per_word,
    work,
)
from gmb_ner.errors import InputError
from gmb_ner.evaluation.files import load_docs
from gmb_ner.evaluation.predict import predict_gold_tokens
from gmb_ner.evaluation.scores import strict_scores

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
VOCAB = spacy.blank("en").vocab


def sentences(count):
    """One Doc with so many sentences of two words."""
    starts = [True, False] * count
    return Doc(VOCAB, words=["It", "rains"] * count, sent_starts=starts)


def test_texts_hold_so_many_sentences_and_enough_words():
    docs = [sentences(2), sentences(5)]
    assert texts_of(docs, 3, 1) == (["It rains It rains It rains"], 6)
    assert texts_of(docs, 3, 7) == (["It rains It rains It rains"] * 2, 12)
    # What is left over is no text of its own.
    assert texts_of(docs, 3, 100) == (["It rains It rains It rains"] * 2, 12)
    assert texts_of(docs, 8, 100) == ([], 0)


def test_every_pipeline_is_timed_as_often(sample_corpus, tiny_bert):
    configs = {name: CONFIGS / f"{name}.cfg" for name in ("minilm-stock", "minilm")}
    pipelines = {
        name: load(path, sample_corpus, str(tiny_bert), gpu_id=-1) for name, path in configs.items()
    }
    entered = contestants(pipelines)
    assert all(contestant.has_encoder for contestant in entered.values())
    assert not Contestant(spacy.blank("en")).has_encoder
    # Only the second has a choice of precisions.
    assert list(entered) == ["minilm-stock", "minilm, float32", "minilm, bfloat16"]
    docs = [sentences(4)]
    *_, timings = compare(entered, docs, sentences=[1, 2], batch_sizes=[2], words=6, rounds=2)
    for timing in timings.values():
        assert {key: len(found) for key, found in timing.words_per_second.items()} == {
            (1, 2): 2,
            (2, 2): 2,
        }
        assert timing.speed(1, 2) > 0
        # Three texts of one sentence, twice.
        assert len(timing.latencies) == 6


def test_transformers_own_pipeline(sample_corpus, tiny_bert):
    loaded = load(Path("huggingface"), sample_corpus, str(tiny_bert), gpu_id=-1)
    entered = contestants({"theirs": loaded})
    assert entered["theirs"].has_encoder
    # More pieces than a window holds.
    docs = [sentences(400)]
    *_, timings = compare(entered, docs, sentences=[1, 400], batch_sizes=[2], words=6, rounds=1)
    assert timings["theirs"].speed(1, 2) > 0 and timings["theirs"].speed(400, 2) > 0
    found = loaded("Ada visited Oslo")
    assert {"start", "end", "score", "entity_group"} <= found[0].keys()


@pytest.mark.parametrize("source", ["huggingface", "minilm-stock.cfg", "minilm.cfg"])
def test_operations_are_those_of_the_weights(source, sample_corpus, tiny_bert):
    path = CONFIGS / source if source.endswith(".cfg") else Path(source)
    nlp = load(path, sample_corpus, str(tiny_bert), gpu_id=-1)
    # Two layers of 32, inner width 64, and two operations for each weight.
    assert operations_per_piece(nlp) == 2 * 2 * (4 * 32 * 32 + 2 * 32 * 64)


@pytest.mark.parametrize("source", ["huggingface", "minilm-stock.cfg", "minilm.cfg"])
def test_weights_are_read_whenever_the_encoder_runs(source, sample_corpus, tiny_bert):
    path = CONFIGS / source if source.endswith(".cfg") else Path(source)
    nlp = load(path, sample_corpus, str(tiny_bert), gpu_id=-1)
    weights = 2 * (4 * 32 * 32 + 2 * 32 * 64)
    for name, contestant in contestants({"one": nlp}).items():
        size = 2 if "bfloat16" in name else 4
        for batch_size, runs in [(1, 2), (2, 1)]:
            done = work(
                contestant, ["nile xy", "nile"], 3, batch_size=batch_size, encoder=tiny_bert
            )
            assert done.bytes == weights * size * runs / 3
            assert done.operations == 2 * weights * 4 / 3


def test_the_machines_limits_are_measured():
    found = ceilings(-1)
    assert list(found) == ["float32", "bfloat16", "int8"]
    assert min(found.values()) > 1e8 and memory_speed(-1) > 1e8


def test_pieces_of_a_word(tiny_bert):
    # "nile" is one piece, "xy" two.
    assert pieces_per_word(tiny_bert, ["nile xy", "nile"], 3) == 4 / 3


def test_a_process_that_fails_is_told(tmp_path):
    with pytest.raises(InputError, match="could not be read by 2 processes at a time"):
        speed_together(tmp_path, ["It rains"], 2, processes=2, rounds=1, batch_size=1)


def test_medians_and_quantiles():
    timing = Timings({(1, 32): [5.0, 1.0, 3.0]}, [0.0, 0.1, 0.2])
    assert timing.speed(1, 32) == 3 and timing.best() == (1, 32)
    assert timing.latency(0.5) == pytest.approx(0.1)
    assert timing.latency(0.95) == pytest.approx(0.19)


def test_something_else_than_a_pipeline(tmp_path):
    with pytest.raises(InputError, match="is neither a pipeline nor a "):
        load(tmp_path, tmp_path, "", gpu_id=-1)


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(runpy.run_path(str(ROOT / "scripts" / "benchmark_speed.py"))["main"])
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


def test_the_command_prints_a_table(run, sample_corpus, tiny_bert):
    done = run(
        *(sample_corpus, f"stock={CONFIGS / 'minilm-stock.cfg'}", f"ours={CONFIGS / 'minilm.cfg'}"),
        *("--encoder", tiny_bert, "--sentences", "1,2", "--batch-sizes", "1", "--words", "20"),
        *("--rounds", "1"),
    )
    assert done.exit_code == 0, done.output
    measured, _, roofline = done.output.partition("Operations in the encoders' weights")
    assert [line.split()[0] for line in roofline.splitlines()[4:7]] == ["stock", "ours,", "ours,"]
    assert "of int8" in roofline and "of memory" in roofline
    lines = [line.split() for line in measured.splitlines() if line.startswith("stock ")]
    assert [line[1:3] + line[4:5] for line in lines] == [["1", "1", "1.00"], ["2", "1", "1.00"]]
    assert len(lines[0]) == 7  # with the latencies, which stand once for each pipeline
    assert "ours, bfloat16" in done.output


def test_the_command_draws_and_scores(run, sample_corpus, tmp_path):
    nlp = spacy.blank("en")
    entity = next(e for d in load_docs(sample_corpus / "test.spacy", nlp.vocab) for e in d.ents)
    pattern = {"label": entity.label_, "pattern": entity.text}
    nlp.add_pipe("entity_ruler").add_patterns([pattern])
    nlp.to_disk(tmp_path / "ruler")
    done = run(
        *(sample_corpus, f"ruler={tmp_path / 'ruler'}", "--sentences", "1", "--batch-sizes", "2"),
        *("--words", "20", "--rounds", "1", "--plot", tmp_path / "speed.png", "--score"),
        *("--encoder", ROOT / "nowhere", "--processes", "1,2"),
    )
    assert done.exit_code == 0, done.output
    together = [line.split() for line in done.output.splitlines() if line.startswith("ruler ")][1:3]
    assert [line[1] for line in together] == ["1", "2"] and together[0][3] == "1.00"
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    docs = load_docs(sample_corpus / "test.spacy", nlp.vocab)
    expected = strict_scores(docs, predict_gold_tokens(nlp, docs))["ents_f"]
    cells = [line for line in done.output.splitlines() if line.startswith("ruler ")][-1].split()
    assert cells[:2] == ["ruler", f"{100 * expected:.2f}"] and expected > 0
    assert 0.05 < float(cells[-1]) < 5  # GB


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["training"], "training names no pipeline: give NAME=FOLDER or NAME=CONFIG.cfg."),
        (["a=nowhere"], "nowhere is neither a pipeline nor a .cfg."),
        (["a=b", "--sentences", "1,x"], "1,x is no list of numbers from 1"),
        (["a=b", "--batch-sizes", "0"], "0 is no list of numbers from 1"),
        (["a=b", "--processes", "x"], "x is no list of numbers from 1"),
    ],
)
def test_mistakes_get_one_sentence(arguments, message, run, sample_corpus):
    done = run(sample_corpus, *arguments)
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output
