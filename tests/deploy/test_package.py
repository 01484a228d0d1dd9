import importlib.metadata
import json
import re
import runpy
import shutil
import subprocess
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import spacy
import srsly
import typer
from thinc.api import Config
from typer.testing import CliRunner

from gmb_ner.deploy import wheels
from gmb_ner.deploy.card import readme
from gmb_ner.deploy.facts import read_facts
from gmb_ner.deploy.names import check_version, minor_range, package_name, requirements
from gmb_ner.deploy.package import package
from gmb_ner.deploy.scrub import check_clean, copy_scrubbed, has_torch, has_transformer
from gmb_ner.errors import InputError
from gmb_ner.files import file_digest

SCRIPT = Path(__file__).parents[2] / "scripts" / "package.py"
REPO = "sentence-transformers/tiny-bert"
ENCODER = {"key": "minilm", "repo": REPO, "revision": "c0ffee", "licence": "Apache-2.0"}
OWN = {"corpus": "news_2024"}
CONFIGS = Path(__file__).parents[2] / "configs"
WITH_ENCODER = (
    *("minilm", "minilm-fast", "minilm-stock", "bert", "bert-stock"),
    *("study-a", "study-b"),
)


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def required(wheel: Path) -> dict[str, str]:
    """Name -> versions; a name that is listed twice fails."""
    (text,) = (data for name, data in content(wheel).items() if name.endswith("/METADATA"))
    lines = Parser().parsestr(text.decode()).get_all("Requires-Dist") or []
    pairs = [re.match(r"([\w-]+)(.*)", line).groups() for line in lines]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@pytest.mark.parametrize(
    ("name", "config", "corpus", "sample", "expected"),
    [
        ("auto", "minilm", "gmb", False, "en_ner_gmb_sm"),
        ("auto", "bert", "gmb", False, "en_ner_gmb_trf"),
        ("auto", "cnn", "gmb", False, "en_ner_gmb_cnn"),
        ("auto", "minilm", "sample", True, "en_ner_gmb_sm_sample"),
        ("auto", "bert", "news_2024", False, "en_ner_news_2024_trf"),
        ("auto", "my/My Config.v2.cfg", "gmb", False, "en_ner_gmb_my_config_v2"),
        ("ner_news", "minilm", "gmb", False, "en_ner_news_sm"),
        ("ner_news", "minilm", "sample", True, "en_ner_news_sm_sample"),
        ("ner_gmb", "minilm", "my_gmb", False, "en_ner_gmb_sm"),
    ],
)
def test_packages_are_named_after_corpus_size_and_sample(name, config, corpus, sample, expected):
    assert package_name(name, config, corpus, sample) == expected


@pytest.mark.parametrize("name", ["", "Ner", "ner-news", "ner__news", "_ner", "2ner", "a b", "né"])
def test_names_that_are_none_are_refused(name):
    with pytest.raises(InputError, match="cannot be the name of a package"):
        package_name(name, "cnn", "gmb", False)


def test_the_language_is_not_part_of_the_name():
    with pytest.raises(InputError, match="put before the name by itself"):
        package_name("en_ner_gmb", "cnn", "gmb", False)


def test_versions_are_written_as_wheels_write_them():
    assert check_version("1.2.0rc1") == "1.2.0rc1"
    with pytest.raises(InputError, match=r"is not a version; give one like 0\.1\.0"):
        check_version("first")
    with pytest.raises(InputError, match=r"'v0\.1' has to be written 0\.1"):
        check_version("v0.1")


def test_requirements_go_up_to_the_next_minor_version_or_another_bound(monkeypatch):
    installed = {"torch": "2.13.1+cpu", "transformers": "4.53.2"}
    monkeypatch.setattr(importlib.metadata, "version", installed.__getitem__)
    bounds = ["transformers<4.53.3,>=3.4.0", "torch>=1.8.0", 'torch<2.0; extra == "old"']
    assert minor_range("torch", bounds) == "torch>=2.13.1,<2.14.0"
    assert minor_range("transformers", bounds) == "transformers>=4.53.2,<4.53.3"
    assert minor_range("transformers") == "transformers>=4.53.2,<4.54.0"


