"""Package a trained pipeline as a wheel, with its scores, sources and requirements."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from gmb_ner.console import step
from gmb_ner.deploy.card import SAMPLE_WARNING
from gmb_ner.deploy.package import package

ROOT = Path(__file__).resolve().parent.parent


@step("package")
def main(
    model: Annotated[Path, typer.Argument(help="Trained pipeline")],
    output: Annotated[Path, typer.Argument(help="Folder of wheels to write to")],
    manifest: Annotated[Path, typer.Option(help="What was converted")] = Path(
        "corpus/manifest.json"
    ),
    run: Annotated[Path, typer.Option(help="How it was trained")] = Path("training/run.json"),
    scores: Annotated[Path, typer.Option(help="Test scores")] = Path("metrics/test.json"),
    fetched: Annotated[Path, typer.Option(help="Where the data come from")] = Path(
        "assets/corpus.json"
    ),
    meta: Annotated[Path, typer.Option(help="Template of meta.json")] = Path("metas/meta.json"),
    name: Annotated[
        str, typer.Option(help="Middle of the package's name, as in ner_news; auto: by the corpus")
    ] = "auto",
    version: Annotated[str, typer.Option(help="Version of the package")] = "0.1.0",
) -> None:
    """Make OUTPUT hold a wheel of MODEL and one of gmb-ner, ready for pip."""
    packaged = package(
        model,
        output,
        manifest=manifest,
        run=run,
        scores=scores,
        fetched=fetched,
        meta=meta,
        project=ROOT,
        name=name,
        version=version,
        note=msg.info,
    )
    if packaged.sample:
        msg.warn(SAMPLE_WARNING)
    msg.good(f"{packaged.wheel}", f"with {packaged.library.name}")
    msg.text(f"pip install --find-links {output} {packaged.name}")


if __name__ == "__main__":
    typer.run(main)
