"""Annotated records as files: JSON Lines, Parquet, spaCy's DocBin, CoNLL."""

import json
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spacy.tokens import Doc, DocBin
from spacy.util import minibatch

from gmb_ner.annotate.records import Record
from gmb_ner.errors import InputError
from gmb_ner.pipeline.entities import confidence
from gmb_ner.pipeline.scorer import copy_entities

Annotated = tuple[Record, Doc]
# The last are the columns to keep, in order, for every record: null where it has none.
Writer = Callable[[Path, Iterable[Annotated], Sequence[str]], None]

PARQUET_ROWS = 1_000  # a row group
OWN = ("file", "row", "text", "entities")  # fields of each record


def entities(doc: Doc) -> list[dict[str, Any]]:
    """The entities as dicts of start and end (characters), label, text and confidence (or None)."""
    return [
        {
            "start": ent.start_char,
            "end": ent.end_char,
            "label": ent.label_,
            "text": ent.text,
            "confidence": confidence(ent),
        }
        for ent in doc.ents
    ]


def _row(record: Record, doc: Doc, keep: Sequence[str]) -> dict[str, Any]:
    return {
        "file": record.file,
        "row": record.row,
        **_kept(record, keep),
        "text": record.text,
        "entities": entities(doc),
    }


def _kept(record: Record, keep: Sequence[str]) -> dict[str, Any]:
    # All columns, also those that files of this record's kind do not have.
    return {name: record.kept.get(name) for name in keep}


def _write_jsonl(path: Path, annotated: Iterable[Annotated], keep: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for record, doc in annotated:
            stream.write(json.dumps(_row(record, doc, keep), ensure_ascii=False) + "\n")


def _write_parquet(path: Path, annotated: Iterable[Annotated], keep: Sequence[str]) -> None:
    import pyarrow
    from pyarrow import parquet

    entity = pyarrow.struct(
        {
            "start": pyarrow.int32(),
            "end": pyarrow.int32(),
            "label": pyarrow.string(),
            "text": pyarrow.string(),
            "confidence": pyarrow.float64(),
        }
    )
    base = {"file": pyarrow.string(), "row": pyarrow.int64()}
    rest = {"text": pyarrow.string(), "entities": pyarrow.list_(entity)}
    # Kept columns become text: what a shard happens to hold must not decide the type.
    schema = pyarrow.schema({**base, **dict.fromkeys(keep, pyarrow.string()), **rest})
    rows = (
        _row(record, doc, keep)
        | {name: _as_text(value) for name, value in _kept(record, keep).items()}
        for record, doc in annotated
    )
    # pyarrow opens no path that is not UTF-8.
    with path.open("wb") as stream, parquet.ParquetWriter(stream, schema) as writer:
        for some in minibatch(rows, PARQUET_ROWS):
            writer.write_table(pyarrow.Table.from_pylist(some, schema=schema))


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _write_spacy(path: Path, annotated: Iterable[Annotated], keep: Sequence[str]) -> None:
    docs = DocBin(attrs=["ORTH", "SPACY", "ENT_IOB", "ENT_TYPE"], store_user_data=True)
    for record, doc in annotated:
        # Pipelines may leave in it what is large, as doc._.trf_data, or cannot be written.
        copy = copy_entities(doc)
        copy.user_data = {"file": record.file, "row": record.row, "kept": _kept(record, keep)}
        docs.add(copy)
    docs.to_disk(path)


def _write_conll(path: Path, annotated: Iterable[Annotated], keep: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for record, doc in annotated:
            stream.write(f"# {record.file}:{record.row}\n")
            for token in doc:
                tag = f"{token.ent_iob_}-{token.ent_type_}" if token.ent_type_ else "O"
                # A token of white space would look like the end of the document.
                stream.write(f"{''.join(token.text.split()) or '_'}\t{tag}\n")
            stream.write("\n")


FORMATS: dict[str, tuple[str, Writer]] = {
    "jsonl": (".jsonl", _write_jsonl),
    "parquet": (".parquet", _write_parquet),
    "spacy": (".spacy", _write_spacy),
    "conll": (".conll", _write_conll),
}


def check_format(name: str) -> None:
    """Raise InputError for a format that there is not, or one whose library is missing."""
    if name not in FORMATS:
        raise InputError(f"There is no format {name}: choose from {', '.join(FORMATS)}.")
    if name == "parquet" and find_spec("pyarrow") is None:
        raise InputError("The format parquet needs pyarrow: pip install pyarrow.")


def check_keep(keep: Sequence[str]) -> None:
    """Raise InputError for columns that the output cannot have beside its own."""
    if own := [name for name in keep if name in OWN]:
        raise InputError(
            f"{', '.join(own)} cannot be kept, as each record has a field of that name already: "
            "leave it out of --keep, or rename that column of the input."
        )