@pytest.mark.parametrize(
    ("config", "libraries"),
    [
        *((name, {"torch", "transformers", "spacy-transformers"}) for name in WITH_ENCODER),
        *((name, {"torch"}) for name in ("bilstm", "bilstm-crf")),
        *((name, set()) for name in ("cnn", "crf")),
    ],
)
def test_requirements_of_each_config(config, libraries, tmp_path):
    shutil.copy(CONFIGS / f"{config}.cfg", tmp_path / "config.cfg")
    lines = requirements(torch=has_torch(tmp_path), transformer=has_transformer(tmp_path))
    assert {line.partition(">")[0] for line in lines} == {"spacy", "gmb-ner", *libraries}


def test_a_plain_pipeline_becomes_two_wheels_and_their_list(plain_model, run_files, tmp_path):
    files, output = run_files(), tmp_path / "packages"
    before = sorted(files["project"].rglob("*"))
    output.mkdir()
    for old in ("en_ner_gmb_cnn-0.0.9-py3-none-any.whl", "gmb_ner-0.0.1-py3-none-any.whl"):
        (output / old).touch()
    (output / "en_ner_gmb_cnn_sample-0.1.0-py3-none-any.whl").touch()

    made = package(plain_model, output, **files)

    assert (made.name, made.version, made.sample) == ("en_ner_gmb_cnn", "0.1.0", False)
    assert sorted(path.name for path in output.iterdir()) == [
        "en_ner_gmb_cnn-0.1.0-py3-none-any.whl",
        "en_ner_gmb_cnn_sample-0.1.0-py3-none-any.whl",
        "gmb_ner-0.1.0-py3-none-any.whl",
        "manifest.json",
    ]
    listed = json.loads((output / "manifest.json").read_text())
    assert (listed["model"], listed["version"]) == ("en_ner_gmb_cnn", "0.1.0")
    for wheel, key in ((made.wheel, "wheel"), (made.library, "library")):
        assert listed[key] == wheel.name
        assert listed["sha256"][wheel.name] == file_digest(wheel)
    assert sorted(files["project"].rglob("*")) == before
    assert set(required(made.wheel)) == {"spacy", "gmb-ner"}
    assert required(made.wheel)["gmb-ner"] == "<0.2.0,>=0.1.0"

    inside = content(made.wheel)
    meta = json.loads(inside["en_ner_gmb_cnn/meta.json"])
    assert meta["license"] == "Apache-2.0"
    assert meta["sources"] == [{"name": "A corpus of news", "license": "ODbL (its page)"}]
    performance = meta["performance"]
    assert performance["ents_f"] == 0.8123
    assert performance["raw_text"]["ents_f"] == 0.8011
    assert performance["ents_per_type"]["geo"]["support"] == 1200
    assert (performance["protocol"], performance["corpus"]) == ("canonical", "gmb")
    assert performance["interval95"] == [0.8, 0.82]
    assert b"The text of a licence" in inside["en_ner_gmb_cnn/en_ner_gmb_cnn-0.1.0/LICENSE"]
    assert b"odbl/1-0" in inside["en_ner_gmb_cnn/en_ner_gmb_cnn-0.1.0/LICENSES_SOURCES"]
    readme = inside["en_ner_gmb_cnn/en_ner_gmb_cnn-0.1.0/README.md"].decode()
    assert 'nlp = spacy.load("en_ner_gmb_cnn")' in readme
    assert "| `geo` | 1,200 | 90.00 | 80.00 | 84.70 | 84.00 to 85.50 |" in readme
    total = "| **all** | 1,234 | 81.23 | 81.23 | 81.23 | 80.00 to 82.00 | 80.11 | 80.11 | 80.11 |"
    assert total in readme
    assert "0.012. Of entities with 0.9 or more, 97.00 % are right; that finds 50.00 %" in readme
    assert "hardly known" in readme and "`per` (34)" in readme and "`geo` (" not in readme
    assert "--vars.config cnn --vars.protocol canonical --vars.seed 7" in readme
    assert "95 % interval of F on gold tokens: 80.00 to 82.00" in readme
    assert "seed 7" in readme and "`canonical`" in readme
    assert "SAMPLE" not in readme
    config = inside["en_ner_gmb_cnn/en_ner_gmb_cnn-0.1.0/config.cfg"].decode()
    assert Config().from_str(config)["paths"]["train"] is None


