"""Train and score all systems on the same splits with the same scorer, and write their tables."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from gmb_ner.benchmark.benchmark import (
    Outcome,
    Workplace,
    choose_rows,
    claim,
    minutes,
    minutes_left,
    run_rows,
    why_open,
)
from gmb_ner.benchmark.plots import plot_all
from gmb_ner.benchmark.row import Row
from gmb_ner.benchmark.systems import SYSTEMS
from gmb_ner.benchmark.tables import label_table, replace_block, tables
from gmb_ner.console import duration, numbers, step
from gmb_ner.errors import InputError
from gmb_ner.evaluation.report import headline
from gmb_ner.files import write_text
from gmb_ner.training.hardware import choose_device


@step("benchmark")
def main(
    assets: Annotated[Path, typer.Argument(help="Folder of fetched files.")],
    work: Annotated[Path, typer.Argument(help="Folder for corpora and pipelines.")],
    results: Annotated[Path, typer.Argument(help="Folder for figures, tables and plots.")],
    systems: Annotated[str, typer.Option(help="Names by commas; all: every one.")] = "all",
    protocols: Annotated[str, typer.Option(help="By commas.")] = "canonical,contiguous",
    seeds: Annotated[int, typer.Option(min=1, help="Of the default on canonical.")] = 3,
    parts: Annotated[str, typer.Option(help="Every n-th Doc trains; by commas.")] = "1",
    glove: Annotated[str, typer.Option(help="Text file of GloVe's vectors.")] = "",
    bert: Annotated[str, typer.Option(help="Directory of bert-base-cased.")] = "",
    gpu_id: Annotated[str, typer.Option(help="auto, -1 for the CPU, or a number.")] = "auto",
    together: Annotated[
        int, typer.Option(min=1, help="Rows of one core at a time; each takes up to 4.5 GB.")
    ] = 2,
    max_steps: Annotated[int, typer.Option(min=0, help="End trainings early; 0: never.")] = 0,
    document: Annotated[Path | None, typer.Option(help="Its tables are replaced too.")] = None,
    offline: Annotated[bool, typer.Option("--offline/--online", help="Ask no network.")] = False,
    done_only: Annotated[bool, typer.Option(help="Make no row: tables of what is there.")] = False,
) -> None:
    """Write RESULTS/PROTOCOL/ROW.json for each row that has none yet, tables and plots.

    Run it again after it was ended: it goes on where it was.
    """
    device, reason = choose_device(gpu_id)
    place = Workplace(
        assets, work, results, Path(glove) if glove else None, Path(bert) if bert else None,
        device.gpu_id, together, offline,
    )  # fmt: skip
    names = list(SYSTEMS) if systems == "all" else _split(systems)
    rows = choose_rows(
        names, _split(protocols), seeds=seeds, parts=numbers(parts), max_steps=max_steps
    )
    if document is not None:
        if not document.is_file():
            raise InputError(f"There is no file {document}: leave out --document, or name another.")
        replace_block(document.read_text(encoding="utf-8"), "", str(document))  # or say why not
    claim(place)
    left = duration(60 * minutes_left(rows, place))
    msg.info(
        f"{len(rows)} rows on {device.name}, as {reason}; those that are not done took {left} on "
        f"two cores, with the whole corpus (rows that use one core {together} at a time)"
    )

    new: set[Row] = set()

    def started(row: Row) -> None:
        new.add(row)
        msg.info(f"{row.protocol}, {row.name}: about {minutes(row):.0f} min")

    outcomes: list[Outcome] = []
    if done_only:
        rows = [row for row in rows if place.result(row).is_file() or why_open(row, place)]
    for outcome in run_rows(rows, place, started):
        outcomes.append(outcome)
        outcomes.sort(key=lambda one: rows.index(one.row))
        title = f"{outcome.row.protocol}, {outcome.row.name}"
        if outcome.result is None:
            msg.warn(f"{title}: {outcome.reason}")
            continue
        msg.good(f"{title}: {headline(outcome.result)}")
        if outcome.row in new:  # of many that are there, each table takes seconds
            write_text(results / "benchmark.md", _text(outcomes))
    plot_all(outcomes, results)
    write_text(results / "benchmark.md", _text(outcomes))
    if document is not None:
        text = document.read_text(encoding="utf-8")
        write_text(document, replace_block(text, _text(outcomes), str(document)))
    print(_text(outcomes))
    if failed := [o for o in outcomes if o.result is None and not o.open]:
        raise InputError(f"{len(failed)} of {len(rows)} rows failed, see {results}/*/*.failed.txt.")


def _text(outcomes: list[Outcome]) -> str:
    return f"{tables(outcomes)}\n{label_table(outcomes)}"


def _split(given: str) -> list[str]:
    return [name.strip() for name in given.split(",") if name.strip()]


if __name__ == "__main__":
    typer.run(main)
