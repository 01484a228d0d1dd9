"""The command `gmb_ner annotate`, killed and started again."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gmb_ner.__main__ import app

TEXTS = [f"Ada Lin saw Oslo on day {i} ." for i in range(3_000)]


def arguments(source, output, model, *more):
    return ["annotate", str(source), str(output), "--model", str(model), *map(str, more)]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.jsonl"
    rows = [json.dumps({"text": text, "id": i}) for i, text in enumerate(TEXTS)]
    rows[7] = "broken"
    path.write_text("\n".join(rows) + "\n")
    return path


def content(folder):
    paths = [path for path in folder.rglob("*.jsonl") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}


def test_it_says_what_it_did(source, ruler, tmp_path):
    done = CliRunner().invoke(app, arguments(source, tmp_path / "out", ruler, "--keep", "id"))
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "out: shards in all: 1; this run 2,999 records, 23,992 words, 5,998 entities" in said
    assert "1 records could not be annotated" in said
    first = json.loads((tmp_path / "out" / "part-00000.jsonl").read_text().splitlines()[0])
    assert list(first) == ["file", "row", "id", "text", "entities"] and first["id"] == 0


def test_lists_of_errors_are_closed_again(source, ruler, tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        CliRunner().invoke(app, arguments(source, tmp_path / "out", ruler))
    assert [str(one.message) for one in caught if "errors/part-" in str(one.message)] == []


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_any_moment_it_goes_on_where_it_was(processes, source, ruler, tmp_path):
    whole, output = tmp_path / "whole", tmp_path / "killed"
    options = ("--shard-size", 100, "--batch-size", 10)
    assert CliRunner().invoke(app, arguments(source, whole, ruler, *options)).exit_code == 0
    command = [
        *(sys.executable, "-m", "gmb_ner"),
        *arguments(source, output, ruler, *options, "--processes", processes),
    ]
    chance = random.Random(0)
    kills = 0
    while kills < 3:
        before = len(list(output.glob("part-*")))
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while run.poll() is None and len(list(output.glob("part-*"))) == before:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.1)
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL)
            kills += 1
        run.wait()
        if len(list(output.glob("part-*"))) == len(TEXTS) / 100:
            break
    assert kills
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert content(output) == content(whole)
    assert not list(output.rglob(".*"))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_workers_end_with_a_killed_command(ruler, tmp_path):
    source = tmp_path / "in.txt"  # enough that it is not done before it is killed
    source.write_text("Ada Lin saw Oslo .\n" * 300_000)
    options = ("--shard-size", 1_000, "--processes", 2)
    command = [sys.executable, "-m", "gmb_ner", *arguments(source, tmp_path / "out", ruler)]
    mark = {"GMB_NER_TEST": str(tmp_path)}
    run = subprocess.Popen(
        [*command, *map(str, options)], env=os.environ | mark, stdout=subprocess.DEVNULL
    )
    try:
        while run.poll() is None and not list((tmp_path / "out").glob("part-*")):
            time.sleep(0.01)
        assert len(started_with(mark)) > 2  # one worker at least, whatever else is started
        run.kill()
        run.wait()
        patience = time.monotonic() + 60
        while started_with(mark) and time.monotonic() < patience:
            time.sleep(0.1)
        assert started_with(mark) == []
    finally:
        for process in started_with(mark):
            os.kill(process, signal.SIGKILL)


def started_with(variables):
    """The processes that have all of these in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            given = (folder / "environ").read_text(errors="replace").split("\0")
            if all(f"{name}={value}" in given for name, value in variables.items()):
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--engine", "cloud"], "There is no engine cloud: choose local or ray."),
        (["--format", "xml"], "There is no format xml"),
        (["--keep", "day"], "day"),
        (["--model", "nowhere"], "nowhere cannot be loaded"),
    ],
)
def test_mistakes_get_one_sentence(more, message, ruler, tmp_path):
    (tmp_path / "in.csv").write_text("text\nx\n")
    done = CliRunner().invoke(app, arguments(tmp_path / "in.csv", tmp_path / "out", ruler, *more))
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()  # another try may take it


def test_ray_gives_the_same(source, ruler, tmp_path):
    pytest.importorskip("ray")
    options = ("--shard-size", 500)
    for folder, more in (("local", ()), ("ray", ("--engine", "ray", "--processes", 2))):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "gmb_ner"),
                *arguments(source, tmp_path / folder, ruler, *options, *more),
            ],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert content(tmp_path / "ray") == content(tmp_path / "local")