def test_a_transformer_goes_by_its_public_name(bert_model, tiny_bert, run_files, tmp_path):
    assert str(tiny_bert).encode() in (bert_model / "transformer" / "model").read_bytes()
    trained = {"config": "minilm", "encoder": ENCODER}
    files = run_files(run=trained, scores={"config": "minilm"})

    made = package(bert_model, tmp_path / "packages", **files)

    pins = required(made.wheel)
    assert set(pins) == {"spacy", "gmb-ner", "spacy-transformers", "transformers", "torch"}
    assert "+" not in "".join(pins.values())
    inside = content(made.wheel)
    for name, data in inside.items():
        for word in (str(tiny_bert), tiny_bert.parent.name, str(tmp_path), bert_model.as_posix()):
            assert word.encode() not in data, name
    folder = "en_ner_gmb_sm/en_ner_gmb_sm-0.1.0"
    config = Config().from_str(inside[f"{folder}/config.cfg"].decode())
    assert config["components"]["transformer"]["model"]["name"] == REPO
    model = srsly.msgpack_loads(inside[f"{folder}/transformer/model"])
    assert srsly.msgpack_loads(model["attrs"][0]["name"]) == REPO
    shim = srsly.msgpack_loads(model["shims"][1][0])
    assert shim["config"]["_name_or_path"] == REPO
    readme = inside[f"{folder}/README.md"].decode()
    assert f"https://huggingface.co/{REPO}, revision c0ffee. Licence: Apache-2.0" in readme

    with zipfile.ZipFile(made.wheel) as archive:
        archive.extractall(tmp_path / "site")
    packaged, trained = spacy.load(tmp_path / "site" / folder), spacy.load(bert_model)
    text = "Angela Merkel met Iraqi police in London on Friday ."
    assert packaged(text).to_json() == trained(text).to_json()


def test_an_encoder_without_a_public_name_gets_none(bert_model, tiny_bert, tmp_path):
    assert copy_scrubbed(bert_model, tmp_path / "copy", None) == {str(tiny_bert)}
    config = Config().from_disk(tmp_path / "copy" / "config.cfg")
    assert config["components"]["transformer"]["model"]["name"] == "unpublished-encoder"
    data = (tmp_path / "copy" / "transformer" / "model").read_bytes()
    assert str(tiny_bert).encode() not in data


def test_names_in_the_files_of_a_tokenizer_are_replaced(bert_model, tiny_bert, tmp_path):
    model = tmp_path / "model"
    copy_scrubbed(bert_model, model, str(tiny_bert))
    message = srsly.msgpack_loads((model / "transformer" / "model").read_bytes())
    shim = srsly.msgpack_loads(message["shims"][1][0])
    written = {"name_or_path": "/elsewhere/bert", "model_max_length": 128}
    shim["tokenizer"]["tokenizer_config.json"] = json.dumps(written).encode()
    message["shims"][1][0] = srsly.msgpack_dumps(shim)
    (model / "transformer" / "model").write_bytes(srsly.msgpack_dumps(message))

    copy_scrubbed(model, tmp_path / "copy", REPO)

    data = (tmp_path / "copy" / "transformer" / "model").read_bytes()
    assert b"/elsewhere" not in data
    shim = srsly.msgpack_loads(srsly.msgpack_loads(data)["shims"][1][0])
    assert json.loads(shim["tokenizer"]["tokenizer_config.json"]) == written | {
        "name_or_path": REPO
    }


def test_paths_of_training_are_left_out_and_references_stay(plain_model, tmp_path):
    model = tmp_path / "model"
    copy_scrubbed(plain_model, model, None)
    config = Config().from_disk(model / "config.cfg", interpolate=False)
    config["paths"] |= {"train": "/data/train.spacy", "labels": "/data/labels"}
    config["corpora"] = {
        "train": {"@readers": "gmb_ner.DocReader.v1", "path": "${paths.train}", "limit": 3},
        "dev": {"@readers": "gmb_ner.DocReader.v1", "path": "dev.spacy"},
    }
    config["initialize"]["components"] = {
        "ner": {"labels": {"@readers": "spacy.read_labels.v1", "path": "/data/ner.json"}}
    }
    config["initialize"]["vocab_data"] = "data/vocab.jsonl"
    config["training"]["logger"] |= {"output_file": "/data/log.jsonl"}
    config.to_disk(model / "config.cfg", interpolate=False)

    copy_scrubbed(model, tmp_path / "copy", None)

    text = (tmp_path / "copy" / "config.cfg").read_text()
    assert "/data" not in text and "dev.spacy" not in text and "vocab.jsonl" not in text
    found = Config().from_str(text, interpolate=False)
    assert found["corpora"]["train"]["path"] == "${paths.train}"
    assert found["corpora"]["train"]["limit"] == 3
    assert spacy.load(tmp_path / "copy").pipe_names == ["ner"]


