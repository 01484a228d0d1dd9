import json
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import spacy
import typer
from typer.testing import CliRunner

from gmb_ner.deploy import _proof
from gmb_ner.deploy import prove as proving
from gmb_ner.deploy.cleanroom import CleanRoom
from gmb_ner.deploy.prove import SENTENCES, altered, differences, prove, strangers
from gmb_ner.errors import InputError
from gmb_ner.files import file_digest
from gmb_ner.pipeline.labels import DISPLACY_COLORS, LABELS

SCRIPT = Path(__file__).parents[2] / "scripts" / "prove.py"


def run_proof(folder: Path, model: Path, **changes) -> dict:
    """Run the proof's program on a pipeline, with this interpreter."""
    job = {
        "model": str(model),
        "sentences": SENTENCES,
        "colors": DISPLACY_COLORS,
        "explain": list(LABELS),
    }
    (folder / "job.json").write_text(json.dumps(job | changes), encoding="utf-8")
    command = [sys.executable, "-I", _proof.__file__, "job.json", "result.json"]
    subprocess.run(command, cwd=folder, check=True)
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """A folder of wheels as `package` lists them, with next to nothing in them."""
    folder = tmp_path_factory.mktemp("packages")
    names = {"wheel": "en_tiny-0.1.0-py3-none-any.whl", "library": "tinylib-0.1.0-py3-none-any.whl"}
    for wheel in names.values():
        module = wheel.split("-")[0]
        info = f"{module}-0.1.0.dist-info"
        with zipfile.ZipFile(folder / wheel, "w") as archive:
            archive.writestr(f"{module}/__init__.py", f"NAME = {module!r}\n")
            archive.writestr(f"{info}/METADATA", f"Name: {module}\nVersion: 0.1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
    listed = {"model": "en_tiny", "version": "0.1.0", **names}
    listed["sha256"] = {name: file_digest(folder / name) for name in names.values()}
    (folder / "manifest.json").write_text(json.dumps(listed), encoding="utf-8")
    return folder


@pytest.fixture
def no_room(plain_model, monkeypatch):
    """Run the proof with this interpreter, on `model` of the class, in place of a clean room."""

    class Room:
        model = plain_model
        folder: Path

        def __init__(self, folder):
            Room.folder, self.venv = folder, Path(sys.prefix)

        def install(self, requirement, find_links, note):
            note(f"installing {requirement} from {find_links}")

        def run(self, program, job, result):
            order = json.loads(job.read_text(encoding="utf-8"))
            job.write_text(json.dumps(order | {"model": str(Room.model)}), encoding="utf-8")
            subprocess.run([sys.executable, "-I", program, job, result], check=True)

    monkeypatch.setattr(proving, "CleanRoom", Room)
    monkeypatch.setattr(proving, "SENTENCES", SENTENCES[:-1])  # the long one takes its time
    monkeypatch.setattr(proving, "strangers", lambda proof, venv: [])
    monkeypatch.setattr(proving, "altered", lambda wheel, path: [])
    return Room


def test_the_sentences_hold_ordinary_and_odd_ones():
    assert {"", "London"} < set(SENTENCES)
    assert any(text and not text.strip() for text in SENTENCES)
    assert any("😀" in text for text in SENTENCES)
    assert max(len(text.split()) for text in SENTENCES) == 3000


def test_the_program_uses_a_pipeline_without_a_network(plain_model, tmp_path):
    proof = run_proof(tmp_path, plain_model)
    nlp = spacy.load(plain_model)
    expected = [_proof.entities(nlp(text)) for text in SENTENCES]
    assert differences(SENTENCES, expected, proof["entities"]) == []
    assert sum(map(len, expected)) > 0
    assert proof["checks"] == {
        "nlp.pipe gives what nlp() gives": [],
        "the same after to_disk and from_disk": [],
        "spacy.explain answers": [],
        "displaCy draws with the palette": [],
        "no network asked for": [],
    }
    assert proof["packages"]["spacy"] == spacy.about.__version__
    assert proof["load_seconds"] > 0


def test_the_program_works_with_a_transformer(bert_model, tmp_path):
    # Random weights decide by a hair, which the lengths in a batch may tip on long texts.
    proof = run_proof(tmp_path, bert_model, sentences=SENTENCES[:-1])
    assert not any(proof["checks"].values())
    nlp = spacy.load(bert_model)
    expected = [_proof.entities(nlp(text)) for text in SENTENCES[:-1]]
    assert differences(SENTENCES[:-1], expected, proof["entities"]) == []


def test_the_program_complains(plain_model, tmp_path):
    changes = {"colors": {"geo": "#123456"}, "explain": ["geo", "nothing"]}
    proof = run_proof(tmp_path, plain_model, sentences=SENTENCES[:2], **changes)
    assert proof["checks"]["displaCy draws with the palette"] == ["geo is not #123456"]
    assert proof["checks"]["spacy.explain answers"] == ["spacy.explain('nothing') is None"]
    assert _proof.complaint(lambda: 1 / 0) == ["ZeroDivisionError: division by zero"]  # type: ignore[arg-type]


def test_the_program_has_no_network():
    program = (
        "import runpy, socket, sys, urllib.request\n"
        "proof = runpy.run_path(sys.argv[1])\n"
        "proof['block_network']()\n"
        "for act in (\n"
        "    lambda: urllib.request.urlopen('http://127.0.0.1:9'),\n"
        "    lambda: socket.socket().connect(('127.0.0.1', 9)),\n"
        "    lambda: socket.getaddrinfo('localhost', 80),\n"
        "):\n"
        "    try:\n"
        "        act()\n"
        "    except OSError as error:\n"
        "        assert 'no network' in str(error), error\n"
        "    else:\n"
        "        raise SystemExit('it went through')\n"
        "assert len(proof['ATTEMPTS']) == 3, proof['ATTEMPTS']\n"
    )
    subprocess.run([sys.executable, "-I", "-c", program, _proof.__file__], check=True)


def test_entities_that_differ_are_listed():
    texts = ["Bush left Iraq.", "Nothing."]
    first = [["Bush", 0, 4, "per"], ["Iraq", 10, 14, "geo"]]
    assert differences(texts, [first, []], [first[::-1], []]) == []
    assert differences(texts, [first, []], [[["Bush", 0, 4, "per"]], []]) == [
        "'Bush left Iraq.': 'Iraq' (geo, characters 10 to 14) is missing"
    ]
    label = [["Bush", 0, 4, "per"], ["Iraq", 10, 14, "gpe"]]
    assert len(differences(texts, [first, []], [label, []])) == 2
    bounds = [["Bush", 0, 4, "per"], ["Iraq.", 10, 15, "geo"]]
    assert len(differences(texts, [first, []], [bounds, []])) == 2
    assert differences(texts, [first, []], [first, [["Nothing", 0, 7, "org"]]]) == [
        "'Nothing.': 'Nothing' (org, characters 0 to 7) is new"
    ]
    assert differences(texts, [first, []], [first]) == ["2 sentences, but 2 and 1 results"]


def test_modules_from_elsewhere_are_found(tmp_path):
    inside, outside = tmp_path / "venv", tmp_path / "project"
    files = {
        "json": "/usr/lib/python3/json/__init__.py",
        "spacy": str(inside / "lib" / "site-packages" / "spacy" / "__init__.py"),
        "torch": "/usr/lib/site-packages/torch/__init__.py",
        "gmb_ner": str(outside / "gmb_ner" / "__init__.py"),
    }
    assert [line.split()[0] for line in strangers({"files": files}, inside)] == ["torch", "gmb_ner"]


def test_installed_files_are_those_of_the_wheel(packages, tmp_path):
    wheel, site = packages / "en_tiny-0.1.0-py3-none-any.whl", tmp_path / "site"
    assert altered(wheel, [str(site)]) == [f"en_tiny/__init__.py is not that of {wheel.name}"]
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    assert altered(wheel, ["", str(tmp_path), str(site)]) == []
    (site / "en_tiny" / "__init__.py").write_text("NAME = 'other'\n")
    assert len(altered(wheel, [str(site)])) == 1


def test_a_package_is_proved_and_leaves_nothing_behind(packages, plain_model, no_room):
    said: list[str] = []
    proof = prove(packages, plain_model, find_links=[packages], note=said.append)
    assert proof["passed"], proof["checks"]
    assert proof["model"] == "en_tiny" and proof["sentences"] == len(SENTENCES) - 1
    assert any(line.startswith("installing en_tiny==0.1.0") for line in said)
    assert not no_room.folder.exists()


def test_a_package_that_predicts_otherwise_is_not_proved(packages, plain_model, no_room, tmp_path):
    other = spacy.load(plain_model)
    ruler = other.add_pipe("entity_ruler", after="ner", config={"overwrite_ents": True})
    ruler.add_patterns([{"label": "eve", "pattern": "1972"}])
    other.to_disk(tmp_path / "other")
    no_room.model = tmp_path / "other"
    output = tmp_path / "metrics" / "prove.json"
    app = typer.Typer()
    app.command()(runpy.run_path(str(SCRIPT))["main"])
    arguments = [str(packages), str(plain_model), str(output)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "'1972' (eve, characters" in result.output and "is new" in result.output
    proof = json.loads(output.read_text(encoding="utf-8"))
    assert proof["passed"] is False
    assert proof["checks"]["the entities of the trained pipeline"]

    no_room.model = plain_model
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(output.read_text(encoding="utf-8"))["passed"] is True

    result = CliRunner().invoke(app, [str(tmp_path), str(plain_model), str(output)])
    assert result.exit_code == 1
    assert "There is no file" in result.output
    assert not output.exists()


def test_wheels_that_were_changed_are_refused(packages, plain_model, tmp_path):
    changed = tmp_path / "packages"
    changed.mkdir()
    for path in packages.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    with (changed / "tinylib-0.1.0-py3-none-any.whl").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(InputError, match=r"tinylib.* is not what .*manifest\.json lists"):
        prove(changed, plain_model)
    (changed / "manifest.json").write_text('{"model": "en_tiny", "version": "0.1.0"}')
    with pytest.raises(InputError, match="has no library and no sha256 and no wheel; make it with"):
        prove(changed, plain_model)
    with pytest.raises(InputError, match="is not a trained pipeline"):
        prove(packages, tmp_path)


def test_a_clean_room_installs_and_runs(packages, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.setenv("HF_TOKEN", "secret")
    said: list[str] = []
    folder = tmp_path / "room"
    folder.mkdir()
    room = CleanRoom(folder)
    with pytest.raises(InputError, match=r"pip could not install absent==1 from .* --find-links"):
        room.install("absent==1", [packages], said.append)
    room.install("en_tiny==0.1.0", [packages], said.append)
    assert any(line.startswith("Successfully installed en") for line in said)

    program = folder / "program.py"
    program.write_text(
        "import json, os, sys, pathlib, en_tiny\n"
        "facts = dict(os.environ), sys.path, en_tiny.__file__, os.getcwd()\n"
        "pathlib.Path(sys.argv[1]).write_text(json.dumps(facts))\n"
    )
    room.run(program, folder / "facts.json")
    environment, path, file, here = json.loads((folder / "facts.json").read_text())
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
    assert environment["HOME"] == str(room.home) == here
    assert not {"PYTHONPATH", "HF_TOKEN", "PIP_TARGET"} & set(environment)
    assert not [place for place in path if Path(place).is_relative_to(Path.cwd())]
    assert Path(file).is_relative_to(room.venv)

    program.write_text("raise RuntimeError('no weights')")
    with pytest.raises(InputError, match=r"does not work \(RuntimeError: no weights\)"):
        room.run(program)
