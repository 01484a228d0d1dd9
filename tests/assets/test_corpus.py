"""Where the corpus is looked for, in which order, and what is said when it is not there."""

import hashlib
import json
import runpy
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gmb_ner.assets import corpus as module
from gmb_ner.assets.corpus import fetch_corpus, sample_warning
from gmb_ner.assets.download import Checksum, ChecksumError
from gmb_ner.assets.pins import Address
from gmb_ner.errors import InputError

REAL = b"Sentence #,Word,POS,Tag\r\nSentence: 1,Rome,NNP,B-geo\r\n" * 50
OTHER = REAL.replace(b"Rome", b"Oslo")
SAMPLE = b"Sentence #,Word,POS,Tag\r\nSentence: 1,Bern,NNP,B-geo\r\n"


def pack(path: Path, data: bytes, member: str = "ner_dataset.csv") -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(member, data)
        zipped.writestr(f"__MACOSX/._{member}", b"resources")
    return path.read_bytes()


@pytest.fixture
def project(tmp_path, monkeypatch, server):
    """A project with a sample, pins that a few bytes satisfy, and two public addresses."""
    monkeypatch.setattr(module, "PIN", Checksum("sha256", hashlib.sha256(REAL).hexdigest()))
    monkeypatch.setattr(module, "PINNED_BYTES", len(REAL))
    first = pack(tmp_path / "web" / "1.zip", REAL)
    second = pack(tmp_path / "web" / "2.zip", REAL, "gmb-ner.csv")
    monkeypatch.setattr(
        module,
        "ADDRESSES",
        (
            Address(f"{server.url}/1.zip", Checksum("sha256", hashlib.sha256(first).hexdigest())),
            Address(f"{server.url}/2.zip", Checksum("md5", hashlib.md5(second).hexdigest())),
        ),
    )
    folder = tmp_path / "project"
    (folder / "corpus").mkdir(parents=True)
    (folder / "corpus" / "sample.csv").write_bytes(SAMPLE)
    return folder


@pytest.fixture
def fetch(project):
    def run(csv=None, **options):
        fetched = fetch_corpus(
            project / "assets", csv, project_dir=project, progress=False, **options
        )
        record = json.loads((project / "assets" / "corpus.json").read_text())
        data = fetched.path.read_bytes()
        assert fetched.path == project / "assets" / "corpus.csv"
        assert record["sha256"] == fetched.sha256 == hashlib.sha256(data).hexdigest()
        assert record["bytes"] == len(data)
        assert record["corpus"] == fetched.corpus
        assert record["sample"] is fetched.sample is (fetched.corpus == "sample")
        assert record["origin"] == fetched.origin
        assert str(project) not in json.dumps(record)
        assert record["licence"] and record["source"]
        return fetched

    return run


def put(place: str, data: bytes, project: Path, tmp_path: Path, monkeypatch, server) -> None:
    """Make one of the places hold `data` as if it were the corpus."""
    assets = project / "assets"
    assets.mkdir(exist_ok=True)
    if place == "assets/ner_dataset.csv":
        (assets / "ner_dataset.csv").write_bytes(data)
    elif place == "assets/ner_dataset.zip":
        pack(assets / "ner_dataset.zip", data)
    elif place == "$GMB_NER_CORPUS (any.zip)":
        pack(tmp_path / "any.zip", data)
        monkeypatch.setenv("GMB_NER_CORPUS", str(tmp_path / "any.zip"))
    elif place == "../shared/corpus/ner_dataset.zip":
        pack(tmp_path / "shared" / "corpus" / "ner_dataset.zip", data)
    else:
        name = "1.zip" if place.endswith("1.zip") else "2.zip"
        packed = (tmp_path / "web" / name).read_bytes()
        server.serve(f"/{name}", packed if data is REAL else b"<html>")


PLACES = [
    "assets/ner_dataset.csv",
    "assets/ner_dataset.zip",
    "$GMB_NER_CORPUS (any.zip)",
    "../shared/corpus/ner_dataset.zip",
    "/1.zip",
    "/2.zip",
]


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_order_of_places(fetch, project, tmp_path, monkeypatch, server, listing, first):
    for place in PLACES[first:]:
        put(place, REAL, project, tmp_path, monkeypatch, server)
    fetched = fetch()
    assert fetched.origin.removeprefix(server.url) == PLACES[first]
    assert (fetched.kind, fetched.corpus, fetched.sample) == ("gmb", "gmb", False)
    assert fetched.path.read_bytes() == REAL
    assert fetched.tried == ()
    assert not [name for name in listing(project / "assets") if name.startswith(".")]