def test_a_path_of_this_machine_stops_the_packaging(plain_model, run_files, tmp_path):
    output = tmp_path / "packages"
    package(plain_model, output, **run_files())
    before = {path.name: file_digest(path) for path in output.iterdir()}
    mentioned = f"me, {plain_model.parent.resolve()}"
    with pytest.raises(InputError, match=r"meta\.json in .* mentions .*training, a path of this"):
        package(plain_model, output, **run_files(meta={"author": mentioned}))
    assert {path.name: file_digest(path) for path in output.iterdir()} == before


def test_every_file_is_searched_for_paths(tmp_path):
    archive = tmp_path / "some.whl"
    home, root = Path("/home/ann"), Path("/root")
    for data, clean in [
        (b"\x00\xff/home/ann\x00", False),
        (b'"/home/ann/x"', False),
        (b"/home/anna and /home/ann-b", True),
        (b"\xd9\x20/root/x", False),
        (b"a /root b", True),
    ]:
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("data/model", data)
        if clean:
            check_clean(archive, [home, root, Path("/")])
        else:
            with pytest.raises(InputError, match=r"data/model in some\.whl mentions /"):
                check_clean(archive, [home, root, Path("/")])


def test_the_sample_says_so_everywhere(plain_model, run_files, tmp_path):
    files = run_files(
        manifest={"sample": True}, scores={"corpus": "sample"}, fetched={"sample": True}
    )
    made = package(plain_model, tmp_path / "packages", name="ner_news", **files)
    assert made.sample and made.name == "en_ner_news_cnn_sample"
    inside = content(made.wheel)
    meta = json.loads(inside["en_ner_news_cnn_sample/meta.json"])
    assert meta["description"].startswith("SAMPLE")
    readme = inside["en_ner_news_cnn_sample/en_ner_news_cnn_sample-0.1.0/README.md"].decode()
    assert readme.splitlines()[2].startswith("> **SAMPLE: trained and tested on the small")
    assert json.loads((tmp_path / "packages" / "manifest.json").read_text())["sample"] is True


def test_a_corpus_of_ones_own_gives_name_and_no_licence(plain_model, run_files, tmp_path):
    files = run_files(manifest=OWN, scores=OWN, fetched={**OWN, "licence": "unknown"})
    made = package(plain_model, tmp_path / "packages", **files)
    assert made.name == "en_ner_news_2024_cnn"
    inside = content(made.wheel)
    meta = json.loads(inside["en_ner_news_2024_cnn/meta.json"])
    assert meta["license"].startswith("unknown")
    assert "en_ner_news_2024_cnn/en_ner_news_2024_cnn-0.1.0/LICENSE" not in inside
    assert "Groningen" not in meta["description"]


@pytest.mark.parametrize(
    ("run", "free"),
    [
        ({"config": "minilm", "encoder": ENCODER}, True),
        ({"config": "bert", "encoder": {**ENCODER, "licence": None}}, False),  # a user's own one
        ({"config": "mine/own.cfg", "encoder": None}, False),  # which may name any checkpoint
        ({"config": "mine/own.cfg", "encoder": ENCODER}, True),
        ({"config": "crf", "encoder": None}, True),
    ],
)
def test_weights_are_ours_to_license_only_where_all_they_come_from_is_known(run, free, run_files):
    files = run_files(run=run, scores={"config": run["config"]})
    del files["project"]
    assert read_facts(**files).licence.startswith("Apache-2.0" if free else "unknown")


@pytest.mark.parametrize("single", [False, True])
def test_the_card_tells_that_sentences_were_read_alone(single, plain_model, run_files, tmp_path):
    files = run_files(scores={"single_sentences": single})
    made = package(plain_model, tmp_path / "packages", **files)
    inside = content(made.wheel)
    card = inside[f"{made.name}/{made.name}-0.1.0/README.md"].decode()
    assert ("Each sentence was read by itself" in card) is single
    meta = json.loads(inside[f"{made.name}/meta.json"])
    assert meta["performance"]["single_sentences"] is single


