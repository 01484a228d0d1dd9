"""What is written appears whole, as others may read it, and tells what stands in its way."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from gmb_ner.errors import InputError
from gmb_ner.files import atomic_path, take_place, work_folder, writing


def test_an_error_in_the_middle_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "file") as part:
        part.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EIO, "Input/output error"),
        PermissionError(errno.EACCES, "Permission denied", "out/part"),
        NotADirectoryError(errno.ENOTDIR, "Not a directory", "out"),
    ],
)
def test_what_is_wrong_with_the_place_is_one_sentence(error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refusal = pytest.raises(InputError, match=r"file cannot be written \(.+\): free or allow")
    with refusal, writing(tmp_path / "out" / "file"):
        raise error


def test_what_is_wrong_elsewhere_is_not_blamed_on_the_place(tmp_path):
    for error in (
        OSError("Can't load the model: is it on the hub?"),
        FileNotFoundError(errno.ENOENT, "No such file", "/nowhere/encoder"),
    ):
        with pytest.raises(type(error)), writing(tmp_path / "out" / "file"):
            raise error


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_a_file_is_as_private_as_others(tmp_path):
    code = (
        "import os, pathlib; os.umask(0o077)\n"
        "from gmb_ner.files import write_text\n"
        f"write_text(pathlib.Path({str(tmp_path)!r}) / 'file', 'secret')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_folder_takes_the_place_of_another(tmp_path):
    target = tmp_path / "target"
    for text in ("first", "second"):
        with work_folder(target) as work:
            (work / "new").mkdir()
            (work / "new" / "file").write_text(text, encoding="utf-8")
            take_place(work / "new", target)
        assert (target / "file").read_text(encoding="utf-8") == text
        assert list(tmp_path.iterdir()) == [target]


def test_the_former_folder_stays_where_the_new_one_cannot_come(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").touch()
    with pytest.raises(InputError), work_folder(target) as work:
        take_place(work / "missing", target)
    assert [path.name for path in target.iterdir()] == ["file"]
