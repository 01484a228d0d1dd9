import json

import pytest
from typer.testing import CliRunner

from gmb_ner.errors import InputError
from gmb_ner.training import hardware, plan
from gmb_ner.training.hardware import Device, choose_device
from gmb_ner.training.plan import encoder_of, estimate_minutes, make_plan, words_in


def there(local):
    return True, "google-bert/bert-base-cased is in the local cache"


def not_there(local):
    return False, "google-bert/bert-base-cased is not in the local cache and the hub is silent"


@pytest.fixture
def gpu(monkeypatch):
    """A machine with one GPU, as far as planning looks."""
    monkeypatch.setattr(hardware, "gpu_refusal", lambda gpu_id: None if gpu_id == 0 else "no such")
    monkeypatch.setattr(hardware, "_gpu", lambda gpu_id: Device(gpu_id, f"GPU {gpu_id}"))
    monkeypatch.setattr(plan, "matmul_flops", lambda gpu_id, half: 1e14)


@pytest.fixture
def cpu(monkeypatch):
    monkeypatch.setattr(hardware, "gpu_refusal", lambda gpu_id: "torch sees no CUDA GPU")
    monkeypatch.setattr(plan, "matmul_flops", lambda gpu_id, half: 3e11)


def test_auto_with_gpu_and_bert(gpu):
    made = make_plan("auto", "auto", bert=there)
    assert (made.config, made.path, made.encoder, made.gpu_id) == (
        "bert",
        "configs/bert.cfg",
        "bert",
        0,
    )
    assert "local cache" in made.reason


def test_auto_with_gpu_and_no_bert_says_why(gpu):
    made = make_plan("auto", "auto", bert=not_there)
    assert (made.config, made.gpu_id) == ("minilm", 0)
    assert "not bert, as google-bert/bert-base-cased is not in the local cache" in made.reason


def test_auto_on_a_cpu(cpu):
    made = make_plan("auto", "auto", bert=there)
    assert (made.config, made.path, made.encoder, made.gpu_id) == (
        "minilm",
        "configs/minilm.cfg",
        "minilm",
        -1,
    )
    assert "torch sees no CUDA GPU" in made.reason


def test_each_can_be_set_by_hand(gpu):
    assert make_plan("cnn", "-1").gpu_id == -1
    assert make_plan("cnn", "-1").encoder is None
    assert make_plan("bert", "0", bert=there).config == "bert"


def test_bert_that_cannot_be_had_is_refused(cpu):
    with pytest.raises(InputError) as error:
        make_plan("bert", "-1", bert=not_there)
    assert str(error.value) == (
        "Config bert was asked for and its encoder cannot be had (google-bert/bert-base-cased is "
        "not in the local cache and the hub is silent); name a directory by --vars.encoder or "
        "$GMB_NER_BERT, or use --vars.config minilm."
    )


def test_gpu_that_is_not_there_is_refused(cpu):
    with pytest.raises(InputError) as error:
        make_plan("minilm", "0")
    assert str(error.value) == (
        "GPU 0 was asked for and cannot be used, as torch sees no CUDA GPU; use -1 for the CPU."
    )


def test_missing_cupy_is_told_with_its_extra(monkeypatch):
    import sys

    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(InputError, match=r"CuPy is missing: pip install '\.\[gpu-cuda13\]'"):
        choose_device("0")
    with pytest.raises(InputError, match=r"has 1 GPU\(s\), counted from 0"):
        choose_device("3")


@pytest.mark.parametrize("gpu_id", ["first", "", "0.5"])
def test_gpu_id_must_be_a_number_or_auto(gpu_id):
    with pytest.raises(InputError, match="give auto, -1 for the CPU, or a number"):
        choose_device(gpu_id)


def test_unknown_config_is_refused(cpu, tmp_path):
    with pytest.raises(
        InputError, match="There is no config elmo: give auto, minilm, minilm-fast, bert"
    ):
        make_plan("elmo", "-1")


def test_own_config_file(cpu, tmp_path):
    path = tmp_path / "mine.cfg"
    path.write_text('[paths]\nencoder = "assets/minilm"\n', encoding="utf-8")
    made = make_plan(str(path), "-1")
    assert (made.config, made.path, made.encoder) == ("mine.cfg", str(path), "minilm")
    assert made.minutes is None
    path.write_text("[paths]\ntrain = null\n", encoding="utf-8")
    assert make_plan(str(path), "-1").encoder is None
    path.write_text("encoder = 1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.cfg is no config that spaCy can read"):
        make_plan(str(path), "-1")


