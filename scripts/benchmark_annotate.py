"""Annotate many texts while the job is killed, and look whether all are there, once, in order."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import spacy
import typer
from wasabi import msg

from gmb_ner.benchmark.endurance import annotate_with_kills, write_texts
from gmb_ner.console import step
from gmb_ner.evaluation.files import load_docs


@step("benchmark annotate")
def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of the converted corpus.")],
    model: Annotated[str, typer.Argument(help="Name or folder of a pipeline.")],
    documents: Annotated[int, typer.Option(min=1, help="Sentences, repeated.")] = 200_000,
    kills: Annotated[int, typer.Option(min=0, help="By SIGKILL.")] = 5,
    every: Annotated[float, typer.Option(min=0, help="Seconds between them, about.")] = 45,
    options: Annotated[str, typer.Option(help="Further ones of the command.")] = "",
) -> None:
    """Print how many documents and words, in which time, and the memory of the largest process."""
    docs = load_docs(corpus / "test.spacy", spacy.blank("en").vocab)
    with TemporaryDirectory() as folder:
        texts, output = Path(folder) / "texts.jsonl", Path(folder) / "annotated"
        write_texts(docs, documents, texts)
        result = annotate_with_kills(
            texts, output, model, kills=kills, every=every, options=options.split()
        )
        size = sum(path.stat().st_size for path in output.glob("part-*"))
        shutil.rmtree(output)
    msg.good(
        f"{result.documents:,} documents, {result.words:,} words, complete and in order after "
        f"{result.kills} kills, {size / 1e6:,.0f} MB written, {result.seconds:,.0f} s in all, "
        f"{result.words / result.seconds:,.0f} words/s, {result.peak / 1e9:.2f} GB at most"
    )


if __name__ == "__main__":
    typer.run(main)
