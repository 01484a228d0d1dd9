"""What README, docs and the notebook show works: Python runs, commands and options exist."""

import ast
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import spacy
import srsly
import typer
from spacy.training import Example

from gmb_ner.__main__ import app
from gmb_ner.evaluation.files import load_docs
from gmb_ner.training.reader import untagged_copy

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "BENCHMARKS.md", *sorted((ROOT / "docs").glob("*.md"))]
PROJECT = srsly.read_yaml(ROOT / "project.yml")
PACKAGES = ("en_ner_gmb_sm", "en_ner_mine_sm")


def blocks(page, language):
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def commands(page):
    """The lines of all bash blocks, continued ones joined, comments left out."""
    for block in blocks(page, "bash"):
        for line in re.sub(r"\\\n", " ", block).split("\n"):
            if line.strip() and not line.startswith("#"):
                yield line


@pytest.fixture(scope="module")
def installed(sample_corpus, tmp_path_factory):
    """A folder with pipelines as installed packages and as `exported`, of a CRF on the sample."""
    folder = tmp_path_factory.mktemp("installed")
    nlp = spacy.blank("en", meta={"name": "ner_gmb_sm", "version": "0.1.0"})
    nlp.add_pipe("crf_ner", name="ner", config={"max_iterations": 30})
    docs = load_docs(sample_corpus / "train.spacy", nlp.vocab)
    nlp.initialize(lambda: [Example(untagged_copy(doc), doc) for doc in docs])
    nlp.to_disk(folder / "exported")
    for name in PACKAGES:
        (folder / name).mkdir()
        nlp.to_disk(folder / name / "model")
        (folder / name / "__init__.py").write_text(
            "import spacy\nfrom pathlib import Path\n"
            "load = lambda **given: spacy.load(Path(__file__).parent / 'model', **given)\n",
            encoding="utf-8",
        )
        about = folder / f"{name}-0.1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n", encoding="utf-8"
        )
    return folder


@pytest.fixture
def at_work(installed, monkeypatch):
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.chdir(installed)
    yield
    for name in PACKAGES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs(page, at_work, capsys):
    spaces = {}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), spaces)


def test_the_notebook_runs(at_work):
    notebook = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text(encoding="utf-8"))
    spaces: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), cell["id"], "exec"), spaces)
    assert list(spaces["table"].columns) == ["text", "entity", "label", "confidence"]


def options_of(script):
    """The options of a script's command."""
    tree = ast.parse((ROOT / script).read_text(encoding="utf-8"))
    (main,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main")
    names = {argument.arg.replace("_", "-") for argument in main.args.args}
    text = ast.unparse(main)
    return names | set(re.findall(r"--([a-z-]+)", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page):
    known = {command["name"] for command in PROJECT["commands"]} | set(PROJECT["workflows"])
    subcommands = typer.main.get_command(app).commands
    for line in commands(page):
        for part in re.split(r"\s&&\s", line):
            words = shlex.split(part, comments=True)
            if words[:3] == ["spacy", "project", "run"]:
                assert words[3] in known, part
                assert not [w for w in words if w.startswith("--")] or words[4] == ".", part
                for word in words[4:]:
                    if word.startswith("--vars."):
                        assert word.removeprefix("--vars.") in PROJECT["vars"], part
            elif words[0] == "python" and words[1].startswith("scripts/"):
                options = (word for word in words[2:] if word.startswith("--") and " " not in word)
                given = {word[2:] for word in options}
                assert given <= options_of(words[1]), part
            elif words[0] == "gmb_ner":
                options = {o for p in subcommands[words[1]].params for o in p.opts}
                assert {word for word in words if word.startswith("--")} <= options, part


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"([a-z-]+\.md)", text))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")}
