"""What a log is told of a long job."""

from types import SimpleNamespace

from gmb_ner.annotate import progress as module
from gmb_ner.annotate.progress import Progress


def test_a_log_gets_a_line_a_minute_with_the_time_left_by_the_speed_of_that_minute(
    monkeypatch, capsys
):
    seconds = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: seconds))
    progress = Progress(8_000)
    seconds += 1
    progress.read(5_000)  # what was annotated before
    progress.annotated(0)
    assert capsys.readouterr().out == ""
    seconds += 99
    progress.read(1_000)
    progress.annotated(3_000)
    said = " ".join(capsys.readouterr().out.split())
    assert "75% 6.00k/8.00k [01:40<00:33, 60.0B/s, 30 words/s]" in said
    seconds += 50
    progress.read(1_000)
    progress.annotated(3_000)
    assert capsys.readouterr().out == ""
    seconds += 50
    progress.annotated(0)
    said = " ".join(capsys.readouterr().out.split())
    assert "88% 7.00k/8.00k [03:20<01:40, 10.0B/s, 30 words/s]" in said
    progress.close()


def test_a_terminal_gets_a_bar_and_no_lines(monkeypatch, capsys):
    monkeypatch.setattr(module, "INTERVAL", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = Progress(10)
    progress.read(10)
    progress.annotated(5)
    progress.close()
    said = capsys.readouterr()
    assert said.out == "" and "100%" in said.err and "words/s" in said.err
