"""Export a trained pipeline to ONNX, to be run without torch."""

from pathlib import Path
from typing import Annotated

import typer
from spacy.vocab import Vocab
from wasabi import msg

from gmb_ner.console import step
from gmb_ner.deploy.export import export
from gmb_ner.evaluation.files import load_docs


@step("export")
def main(
    trained: Annotated[Path, typer.Argument(help="Trained pipeline")],
    output: Annotated[Path, typer.Argument(help="Folder to write the exported pipeline to")],
    precision: Annotated[str, typer.Option(help="int8, or fp32 (as exact as torch)")] = "int8",
    texts: Annotated[
        Path | None,
        typer.Option(help="A .spacy file whose texts tell the ranges of int8; built-in ones else"),
    ] = None,
) -> None:
    """Write OUTPUT, a pipeline that finds what TRAINED finds, by onnxruntime."""
    docs = [] if texts is None else load_docs(texts, Vocab())
    export(trained, output, precision=precision, texts=docs)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    msg.good(f"{output} ({precision}, {size / 1e6:.0f} MB)")
    msg.text(
        f'Use it: pip install --find-links packages "gmb-ner[onnx]", then spacy.load("{output}")'
    )


if __name__ == "__main__":
    typer.run(main)
