"""Write all that is known of a trained pipeline as one page, and in short as Markdown."""

from pathlib import Path
from typing import Annotated

import typer
from spacy.vocab import Vocab
from wasabi import msg

from gmb_ner.console import step
from gmb_ner.corpus.docs import annotated_sentences
from gmb_ner.evaluation.files import load_docs
from gmb_ner.evaluation.report import headline
from gmb_ner.files import read_object, write_text
from gmb_ner.pipeline.entities import register_confidence
from gmb_ner.report.report import Material, make_report, read_learning


@step("report")
def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of the converted corpus.")],
    scores: Annotated[Path, typer.Argument(help="Scores of evaluate (.json).")],
    predictions: Annotated[Path, typer.Argument(help="Predictions of evaluate (.spacy).")],
    output: Annotated[Path, typer.Argument(help="Page to write (.html).")],
    run: Annotated[Path, typer.Option(help="Record of the training.")] = Path("training/run.json"),
    learning: Annotated[Path, typer.Option(help="Results of learning-curve, if there are.")] = Path(
        "metrics/learning-curve"
    ),
) -> None:
    """Write OUTPUT, a .md of the same name beside it, and the suspected errors of the corpus."""
    converted = "make it with `spacy project run convert`"
    found = read_object(scores, "make it with `spacy project run evaluate`")
    register_confidence()
    vocab = Vocab()
    references = load_docs(corpus / "test.spacy", vocab)
    if found.get("single_sentences"):
        references = [part for doc in references for part in annotated_sentences(doc)]
    manifest = read_object(corpus / "manifest.json", converted)
    report = make_report(
        Material(
            scores=found,
            manifest=manifest,
            audit=read_object(corpus / "audit.json", converted),
            run=read_object(run, "make it with `spacy project run train`"),
            train=load_docs(corpus / "train.spacy", vocab),
            references=references,
            predictions=load_docs(predictions, vocab),
            learning=read_learning(
                learning, found["config"], found["protocol"], manifest["source"]["sha256"]
            ),
        )
    )
    write_text(output, report.html)
    write_text(output.with_suffix(".md"), report.markdown)
    write_text(output.with_name("suspects.jsonl"), report.suspects)
    msg.good(f"{headline(found)}: see {output}")


if __name__ == "__main__":
    typer.run(main)
