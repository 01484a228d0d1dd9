"""Measure what each lead is worth, on a quarter of the training part and held-out training."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from gmb_ner.assets.encoders import fetch_minilm
from gmb_ner.benchmark.ablation import ablate, table
from gmb_ner.benchmark.variants import VARIANTS
from gmb_ner.console import step
from gmb_ner.files import write_text


@step("ablate")
def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of the converted corpus.")],
    output: Annotated[Path, typer.Argument(help="Folder for the results and their table.")],
    config: Annotated[Path, typer.Option(help="What is varied.")] = Path("configs/minilm.cfg"),
    assets: Annotated[Path, typer.Option(help="Folder of fetched files.")] = Path("assets"),
    variants: Annotated[str, typer.Option(help="Names by commas; all: every one.")] = "all",
    seeds: Annotated[int, typer.Option(min=1, help="So many seeds, from 0.")] = 2,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 2,
    max_steps: Annotated[int, typer.Option(help="End each after so many batches; 0: never.")] = 0,
    gpu_id: Annotated[int, typer.Option(help="-1 for the CPU.")] = -1,
    offline: Annotated[bool, typer.Option("--offline/--online", help="Ask no network.")] = False,
) -> None:
    """Write OUTPUT/NAME-SEED.json for each run, those that are there excepted, and ablation.md."""
    names = list(VARIANTS) if variants == "all" else [name.strip() for name in variants.split(",")]
    results = []
    for name, seed, result in ablate(
        config,
        corpus,
        output,
        names=names,
        seeds=range(seeds),
        encoder_path=fetch_minilm(assets, offline=offline).path.as_posix(),
        epochs=epochs,
        max_steps=max_steps,
        gpu_id=gpu_id,
    ):
        results.append((name, seed, result))
        write_text(output / "ablation.md", table(results) + "\n")
        msg.good(f"{name}, seed {seed}")
    print(table(results))


if __name__ == "__main__":
    typer.run(main)
