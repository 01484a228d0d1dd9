"""Remove what the project's commands have made; what was fetched stays."""

import shutil
from pathlib import Path

import typer
from wasabi import msg

ROOT = Path(__file__).resolve().parent.parent
KEPT = {"sample.csv"}  # of corpus/, all else is generated


def main() -> None:
    """Remove the converted corpus, trained pipelines, figures and wheels."""
    for name in ("training", "exported", "metrics", "packages"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for path in (ROOT / "corpus").iterdir():
        if path.is_dir():  # that of a conversion which was killed
            shutil.rmtree(path)
        elif path.name not in KEPT:
            path.unlink()
    msg.good(
        "Removed training, exported, metrics, packages and the converted corpus; assets are kept."
    )


if __name__ == "__main__":
    typer.run(main)
