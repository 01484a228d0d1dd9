import pytest

from gmb_ner.console import duration, step
from gmb_ner.errors import InputError


def test_a_users_mistake_is_one_sentence_and_status_1(capsys):
    with pytest.raises(SystemExit) as stop, step("convert"):
        raise InputError("words.csv, row 7: there is no tag; write one")
    assert stop.value.code == 1
    said = capsys.readouterr()
    assert "words.csv, row 7: there is no tag; write one" in said.out + said.err
    assert "took" not in said.out


def test_a_name_that_is_not_utf8_can_be_told(capsys):
    with pytest.raises(SystemExit), step("annotate"):
        raise InputError("There is no file Zo\udceb.txt.")
    assert "Zo\\udceb.txt" in "".join(capsys.readouterr())


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), step("convert"):
        raise ZeroDivisionError


def test_success_tells_the_time(capsys):
    with step("convert"):
        pass
    assert "convert took 0.0 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    "seconds, words",
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"), (185.4, "3 min 5 s")],
)
def test_duration(seconds, words):
    assert duration(seconds) == words
