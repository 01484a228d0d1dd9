"""The command `gmb_ner`: what an installed pipeline is used by, outside of Python."""

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from gmb_ner.annotate.engines import run_here, run_processes, run_ray
from gmb_ner.annotate.formats import FORMATS
from gmb_ner.annotate.job import ERRORS, Counts, Job, finished, prepare, remove_unfinished, split
from gmb_ner.annotate.progress import Progress
from gmb_ner.annotate.records import read_records
from gmb_ner.console import step
from gmb_ner.errors import InputError
from gmb_ner.files import printable
from gmb_ner.pipeline.loading import load_model

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Named entities by pipelines of gmb-ner."""


@app.command()
@step("annotate")
def annotate(
    source: Annotated[str, typer.Argument(help="A file, a folder or a pattern as 'in/*.txt'.")],
    output: Annotated[Path, typer.Argument(help="Folder of the annotated shards.")],
    model: Annotated[str, typer.Option(help="Name or folder of a pipeline.")],
    format: Annotated[str, typer.Option(help=" or ".join(FORMATS))] = "jsonl",
    text_column: Annotated[
        str, typer.Option(help="The column or field that holds the text.")
    ] = "text",
    keep: Annotated[str, typer.Option(help="Other columns to write along, by commas.")] = "",
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Leave out entities with less confidence.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="So many at a time, or of Ray.")] = 1,
    gpu_id: Annotated[int, typer.Option(help="-1 for the CPU.")] = -1,
    shard_size: Annotated[int, typer.Option(min=1, help="Records of each file.")] = 5_000,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts read together.")] = 64,
    engine: Annotated[str, typer.Option(help="local or ray")] = "local",
    ray_address: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster; none: this machine.")
    ] = None,
    ray_gpus: Annotated[float, typer.Option(min=0, help="GPUs of each of Ray's workers.")] = 0,
) -> None:
    """Find the entities in texts of .txt (a line each), .jsonl, .csv, .tsv or .parquet files.

    OUTPUT grows by whole shards, in the order of the texts; what cannot be read or annotated is
    told in OUTPUT/errors. Run again after a kill, the command goes on where it was.
    """
    if engine not in ("local", "ray"):
        raise InputError(f"There is no engine {engine}: choose local or ray.")
    job = Job(
        source=source,
        output=output,
        model=model,
        gpu_id=gpu_id,
        format=format,
        text_column=text_column,
        keep=tuple(name.strip() for name in keep.split(",") if name.strip()),
        threshold=threshold,
        shard_size=shard_size,
        batch_size=batch_size,
    )
    sources = prepare(job)
    done = finished(job)
    if done:
        msg.info(f"shards that are there already: {len(done)}")
    total, shown = Counts(), printable(output)
    with closing(Progress(sum(file.path.stat().st_size for file in sources))) as progress:
        records = read_records(
            sources, text_column=text_column, keep=job.keep, progress=progress.read
        )
        shards = split(records, shard_size, done)
        if engine == "ray":
            counts = run_ray(job, shards, processes, ray_address, ray_gpus)
        elif processes > 1:
            counts = run_processes(job, shards, processes)
        else:
            counts = run_here(job, shards)
        try:
            for shard in counts:
                total = total.plus(shard)
                progress.annotated(shard.words)
        except KeyboardInterrupt:
            progress.close()
            msg.warn(f"Stopped; {shown} keeps its shards: run the same command to go on.")
            raise typer.Exit(130) from None
    remove_unfinished(job)
    msg.good(
        f"{shown}: shards in all: {len(finished(job))}; this run {total.records:,} records, "
        f"{total.words:,} words, {total.entities:,} entities, {progress.speed:,.0f} words/s"
    )
    lists = (output / ERRORS).glob("*.jsonl")
    if failed := sum(path.read_bytes().count(b"\n") for path in lists):
        msg.warn(f"{failed:,} records could not be annotated: see {printable(output / ERRORS)}")


@app.command()
@step("serve")
def serve(
    model: Annotated[str, typer.Option(help="Name or folder of a pipeline.")],
    host: Annotated[str, typer.Option(help="Address; 0.0.0.0 for all of this machine's.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    text_chars: Annotated[
        int, typer.Option(min=1, help="Characters of a text, at most.")
    ] = 100_000,
    texts: Annotated[int, typer.Option(min=1, help="Texts of a request, at most.")] = 1_000,
    body_bytes: Annotated[int, typer.Option(min=1, help="Of a request, at most.")] = 2_000_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="To an answer, at most.")] = 30,
    waiting_chars: Annotated[
        int, typer.Option(min=1, help="Of all requests that wait, at most.")
    ] = 1_000_000,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts read together.")] = 32,
) -> None:
    """Answer requests over HTTP, and show a page to try the pipeline at /.

    If the environment holds $GMB_NER_API_KEY, requests to /v1 have to bring it. SIGTERM ends the
    service when all that it has accepted is answered.
    """
    try:
        import uvicorn

        from gmb_ner.serve.app import create_app
        from gmb_ner.serve.messages import Limits
    except ImportError as error:
        raise InputError(
            f"serve needs {error.name}, which is missing: pip install 'gmb-ner[serve]'."
        ) from error
    limits = Limits(
        text_chars=text_chars,
        texts=texts,
        body_bytes=body_bytes,
        seconds=seconds,
        waiting_chars=waiting_chars,
        batch_size=batch_size,
    )
    nlp = load_model(model)
    application = create_app(nlp, limits, os.environ.get("GMB_NER_API_KEY") or None)
    uvicorn.run(application, host=host, port=port, server_header=False, timeout_keep_alive=5)


if __name__ == "__main__":
    app()
