"""Show test documents in displaCy, gold entities beside predicted ones, errors first."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import Printer

from gmb_ner.console import step
from gmb_ner.errors import InputError
from gmb_ner.evaluation.comparison import compare_documents
from gmb_ner.evaluation.entities_page import entities_page
from gmb_ner.evaluation.evaluate import SAMPLE_NOTE
from gmb_ner.evaluation.files import (
    choose_gpu,
    load_docs,
    load_pipeline,
    read_records,
)
from gmb_ner.evaluation.report import headline
from gmb_ner.files import read_object, write_text

msg = Printer(line_max=100)


@step("visualize")
def main(
    model: Annotated[Path, typer.Argument(help="Trained pipeline")],
    docs: Annotated[Path, typer.Argument(help="Test documents (.spacy)")],
    output: Annotated[Path, typer.Argument(help="Page to write (.html)")],
    manifest: Annotated[Path | None, typer.Option(help="corpus/manifest.json")] = None,
    run: Annotated[Path | None, typer.Option(help="training/run.json")] = None,
    scores: Annotated[Path | None, typer.Option(help="Scores to repeat: metrics/test.json")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Documents to show")] = 50,
    predict: Annotated[int, typer.Option(min=1, help="Documents to choose from")] = 400,
    gpu_id: Annotated[str, typer.Option(help="-1 for the CPU; auto: the one of --run")] = "auto",
) -> None:
    """Predict on DOCS with MODEL and write OUTPUT, a page that needs no network."""
    source, trained = read_records(manifest, run)
    nlp = load_pipeline(model, choose_gpu(gpu_id, trained))
    references = load_docs(docs, nlp.vocab)
    comparisons = compare_documents(nlp, references, at_most=max(limit, predict))
    if not comparisons:
        raise InputError(f"The documents in {docs} have no entity annotation to compare with.")
    note = SAMPLE_NOTE if source.sample else ""
    named = ", ".join(part for part in (source.corpus, source.protocol) if part)
    title = "Entities, gold and predicted" + (f": {named}" if named else "")
    write_text(output, entities_page(comparisons, title=title, limit=limit, note=note))
    if note:
        msg.warn(note)
    msg.good(f"{min(limit, len(comparisons))} documents shown in {output}")
    if scores is not None:
        msg.good(headline(read_object(scores, "make it with `spacy project run evaluate`")))


if __name__ == "__main__":
    typer.run(main)
