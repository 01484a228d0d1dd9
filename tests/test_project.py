"""project.yml, README and configs say what the code does."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
import srsly
from spacy.cli.init_config import fill_config

ROOT = Path(__file__).parent.parent
PROJECT = srsly.read_yaml(ROOT / "project.yml")
CONFIGS = sorted((ROOT / "configs").glob("*.cfg"))


def imported(path: Path) -> set[Path]:
    """The project's own files that a file imports, those imported inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = path.parent.joinpath(*[".."] * (node.level - 1)) if node.level else ROOT
            base = base.resolve().joinpath(*(node.module or "").split("."))
            relative = base.relative_to(ROOT).parts if base.is_relative_to(ROOT) else ()
            names = [".".join(relative), *(".".join((*relative, a.name)) for a in node.names)]
        else:
            continue
        for name in names:
            module = ROOT.joinpath(*name.split("."))
            if name.startswith("gmb_ner") and module.with_suffix(".py").is_file():
                found.add(module.with_suffix(".py"))
    return found


def closure(path: Path) -> set[str]:
    seen: set[Path] = set()
    waiting = {path}
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting |= imported(current)
    return {path.relative_to(ROOT).as_posix() for path in seen}


def code_of(command: dict) -> set[str]:
    """All code that a command runs: by its imports, and by the names in configs and pipelines."""
    scripts = {word for line in command["script"] for word in line.split() if word.endswith(".py")}
    code: set[str] = set().union(*(closure(ROOT / script) for script in scripts))
    named: list[Path] = []
    if command["name"] == "package":  # the wheel of gmb-ner holds the code of all
        named += ROOT.glob("gmb_ner/**/*.py")
    rows = ("benchmark", "learning-curve", "kfold")
    if command["name"] in ("train", "evaluate", "prove", "visualize", "export", *rows):
        named += ROOT.glob("gmb_ner/pipeline/*.py")
    if command["name"] in ("train", *rows):
        named.append(ROOT / "gmb_ner/training/reader.py")
    return code.union(*(closure(path) for path in named if path.stat().st_size))


@pytest.mark.parametrize("command", PROJECT["commands"], ids=lambda command: command["name"])
def test_deps_name_all_code_that_a_command_runs(command):
    listed = {dep for dep in command["deps"] if dep.endswith(".py")}
    code = code_of(command)
    assert sorted(code - listed) == []
    assert sorted(listed - code) == []


def test_no_dep_is_a_folder_of_code():
    # Python leaves compiled files there, and each new one would make a step run again.
    assert not [
        dep
        for command in PROJECT["commands"]
        for dep in command["deps"]
        if (ROOT / dep).is_dir() and list((ROOT / dep).rglob("*.py"))
    ]


def test_readme_block_is_what_spacy_writes(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_bytes((ROOT / "README.md").read_bytes())
    subprocess.run(
        [sys.executable, "-m", "spacy", "project", "document", str(ROOT), "--output", str(readme)],
        check=True,
        capture_output=True,
    )
    assert readme.read_text(encoding="utf-8") == (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_is_what_fill_config_writes(path, tmp_path):
    _, filled = fill_config(tmp_path / path.name, path, silent=True)
    filled.to_disk(tmp_path / path.name)
    assert path.read_text(encoding="utf-8") == (tmp_path / path.name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_no_config_discards_oversize_batches(path):
    config = spacy.util.load_config(path)
    assert config["training"]["batcher"].get("discard_oversize", False) is False
