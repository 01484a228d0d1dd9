"""A file is put into place whole and verified, or nothing changes."""

import hashlib
import re
import zipfile

import pytest

from gmb_ner.assets.archive import extract_member, find_table
from gmb_ner.assets.download import (
    Checksum,
    ChecksumError,
    UnreachableError,
    copy_verified,
    download,
)
from gmb_ner.errors import InputError
from gmb_ner.files import atomic_path, work_folder

DATA = bytes(range(256)) * 1000
SHA256 = Checksum("sha256", hashlib.sha256(DATA).hexdigest())
MD5 = Checksum("md5", hashlib.md5(DATA).hexdigest())
OTHER = Checksum("sha256", "0" * 64)


@pytest.fixture
def fetch(server, tmp_path):
    def run(path="/file", checksum=SHA256, **options):
        options = {"max_bytes": len(DATA), "progress": False, "timeout": (1, 1), **options}
        download(server.url + path, tmp_path / "file", checksum, **options)
        return (tmp_path / "file").read_bytes()

    return run


@pytest.mark.parametrize("checksum", [SHA256, MD5])
def test_download(server, fetch, tmp_path, listing, checksum):
    server.serve("/file", DATA)
    assert fetch(checksum=checksum) == DATA
    assert listing(tmp_path) == ["file"]
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_download_shows_its_progress(server, fetch, capsys):
    server.serve("/file", DATA)
    fetch(progress=True)
    assert "file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "answer, options, error, said",
    [
        ({}, {"checksum": OTHER}, ChecksumError, f"expected {'0' * 64}, found"),
        (None, {}, UnreachableError, "HTTP status 404"),
        ({"promised": 900_000}, {}, UnreachableError, "broke off"),
        ({}, {"max_bytes": 100_000}, UnreachableError, "more than the expected 100,000"),
        ({"delay": 0.6}, {"timeout": (0.2, 0.2)}, UnreachableError, "no answer in time"),
    ],
    ids=["checksum", "404", "broken-off", "too-large", "silent"],
)
@pytest.mark.parametrize("before", [None, b"what was there"])
def test_failed_download_changes_nothing(
    server, fetch, tmp_path, listing, answer, options, error, said, before
):
    if answer is not None:
        server.serve("/file", DATA, **answer)
    if before:
        (tmp_path / "file").write_bytes(before)
    with pytest.raises(error, match=said):
        fetch(**options)
    assert listing(tmp_path) == (["file"] if before else [])
    if before:
        assert (tmp_path / "file").read_bytes() == before


def test_download_without_connection(tmp_path, listing):
    with pytest.raises(UnreachableError, match="no connection"):
        download("http://nowhere.invalid/file", tmp_path / "file", SHA256, max_bytes=9)
    assert listing(tmp_path) == []


def test_older_http_library_takes_a_broken_connection_for_the_end(server, fetch, monkeypatch):
    import requests

    monkeypatch.setattr(requests.Response, "iter_content", lambda self, size: [DATA[:5000]])
    server.serve("/file", DATA)
    with pytest.raises(UnreachableError, match=r"after 5,000 of 256,000 bytes"):
        fetch()


def test_copy(tmp_path, listing):
    (tmp_path / "source").write_bytes(DATA)
    copy_verified(tmp_path / "source", tmp_path / "deep" / "copy", SHA256)
    assert (tmp_path / "deep" / "copy").read_bytes() == DATA
    with pytest.raises(ChecksumError, match=re.escape("its name is not the expected file")):
        copy_verified(tmp_path / "source", tmp_path / "other", OTHER, "its name")
    with pytest.raises(InputError, match="cannot be read"):
        copy_verified(tmp_path / "missing", tmp_path / "other", None)
    assert listing(tmp_path) == ["deep", "deep/copy", "source"]


def test_atomic_path_in_a_place_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written"), atomic_path(tmp_path / "file" / "x"):
        pass
    with pytest.raises(InputError, match="cannot be written"), work_folder(tmp_path / "file" / "x"):
        pass


def test_atomic_path_when_interrupted(tmp_path, listing):
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "file") as part:
        part.write_bytes(b"half")
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), work_folder(tmp_path / "folder") as work:
        (work / "half").write_bytes(b"half")
        raise KeyboardInterrupt
    assert listing(tmp_path) == []


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("deep/table.csv", DATA)
        zipped.writestr("__MACOSX/deep/._table.csv", b"resources")
        zipped.writestr("deep/._table.csv", b"resources")  # as others than the Finder pack them
        zipped.writestr("../escape.sh", b"#!/bin/sh")
    return path


def test_only_the_wanted_member_is_unpacked(archive, tmp_path, listing):
    member = find_table(archive, ("table.csv",))
    assert member == find_table(archive, None) == "deep/table.csv"
    extract_member(archive, member, tmp_path / "out" / "t.csv", SHA256, max_bytes=len(DATA))
    assert (tmp_path / "out" / "t.csv").read_bytes() == DATA
    assert listing(tmp_path) == ["archive.zip", "out", "out/t.csv"]


def encrypt(path):
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(bytes(data))


def corrupt(path):
    data = bytearray(path.read_bytes())
    data[60:80] = bytes(20)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "spoil, options, error, said",
    [
        (None, {"max_bytes": 1000}, InputError, "more than 1,000 bytes"),
        (None, {"checksum": OTHER}, ChecksumError, "deep/table.csv in .*archive.zip is not"),
        (None, {"member": "none.csv"}, InputError, "holds no none.csv"),
        (encrypt, {}, InputError, "encrypted"),
        (corrupt, {}, InputError, "damaged"),
        (lambda path: path.write_bytes(b"PK"), {}, InputError, "damaged"),
        (lambda path: path.unlink(), {}, InputError, "cannot be read"),
    ],
    ids=["bomb", "checksum", "missing", "encrypted", "corrupt", "no-zip", "no-file"],
)
def test_bad_archive(archive, tmp_path, spoil, options, error, said):
    if spoil:
        spoil(archive)
    options = {"member": "deep/table.csv", "checksum": SHA256, "max_bytes": len(DATA), **options}
    with pytest.raises(error, match=said):
        extract_member(archive, target=tmp_path / "out.csv", **options)
    assert not list(tmp_path.glob("*out.csv*")) and not list(tmp_path.glob(".*"))


def test_archive_without_or_with_several_tables(archive, tmp_path):
    with pytest.raises(InputError, match=r"holds no other.csv"):
        find_table(archive, ("other.csv",))
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr("second.tsv", b"")
    with pytest.raises(InputError, match="holds 2 CSV"):
        find_table(archive, None)
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="damaged"):
        find_table(tmp_path / "bad.zip", None)