@pytest.mark.parametrize("place", PLACES)
def test_another_file_fails_and_never_falls_back(
    fetch, project, tmp_path, monkeypatch, server, listing, place
):
    for later in PLACES[PLACES.index(place) + 1 :]:
        put(later, REAL, project, tmp_path, monkeypatch, server)
    put(place, OTHER, project, tmp_path, monkeypatch, server)
    before = listing(project)
    with pytest.raises(ChecksumError, match=r"is not the expected file .* expected .*, found .*: "):
        fetch()
    assert listing(project) == before


def test_zip_of_the_real_corpus_is_kept_for_later(fetch, project, tmp_path, monkeypatch, server):
    put("/1.zip", REAL, project, tmp_path, monkeypatch, server)
    fetch()
    (project / "my.csv").write_bytes(OTHER)
    assert fetch(str(project / "my.csv")).corpus == "my"
    server.answers.clear()
    asked = len(server.asked)
    assert fetch().corpus == "gmb"
    assert len(server.asked) == asked


@pytest.mark.parametrize("name", ["ner_dataset.csv", "ner_dataset.zip"])
def test_variable_may_name_a_folder(fetch, tmp_path, monkeypatch, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    if name.endswith("csv"):
        (folder / name).write_bytes(REAL)
    else:
        pack(folder / name, REAL)
    monkeypatch.setenv("GMB_NER_CORPUS", str(folder))
    assert fetch().origin == f"$GMB_NER_CORPUS ({name})"


def test_wrong_variable_is_an_error(fetch, project, tmp_path, monkeypatch, server):
    put("/1.zip", REAL, project, tmp_path, monkeypatch, server)
    monkeypatch.setenv("GMB_NER_CORPUS", str(tmp_path / "typo"))
    with pytest.raises(InputError, match=r"typo, named by \$GMB_NER_CORPUS, does not exist"):
        fetch()
    monkeypatch.setenv("GMB_NER_CORPUS", str(tmp_path / "project"))
    with pytest.raises(InputError, match="holds neither"):
        fetch()
    assert server.asked == []


def test_second_run_writes_nothing(fetch, project, tmp_path, monkeypatch, server):
    put("/1.zip", REAL, project, tmp_path, monkeypatch, server)
    first = fetch()
    files = [project / "assets" / name for name in ("corpus.csv", "corpus.json", "ner_dataset.zip")]
    before = [path.stat().st_mtime_ns for path in files]
    inodes = [path.stat().st_ino for path in files]
    second = fetch()
    assert (first.written, second.written) == (True, False)
    assert second == replace(first, written=False)
    assert [path.stat().st_mtime_ns for path in files] == before
    assert [path.stat().st_ino for path in files] == inodes


def test_corpus_stays_when_its_place_is_gone(fetch, project, tmp_path, monkeypatch, server):
    put("$GMB_NER_CORPUS (any.zip)", REAL, project, tmp_path, monkeypatch, server)
    fetch()
    monkeypatch.delenv("GMB_NER_CORPUS")
    assert fetch().written is False
    # Also without its record, as after an interruption.
    (project / "assets" / "corpus.json").unlink()
    assert fetch().corpus == "gmb"
    (project / "assets" / "corpus.json").write_text("[half")
    assert fetch().origin == "assets/corpus.csv"


def test_sample_is_said_loudly_and_recorded(fetch, project):
    fetched = fetch()
    assert (fetched.kind, fetched.corpus, fetched.sample) == ("sample", "sample", True)
    assert fetched.path.read_bytes() == SAMPLE
    assert "SAMPLE" in json.loads((project / "assets" / "corpus.json").read_text())["source"]
    title, lines = sample_warning(fetched)
    text = "\n".join(lines)
    assert title.startswith("SAMPLE") and "NOT the corpus" in title
    for said in (
        "neither ner_dataset.csv nor ner_dataset.zip",
        "$GMB_NER_CORPUS: not set",
        "../shared/corpus/ner_dataset.zip: not there",
        "/1.zip could not be downloaded (HTTP status 404)",
        "/2.zip could not be downloaded (HTTP status 404)",
        "set GMB_NER_CORPUS",
        "into assets/",
        "abhinavwalia95/entity-annotated-corpus",
    ):
        assert said in text


def test_real_corpus_replaces_the_sample(fetch, project, tmp_path, monkeypatch, server):
    assert fetch().sample
    put("/2.zip", REAL, project, tmp_path, monkeypatch, server)
    fetched = fetch()
    assert fetched.corpus == "gmb" and fetched.written
    assert fetched.path.read_bytes() == REAL


def test_required_corpus(fetch, project, listing):
    with pytest.raises(InputError, match=r"cannot be had \(tried: .*404.*\): set GMB_NER_CORPUS"):
        fetch(require=True)
    assert listing(project / "assets") == []


def test_missing_sample(fetch, project):
    (project / "corpus" / "sample.csv").unlink()
    with pytest.raises(InputError, match=r"built-in sample .* is missing"):
        fetch()


def test_offline_asks_nobody(fetch, project, tmp_path, monkeypatch, server):
    put("/1.zip", REAL, project, tmp_path, monkeypatch, server)
    fetched = fetch(offline=True)
    assert fetched.sample and server.asked == []
    assert f"{server.url}/1.zip: not asked (--offline)" in fetched.tried


@pytest.mark.parametrize(
    "name, slug",
    [("My Córpus (v2).csv", "my_corpus_v2"), ("a-b.tsv", "a_b"), ("news.zip", "news")],
)
def test_own_file_is_taken_as_it_is(fetch, tmp_path, name, slug):
    path = tmp_path / name
    if name.endswith("zip"):
        pack(path, OTHER, "inner.csv")
    else:
        path.write_bytes(OTHER)
    fetched = fetch(str(path))
    assert (fetched.kind, fetched.corpus) == ("csv", slug)
    assert fetched.path.read_bytes() == OTHER


@pytest.mark.parametrize("name", ["gmb.csv", "Sample.csv", "GMB .csv", "語.csv"])
def test_own_file_cannot_pass_for_the_corpus(fetch, tmp_path, name):
    (tmp_path / name).write_bytes(OTHER)
    with pytest.raises(InputError, match="rename the file"):
        fetch(str(tmp_path / name))


def test_own_file_is_known_by_its_bytes(fetch, project, tmp_path):
    (tmp_path / "mine.csv").write_bytes(SAMPLE)
    fetched = fetch(str(tmp_path / "mine.csv"))
    assert fetched.sample and "by name" in sample_warning(fetched)[1][-1]
    (tmp_path / "mine.csv").write_bytes(REAL)
    assert fetch(str(tmp_path / "mine.csv")).corpus == "gmb"


def test_own_file_that_is_not_there(fetch, tmp_path):
    with pytest.raises(InputError, match=r"none\.csv does not exist"):
        fetch(str(tmp_path / "none.csv"))
    (tmp_path / "bad.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="not a readable zip"):
        fetch(str(tmp_path / "bad.zip"))


def test_assets_that_are_no_folder(project):
    (project / "assets").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written"):
        fetch_corpus(project / "assets", project_dir=project)


def test_record_never_tells_of_another_file(fetch, project, tmp_path, monkeypatch, server):
    fetch()
    put("/1.zip", REAL, project, tmp_path, monkeypatch, server)

    def interrupted(target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "atomic_path", interrupted)
        fetch()
    assert not (project / "assets" / "corpus.json").exists()
    assert fetch().corpus == "gmb"


@pytest.fixture
def command(project, monkeypatch):
    script = Path(__file__).parents[2] / "scripts" / "fetch.py"
    app = runpy.run_path(str(script))["app"]
    main = app.registered_commands[0].callback.__wrapped__  # below what tells time and mistakes
    monkeypatch.setitem(main.__globals__, "ROOT", project)
    return lambda *words: CliRunner().invoke(app, [*words, "--assets", str(project / "assets")])


def test_command(command, project, tmp_path, monkeypatch, server):
    result = command("corpus", "--csv", "")
    assert result.exit_code == 0 and "SAMPLE" in result.output and "(sample" in result.output
    result = command("corpus", "--refuse-sample")
    assert result.exit_code == 1 and "cannot be had" in result.output
    result = command("corpus", "--csv", "", "--offline", "--allow-sample")
    assert result.exit_code == 0 and "SAMPLE" in result.output
    put("/1.zip", REAL, project, tmp_path, monkeypatch, server)
    result = command("corpus", "--csv", "")
    assert result.exit_code == 0 and "SAMPLE" not in result.output