def test_what_is_ones_own_and_changed_makes_another_plan(cpu, tmp_path):
    config, encoder = tmp_path / "mine.cfg", tmp_path / "bert"
    config.write_text("[paths]\nencoder = null\n", encoding="utf-8")
    encoder.mkdir()
    (encoder / "config.json").write_text("{}", encoding="utf-8")
    seen = [make_plan("minilm", "-1").lasting()["sha256"]]
    assert seen == [""]
    seen.append(make_plan(str(config), "-1").lasting()["sha256"])
    seen.append(make_plan(str(config), "-1", encoder_dir=str(encoder)).lasting()["sha256"])
    seen.append(make_plan("bert", "-1", encoder_dir=str(encoder), bert=there).lasting()["sha256"])
    (encoder / "config.json").write_text("{ }", encoding="utf-8")
    seen.append(make_plan(str(config), "-1", encoder_dir=str(encoder)).lasting()["sha256"])
    seen.append(make_plan("bert", "-1", encoder_dir=str(encoder), bert=there).lasting()["sha256"])
    config.write_text("[paths]\nencoder = null \n", encoding="utf-8")
    seen.append(make_plan(str(config), "-1").lasting()["sha256"])
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("name", ["cnn", "crf", "bilstm", "bilstm-crf"])
def test_an_encoder_that_one_of_our_configs_does_not_read(cpu, tmp_path, name):
    with pytest.raises(InputError, match=f"{name} reads no encoder: leave --vars.encoder out"):
        make_plan(name, "-1", encoder_dir=str(tmp_path))


def test_an_encoder_that_an_own_config_cannot_take(cpu, tmp_path):
    config = tmp_path / "mine.cfg"
    config.write_text("[paths]\nencoder = null\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"nowhere, named by --vars\.encoder, is not a directory"):
        make_plan(str(config), "-1", encoder_dir="nowhere")
    config.write_text("[paths]\ntrain = null\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.cfg has no `encoder` in its \[paths\]"):
        make_plan(str(config), "-1", encoder_dir=str(tmp_path))


def test_own_config_file_is_not_taken_for_ours_of_its_name(cpu, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "minilm.cfg").write_text("[paths]\ntrain = null\n", encoding="utf-8")
    made = make_plan("mine/minilm.cfg", "-1")
    assert made.config == "mine/minilm.cfg" and made.config not in plan.CONFIGS


def test_estimate_grows_with_words_and_falls_with_speed(monkeypatch):
    cpu = Device(-1, "CPU")
    monkeypatch.setattr(plan, "matmul_flops", lambda gpu_id, half: 1e11)
    slow = estimate_minutes("minilm", cpu, 1_000_000)
    # 300 batches of a small corpus have few words; and the training may end early.
    assert estimate_minutes("minilm", cpu, 100) < slow / 10
    assert estimate_minutes("minilm", cpu, 1_000_000, max_steps=60) < slow / 20
    assert estimate_minutes("minilm", cpu, 2_000_000) == pytest.approx(2 * slow)
    assert slow / 2 < estimate_minutes("minilm-fast", cpu, 1_000_000) < slow  # half the layers
    monkeypatch.setattr(plan, "matmul_flops", lambda gpu_id, half: 1e12)
    assert estimate_minutes("minilm", cpu, 1_000_000) < slow


def test_matmul_flops_is_measured():
    assert hardware.matmul_flops(-1, half=False, seconds=0.05) > 1e8


def test_words_in(tmp_path):
    path = tmp_path / "words.csv"
    path.write_bytes(b"x" * 1450)
    assert words_in(path) == 100


def test_command_writes_only_what_lasts(cpu, tmp_path, monkeypatch):
    import runpy
    from pathlib import Path

    import typer

    main = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "plan.py"))["main"]
    app = typer.Typer()
    app.command()(main)
    output = tmp_path / "plan.json"
    result = CliRunner().invoke(app, [str(output), "--config", "cnn"])
    assert result.exit_code == 0
    assert "Why: config cnn was asked for" in result.output and "min;" in result.output
    assert json.loads(output.read_text(encoding="utf-8")) == {
        "config": "cnn",
        "path": "configs/cnn.cfg",
        "encoder": None,
        "gpu_id": -1,
        "sha256": "",
    }
    output.unlink()
    result = CliRunner().invoke(app, [str(output), "--csv", str(tmp_path / "typo.csv")])
    assert result.exit_code == 1 and not output.exists()
    result = CliRunner().invoke(app, [str(output), "--config", "elmo"])
    assert result.exit_code == 1 and not output.exists()


@pytest.mark.parametrize(
    ("config", "encoder"),
    [
        *(("minilm", "minilm"), ("minilm-fast", "minilm"), ("minilm-stock", "minilm")),
        *(("bert-stock", "bert"), ("study-b", "minilm"), ("cnn", None), ("bilstm-crf", None)),
    ],
)
def test_encoder_of_a_config(config, encoder):
    assert encoder_of(config) == encoder
