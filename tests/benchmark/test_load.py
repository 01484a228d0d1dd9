import os
import runpy
from pathlib import Path

import spacy
import typer
from typer.testing import CliRunner

from gmb_ner.benchmark.load import Load, resident_bytes

ROOT = Path(__file__).parents[2]


def test_what_is_told_of_a_load():
    load = Load(2, 0.5, [0.1, 0.2, 0.3], 0, [])
    assert load.per_second == 6
    assert load.latency(0.5) == 0.2
    assert 10e6 < resident_bytes(os.getpid()) < 100e9


def test_the_command_measures_a_service(sample_corpus, tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler", name="ner").add_patterns([{"label": "geo", "pattern": "Oslo"}])
    nlp.to_disk(tmp_path / "model")
    app = typer.Typer()
    app.command()(runpy.run_path(str(ROOT / "scripts" / "benchmark_serve.py"))["main"])
    arguments = [str(sample_corpus), str(tmp_path / "model"), "--clients", "1,3", "--seconds", "1"]
    done = CliRunner().invoke(app, [*arguments, "--words", "100"])
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["1", "3"]
    for _, answers, *latencies, refused, early, late in rows:
        assert int(answers.replace(",", "")) > 5 and refused == "0"
        p50, p95, p99 = map(float, latencies)
        assert 0 < p50 <= p95 <= p99
        assert 50 < int(early) <= int(late) + 50
