"""Compare how fast configs train on the CPU, in one run, in turn."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import table

from gmb_ner.assets.encoders import fetch_minilm
from gmb_ner.benchmark.training_speed import compare
from gmb_ner.console import step


@step("benchmark training")
def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of the converted corpus.")],
    configs: Annotated[list[Path], typer.Argument(help="The first is what others compare to.")],
    assets: Annotated[Path, typer.Option(help="Folder of fetched files.")] = Path("assets"),
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each config.")] = 14,
    words: Annotated[int, typer.Option(min=1, help="Words of a turn, at least.")] = 3_000,
) -> None:
    """Print the median speeds of each of CONFIGS, in words a second, and their ratios."""
    encoder = fetch_minilm(assets).path.as_posix()
    speeds = compare(configs, corpus, encoder, rounds=rounds, words=words)
    first = next(iter(speeds.values()))
    rows = [
        (
            name,
            f"{speed.read:,.0f}",
            f"{speed.read / first.read:.2f}",
            f"{speed.annotated:,.0f}",
            f"{speed.annotated / first.annotated:.2f}",
        )
        for name, speed in speeds.items()
    ]
    header = ("config", "words/s", "ratio", "annotated words/s", "ratio")
    print(table(rows, header=header, divider=True, aligns=("l", "r", "r", "r", "r")))


if __name__ == "__main__":
    typer.run(main)
