"""Compare how fast pipelines find entities in raw text, in one run, in turn."""

from pathlib import Path
from typing import Annotated

import spacy
import typer
from wasabi import table

from gmb_ner.benchmark.costs import Costs, costs
from gmb_ner.benchmark.parallel_speed import speed_together
from gmb_ner.benchmark.plots import plot_speeds
from gmb_ner.benchmark.prediction_speed import (
    Timings,
    compare,
    contestants,
    load,
    texts_of,
)
from gmb_ner.benchmark.roofline import Work, ceilings, memory_speed, work
from gmb_ner.console import numbers, step
from gmb_ner.errors import InputError
from gmb_ner.evaluation.files import load_docs
from gmb_ner.training.hardware import choose_device


@step("benchmark speed")
def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of the converted corpus.")],
    pipelines: Annotated[
        list[str], typer.Argument(help="NAME=FOLDER, =CONFIG.cfg, or =huggingface.")
    ],
    encoder: Annotated[Path, typer.Option(help="Weights for configs.")] = Path("assets/minilm"),
    sentences: Annotated[str, typer.Option(help="Of a document, by commas.")] = "1,10,100",
    batch_sizes: Annotated[str, typer.Option(help="Documents, by commas.")] = "1,32,256",
    words: Annotated[int, typer.Option(min=1, help="Of each measurement.")] = 5_000,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each pipeline.")] = 3,
    gpu_id: Annotated[str, typer.Option(help="auto, -1 for the CPU, or a number.")] = "-1",
    processes: Annotated[
        str, typer.Option(help="So many at a time, by commas, of pipelines that are folders.")
    ] = "",
    score: Annotated[bool, typer.Option(help="Pipelines alone: F1, memory, loading.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Picture to draw (.png).")] = None,
) -> None:
    """Print words a second, their ratio to the first of PIPELINES, and the latency of a sentence.

    A config stands for a pipeline whose weights learned nothing, which is as fast; huggingface for
    transformers' own pipeline on the same encoder. Then how much the encoders reach, where each is
    fastest, of the measured speed in matrix products, for the word pieces of --encoder, and of that
    in copying memory. With --processes, pipelines that are folders once more in several processes,
    which all read the texts of the first number of SENTENCES, in the last of BATCH_SIZES; with
    --score, each in a process of its own on the whole test part.
    """
    kinds, sizes = numbers(sentences), numbers(batch_sizes)
    counts = numbers(processes) if processes else []
    device, _ = choose_device(gpu_id)
    if device.gpu_id >= 0:
        spacy.require_gpu(device.gpu_id)
    named = dict(_named(pipeline) for pipeline in pipelines)
    loaded = {
        name: load(source, corpus, encoder.as_posix(), device.gpu_id)
        for name, source in named.items()
    }
    entered = contestants(loaded)
    docs = load_docs(corpus / "test.spacy", spacy.blank("en").vocab)
    print(f"{device.name}, documents of the test part, {words:,} words a measurement")
    *_, timings = compare(
        entered, docs, sentences=kinds, batch_sizes=sizes, words=words, rounds=rounds
    )
    print(_table(timings, kinds, sizes))
    with_encoder = {name: timings[name] for name in timings if entered[name].has_encoder}
    if with_encoder:
        counted = {}
        for name, timing in with_encoder.items():
            kind, size = timing.best()
            texts, read = texts_of(docs, kind, words)
            counted[name] = work(entered[name], texts, read, batch_size=size, encoder=encoder)
        limits = ceilings(device.gpu_id), memory_speed(device.gpu_id)
        print(_roofline(with_encoder, counted, *limits))
    if plot is not None:
        plot_speeds(timings, kinds, sizes[-1], plot)
    folders = {name: source for name, source in named.items() if source.is_dir()}
    if counts:
        if not folders:
            raise InputError("--processes needs a pipeline that is a folder: train one first.")
        texts, counted = texts_of(docs, kinds[0], words)
        together = [
            (
                entry,
                count,
                speed_together(
                    folder,
                    texts,
                    counted,
                    processes=count,
                    rounds=rounds,
                    batch_size=sizes[-1],
                    precision=contestant.precision,
                    gpu_id=device.gpu_id,
                ),
            )
            for name, folder in folders.items()
            for entry, contestant in contestants({name: loaded[name]}).items()
            for count in counts
        ]
        print(_parallel(together))
    if score:
        alone = {name: costs(folder, corpus / "test.spacy") for name, folder in folders.items()}
        print(_costs(alone))


