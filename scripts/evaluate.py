"""Score a trained pipeline on a test set, on gold tokens and from raw text."""

from pathlib import Path
from typing import Annotated

import typer
from spacy.tokens import Doc
from wasabi import Printer

from gmb_ner.console import step
from gmb_ner.corpus.docs import write_docbin
from gmb_ner.evaluation.evaluate import SAMPLE_NOTE, evaluate
from gmb_ner.evaluation.files import (
    choose_gpu,
    load_docs,
    load_pipeline,
    read_records,
)
from gmb_ner.evaluation.report import (
    calibration_text,
    caution,
    confusion_text,
    error_kinds_text,
    headline,
    summary,
)
from gmb_ner.files import atomic_path, write_json
from gmb_ner.training.hardware import choose_device

msg = Printer(line_max=100)


@step("evaluate")
def main(
    model: Annotated[Path, typer.Argument(help="Trained pipeline")],
    docs: Annotated[Path, typer.Argument(help="Test documents (.spacy)")],
    output: Annotated[Path, typer.Argument(help="Scores to write (.json)")],
    manifest: Annotated[Path | None, typer.Option(help="corpus/manifest.json")] = None,
    run: Annotated[Path | None, typer.Option(help="training/run.json")] = None,
    gpu_id: Annotated[str, typer.Option(help="-1 for the CPU; auto: the one of --run")] = "auto",
    label_map: Annotated[
        str | None, typer.Option(help="identity, onto or conll: rename gold and prediction")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Of the pipeline's config: components.ner.threshold=0.9"),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Documents a batch")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Documents with the predictions, on gold tokens (.spacy)")
    ] = None,
) -> None:
    """Score MODEL's entities on DOCS, show the reports and write the scores to OUTPUT."""
    source, trained = read_records(manifest, run)
    if source.sample:
        msg.warn(SAMPLE_NOTE)
    gpu = choose_gpu(gpu_id, trained)
    nlp = load_pipeline(model, gpu, settings or ())
    predicted: list[Doc] = []
    result = evaluate(
        nlp,
        load_docs(docs, nlp.vocab),
        corpus=source.corpus,
        protocol=source.protocol,
        config=trained.config,
        seed=trained.seed,
        device=choose_device(str(gpu))[0].name,
        label_map=label_map,
        batch_size=batch_size,
        progress=True,
        predicted=predicted,
    )
    msg.divider("By label: seqeval, strict, IOB2, gold tokens")
    print(result["classification_report"])
    msg.divider("Confusion: gold label by predicted label, same or overlapping boundaries")
    print(confusion_text(result["confusion"]), end="\n\n")
    print(error_kinds_text(result["error_kinds"]), end="\n\n")
    if result["calibration"]:
        msg.divider("Confidences: calibration, gold tokens")
        print(calibration_text(result["calibration"]), end="\n\n")
    print(summary(result), end="\n\n")
    if predictions is not None:
        with atomic_path(predictions) as part:
            write_docbin(predicted, part)
    write_json(output, result)
    msg.info(f"Scores written to {output}")
    if source.sample:
        msg.warn(SAMPLE_NOTE)
    if little := caution(result):
        msg.warn(little)
    msg.good(headline(result))


if __name__ == "__main__":
    typer.run(main)