@pytest.mark.parametrize("labels", [["geo", "per"], ["drug", "symptom"]])
def test_the_card_claims_only_what_the_labels_are(run_files, labels):
    files = run_files(manifest=OWN, scores=OWN, fetched={**OWN, "licence": "unknown"})
    del files["project"]
    meta = {"lang": "en", "name": "ner_mine", "version": "0.1.0", "description": "A pipeline."}
    card = readme(read_facts(**files), {**meta, "requirements": [], "labels": {"ner": labels}})
    known = labels == ["geo", "per"]
    assert ("Finding names, places" in card) is ("Angela Merkel" in card) is known
    assert (
        "Finding `drug`, `symptom` in text of the kind that it has learned" in card
    ) is not known
    assert "--vars.csv" in card


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": {"corpus": "other"}}, r"measured with corpus 'other', .* with 'gmb'"),
        ({"scores": {"protocol": "contiguous"}}, "measured with protocol 'contiguous'"),
        ({"scores": {"config": "bert"}}, "measured with config 'bert'"),
        ({"scores": {"seed": 8}}, r"measured with seed 8, but .* with 7; measure anew"),
        ({"fetched": {"corpus": "other"}}, r"fetched\.json is about 'other', but .* about 'gmb'"),
    ],
)
def test_files_that_contradict_one_another_are_refused(
    plain_model, run_files, tmp_path, changes, message
):
    with pytest.raises(InputError, match=message):
        package(plain_model, tmp_path / "packages", **run_files(**changes))
    assert not (tmp_path / "packages").exists()


@pytest.mark.parametrize("name", ["manifest", "run", "scores", "fetched", "meta"])
def test_missing_and_empty_files_are_refused(plain_model, run_files, tmp_path, name):
    files = run_files()
    if name != "meta":
        files[name].write_text("{}")
        with pytest.raises(InputError, match=rf"{name}\.json has no .*; make it with"):
            package(plain_model, tmp_path / "packages", **files)
    files[name].unlink()
    with pytest.raises(InputError, match=rf"There is no file .*{name}\.json; "):
        package(plain_model, tmp_path / "packages", **files)


def test_what_is_no_pipeline_or_no_checkout_is_refused(plain_model, run_files, tmp_path):
    files = run_files()
    with pytest.raises(InputError, match="is not a trained pipeline; make it with"):
        package(tmp_path, tmp_path / "packages", **files)
    with pytest.raises(InputError, match="is not a checkout of gmb-ner"):
        package(plain_model, tmp_path / "packages", **files | {"project": tmp_path})
    assert not list((tmp_path / "packages").iterdir())


def test_a_pipeline_that_does_not_load_is_refused(plain_model, run_files, tmp_path):
    broken = tmp_path / "broken"
    copy_scrubbed(plain_model, broken, None)
    (broken / "ner" / "model").write_bytes(b"no model")
    with pytest.raises(InputError, match="spaCy cannot load the pipeline to package it"):
        package(broken, tmp_path / "packages", **run_files())


@pytest.mark.parametrize("own", [True, False])
def test_builds_that_fail_say_why(tmp_path, monkeypatch, own):
    def failing(command, **kwargs):
        assert ("--no-isolation" in command) is own
        return subprocess.CompletedProcess(command, 1, "", "trying\n\x1b[91mERROR no setuptools.\n")

    monkeypatch.setattr(subprocess, "run", failing)
    monkeypatch.setattr(wheels, "_installed", lambda name, version: own or name == "build")
    remedy = "see to it" if own else "it needs setuptools, so connect to a package index"
    with pytest.raises(InputError, match=rf"could not be built \(ERROR no setuptools\); {remedy}"):
        wheels.build_wheel(tmp_path, tmp_path / "dist", "some")


def test_builds_need_the_package_build(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "_installed", lambda name, version: False)
    with pytest.raises(InputError, match="pip install build"):
        wheels.build_wheel(tmp_path, tmp_path / "dist", "some")


def test_the_command_packages_or_says_why_not(plain_model, run_files, tmp_path):
    files = run_files()
    main = runpy.run_path(str(SCRIPT))["main"]
    main.__wrapped__.__globals__["ROOT"] = files.pop("project")
    app = typer.Typer()
    app.command()(main)
    options = [item for name, path in files.items() for item in (f"--{name}", str(path))]
    arguments = [str(plain_model), str(tmp_path / "packages"), *options]
    result = CliRunner().invoke(app, [*arguments, "--version", "1.0.0", "--name", "ner_news"])
    assert result.exit_code == 0, result.output
    assert "en_ner_news_cnn-1.0.0-py3-none-any.whl" in result.output.replace("\n", "")
    result = CliRunner().invoke(app, [*arguments, "--name", "Ner"])
    assert result.exit_code == 1
    assert "cannot be the name of a package" in result.output.replace("\n", " ")
