"""What the tests of the corpus share: sentences, CSV files, and commands as a user runs them."""

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gmb_ner.corpus.table import Sentence
from gmb_ner.files import file_digest

SCRIPTS = Path(__file__).parents[2] / "scripts"
PEOPLE = ("Ada", "Bruno", "Carla", "Dario", "Edith", "Farid", "Gita", "Henk", "Ines", "Jonas")
PLACES = ("Oslo", "Porto", "Quito", "Riga", "Sofia", "Turin", "Umea", "Vienna", "Warsaw", "Zagreb")


@pytest.fixture(scope="session")
def sentence() -> Callable[..., Sentence]:
    """A sentence written as "Ada|B-per left Oslo|B-geo .": words without a tag are O."""

    def make(text: str, id_: str = "1", row: int = 2) -> Sentence:
        pairs = [item.partition("|") for item in text.split(" ")]
        words, tags = tuple(word for word, _, _ in pairs), tuple(tag or "O" for _, _, tag in pairs)
        return Sentence(id_, words, tags, range(row, row + len(words)))

    return make


@pytest.fixture(scope="session")
def kaggle() -> Callable[..., str]:
    """A CSV in the Kaggle form with so many sentences, all different for up to a hundred.

    Each is "<person> sails to <place> .", so that it has 5 rows and 2 entities.
    """

    def make(n: int) -> str:
        rows = ["Sentence #,Word,POS,Tag"]
        for i in range(n):
            rows.append(f"Sentence: {i + 1},{PEOPLE[i % 10]},NNP,B-per")
            rows += [",sails,VBZ,O", ",to,TO,O", f",{PLACES[i // 10 % 10]},NNP,B-geo", ",.,.,O"]
        return "\n".join(rows) + "\n"

    return make


@pytest.fixture
def fetched(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Lay down a file and the record of it as `fetch` does; returns the paths of both."""

    def lay(content: str | bytes, name: str = "words.csv", **about: object) -> tuple[Path, Path]:
        csv, record = tmp_path / name, tmp_path / "record.json"
        csv.write_bytes(content if isinstance(content, bytes) else content.encode())
        known = {"corpus": "voyages", "sample": False, "file": name, "origin": "the user's file"}
        known |= {"sha256": file_digest(csv), "bytes": csv.stat().st_size}
        record.write_text(json.dumps(known | about), encoding="utf-8")
        return csv, record

    return lay


@pytest.fixture(scope="session")
def command() -> Callable[..., tuple[int, str]]:
    """Run a script with arguments; returns the exit code and what it printed, without colours."""

    def run(script: str, *args: object) -> tuple[int, str]:
        app = typer.Typer()
        app.command()(runpy.run_path(str(SCRIPTS / script))["main"])
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception  # a traceback is never an answer to the user
        return result.exit_code, re.sub(r"\x1b\[[\d;]*m", "", result.output)

    return run
