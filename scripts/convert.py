"""Convert the fetched CSV into train, dev and test Docs."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from gmb_ner.console import step
from gmb_ner.corpus.audit import rows_table
from gmb_ner.corpus.convert import Options, convert
from gmb_ner.corpus.split import PARTS
from gmb_ner.corpus.table import Columns


@step("convert")
def main(
    csv: Annotated[Path, typer.Argument(help="The fetched file.")],
    record: Annotated[Path, typer.Argument(help="What fetch wrote about it.")],
    out: Annotated[Path, typer.Argument(help="Folder of the converted corpus.")],
    protocol: Annotated[
        str, typer.Option(help="canonical, contiguous or fold-1-of-5.")
    ] = "canonical",
    sentences_per_doc: Annotated[int, typer.Option(help="Consecutive sentences a Doc.")] = 5,
    dev_share: Annotated[float, typer.Option(help="Share of the Docs that is dev.")] = 0.05,
    column_sentence: Annotated[str, typer.Option(help="Column of the sentence id.")] = "",
    column_word: Annotated[str, typer.Option(help="Column of the word.")] = "",
    column_tag: Annotated[str, typer.Option(help="Column of the tag.")] = "",
    encoding: Annotated[str, typer.Option(help="Encoding of the file.")] = "",
    delimiter: Annotated[str, typer.Option(help="Delimiter: a character or its name.")] = "",
    scheme: Annotated[str, typer.Option(help="iob2, iob1, bioes or bare.")] = "",
    max_repairs: Annotated[float, typer.Option(help="Share of rows that may need repair.")] = 0.01,
) -> None:
    """Convert CSV into OUT. Empty options are recognised from the file."""
    options = Options(
        columns=Columns(column_sentence or None, column_word or None, column_tag or None),
        encoding=encoding or None,
        delimiter=delimiter or None,
        scheme=scheme or None,
        protocol=protocol,
        sentences_per_doc=sentences_per_doc,
        dev_share=dev_share,
        max_repairs=max_repairs,
    )
    converted = convert(csv, record, out, options, progress=True)
    manifest, audited = converted.manifest, converted.audit
    if manifest["sample"]:
        msg.warn("SAMPLE: this is the small built-in sample, not the corpus.")
    read_as = audited["read_as"]
    msg.info(f"Read as {read_as['encoding']}, delimiter {read_as['delimiter']!r}, "
             f"tags {read_as['scheme']}.")  # fmt: skip
    for note in read_as["notes"]:
        msg.info(note)
    msg.table(rows_table(audited), aligns=("l", "r"))
    labels = manifest["labels"]
    msg.table(
        [
            (part, f"{about['docs']:,}", f"{about['sentences']:,}",
             *(f"{about['entities'].get(label, 0):,}" for label in labels))
            for part, about in ((part, manifest["parts"][part]) for part in PARTS)
        ],
        header=("part", "docs", "sentences", *labels),
        aligns=("l", *"r" * (2 + len(labels))),
        divider=True,
    )  # fmt: skip
    for part, what in (("train", "learned"), ("test", "scored")):
        found = manifest["parts"][part]["entities"]
        if lacking := [label for label in labels if not found.get(label)]:
            msg.warn(f"Not in {part}, so that it cannot be {what}: {', '.join(lacking)}. Is it a "
                     "slip of the pen?")  # fmt: skip
    align = audited["alignment"]
    msg.info(f"{align['share_aligned']:.3%} of {align['entities']:,} entities begin and end at "
             f"spaCy's own tokens; the other {align['misaligned']} are in "
             f"{out / 'misaligned.jsonl'}.")  # fmt: skip
    msg.info(f"{manifest['test_sentences_also_in_train_or_dev']} test sentences have the text of "
             "one in train or dev.")  # fmt: skip
    msg.good(f"{manifest['corpus']} ({protocol}) is in {out}")


if __name__ == "__main__":
    typer.run(main)