def _named(pipeline: str) -> tuple[str, Path]:
    name, found, source = pipeline.partition("=")
    if not (name and found and source):
        raise InputError(f"{pipeline} names no pipeline: give NAME=FOLDER or NAME=CONFIG.cfg.")
    return name, Path(source)


def _table(timings: dict[str, Timings], kinds: list[int], sizes: list[int]) -> str:
    base = next(iter(timings.values()))
    rows = []
    for name, measured in timings.items():
        for n in kinds:
            for size in sizes:
                speed = measured.speed(n, size)
                row = (name, n, size, f"{speed:,.0f}", f"{speed / base.speed(n, size):.2f}")
                rows.append((*row, "", ""))
        latencies = (f"{1000 * measured.latency(share):.1f}" for share in (0.5, 0.95))
        rows[-len(kinds) * len(sizes)] = (*rows[-len(kinds) * len(sizes)][:5], *latencies)
    header = ("pipeline", "sentences", "batch", "words/s", "ratio", "p50 ms", "p95 ms")
    return str(table(rows, header=header, divider=True, aligns=("l", *"rrrrrr")))


def _parallel(measured: list[tuple[str, int, float]]) -> str:
    rows = [
        (name, count, f"{speed:,.0f}", f"{speed / measured[0][2]:.2f}")
        for name, count, speed in measured
    ]
    header = ("pipeline, processes together", "processes", "words/s", "ratio")
    return str(table(rows, header=header, divider=True, aligns=("l", "r", "r", "r")))


def _costs(measured: dict[str, Costs]) -> str:
    rows = [
        (
            *(name, f"{100 * cost.f1:.2f}", f"{cost.load_seconds:.1f}"),
            *(f"{1000 * cost.first_seconds:.0f}", f"{cost.model_bytes / 1e6:,.0f}"),
            "?" if cost.peak_bytes is None else f"{cost.peak_bytes / 1e9:.2f}",
        )
        for name, cost in measured.items()
    ]
    header = ("pipeline, alone", "strict F1", "load s", "first ms", "files MB", "memory GB")
    return str(table(rows, header=header, divider=True, aligns=("l", *"rrrrr")))


def _roofline(
    timings: dict[str, Timings], counted: dict[str, Work], ceiling: dict[str, float], memory: float
) -> str:
    measured = ", ".join(f"{flops / 1e9:,.0f} in {name}" for name, flops in ceiling.items())
    rows = []
    for name, timing in timings.items():
        needed, speed = counted[name], timing.speed(*timing.best())
        reached, moved = needed.operations * speed, needed.bytes * speed
        shares = (f"{100 * reached / flops:.0f} %" for flops in ceiling.values())
        share = f"{100 * moved / memory:.0f} %"
        rows.append(
            (
                *(name, f"{needed.operations / 1e6:.1f}", f"{reached / 1e9:,.0f}", *shares),
                *(f"{needed.bytes / 1e3:,.0f}", f"{moved / 1e9:.1f}", share),
            )
        )
    header = (
        *("pipeline, at its best", "MFLOP/word", "GFLOP/s", *(f"of {name}" for name in ceiling)),
        *("kB/word", "GB/s", "of memory"),
    )
    return (
        "Operations in the encoders' weights, and bytes of these; products of large matrices reach "
        f"GFLOP/s: {measured}; copies of large arrays {memory / 1e9:,.0f} GB/s\n"
        + str(table(rows, header=header, divider=True, aligns=("l", *"r" * (len(header) - 1))))
    )


if __name__ == "__main__":
    typer.run(main)
