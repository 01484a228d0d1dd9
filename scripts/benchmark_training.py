"""Compare how fast configs train, in one run, in turn."""

from pathlib import Path
from typing import Annotated

import spacy
import typer
from wasabi import table

from gmb_ner.assets.encoders import fetch_minilm
from gmb_ner.benchmark.training_speed import compare
from gmb_ner.console import step
from gmb_ner.training.hardware import choose_device, gpu_memory


@step("benchmark training")
def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of the converted corpus.")],
    configs: Annotated[list[Path], typer.Argument(help="The first is what others compare to.")],
    assets: Annotated[Path, typer.Option(help="Folder of fetched files.")] = Path("assets"),
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each config.")] = 14,
    words: Annotated[int, typer.Option(min=1, help="Words of a turn, at least.")] = 3_000,
    encoder: Annotated[Path | None, typer.Option(help="Directory of another encoder.")] = None,
    gpu_id: Annotated[str, typer.Option(help="auto, -1 for the CPU, or a number.")] = "-1",
    offline: Annotated[bool, typer.Option("--offline/--online", help="Ask no network.")] = False,
) -> None:
    """Print the median speeds of each of CONFIGS, in words a second, and their ratios.

    On a GPU also the memory in use at the end: for the need of a config, name it alone.
    """
    device, _ = choose_device(gpu_id)
    on_gpu = device.gpu_id >= 0
    if on_gpu:
        spacy.require_gpu(device.gpu_id)
    path = (encoder or fetch_minilm(assets, offline=offline).path).as_posix()
    speeds = compare(configs, corpus, path, rounds=rounds, words=words, on_gpu=on_gpu)
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
    if on_gpu:
        print(f"{device.name}: {gpu_memory(device.gpu_id) / 1e9:.1f} GB of its memory in use")


if __name__ == "__main__":
    typer.run(main)
