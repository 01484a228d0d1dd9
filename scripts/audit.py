"""Read the converted corpus back, recount it and hold it to its records."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from gmb_ner.console import step
from gmb_ner.corpus.check import check_corpus
from gmb_ner.files import write_json


@step("audit")
def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of the converted corpus.")],
    output: Annotated[Path, typer.Argument(help="JSON file for the figures.")],
) -> None:
    """Check CORPUS and write the recounted figures to OUTPUT."""
    checked = check_corpus(corpus)
    write_json(output, checked)
    if checked["sample"]:
        msg.warn("SAMPLE: this is the small built-in sample, not the corpus.")
    parts = checked["parts"]
    msg.table(
        [
            (part, f"{about['sentences']:,}", f"{about['words']:,}",
             f"{sum(about['entities'].values()):,}")
            for part, about in parts.items()
        ],
        header=("part", "sentences", "words", "entities"),
        aligns=("l", "r", "r", "r"),
        divider=True,
    )  # fmt: skip
    leaked = checked["test_sentences_also_in_train_or_dev"]
    msg.info(f"Test sentences with the text of one in train or dev: {leaked}")
    msg.good(f"The Docs of {checked['corpus']} ({checked['protocol']}) hold to their records.")


if __name__ == "__main__":
    typer.run(main)
