"""Annotated records as files: JSON Lines, Parquet, spaCy's DocBin, CoNLL."""

import json
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spacy.tokens import Doc, DocBin

from gmb_ner.annotate.records import Record
from gmb_ner.errors import InputError
from gmb_ner.pipeline.scorer import CONFIDENCES

Annotated = tuple[Record, Doc]
Writer = Callable[[Path, Iterable[Annotated]], None]

PARQUET_ROWS = 1_000  # a row group


def entities(doc: Doc) -> list[dict[str, Any]]:
    """The entities as dicts of start and end (characters), label, text and confidence (or None)."""
    group = doc.spans.get(CONFIDENCES)
    scores = group.attrs.get("scores", []) if group is not None else []
    confidences = {
        (span.start, span.end, span.label): float(score)
        for span, score in zip(group or [], scores, strict=False)
    }
    return [
        {
            "start": ent.start_char,
            "end": ent.end_char,
            "label": ent.label_,
            "text": ent.text,
            "confidence": confidences.get((ent.start, ent.end, ent.label)),
        }
        for ent in doc.ents
    ]


def _row(record: Record, doc: Doc) -> dict[str, Any]:
    return {
        "file": record.file,
        "row": record.row,
        **record.kept,
        "text": record.text,
        "entities": entities(doc),
    }


def _write_jsonl(path: Path, annotated: Iterable[Annotated]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for record, doc in annotated:
            stream.write(json.dumps(_row(record, doc), ensure_ascii=False) + "\n")


def _write_parquet(path: Path, annotated: Iterable[Annotated]) -> None:
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
    rows: list[dict[str, Any]] = []
    writer = None

    def flush() -> None:
        nonlocal writer
        if writer is None:
            kept = dict.fromkeys(
                [key for key in (rows[0] if rows else {}) if key not in base | rest]
            )
            schema = pyarrow.schema({**base, **dict.fromkeys(kept, pyarrow.string()), **rest})
            writer = parquet.ParquetWriter(path, schema)
        writer.write_table(pyarrow.Table.from_pylist(rows, schema=writer.schema))
        rows.clear()

    for record, doc in annotated:
        row = _row(record, doc)
        rows.append(row | {key: _as_text(value) for key, value in record.kept.items()})
        if len(rows) == PARQUET_ROWS:
            flush()
    if rows or writer is None:
        flush()
    writer.close()  # type: ignore[union-attr]


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _write_spacy(path: Path, annotated: Iterable[Annotated]) -> None:
    docs = DocBin(attrs=["ORTH", "SPACY", "ENT_IOB", "ENT_TYPE"], store_user_data=True)
    for record, doc in annotated:
        doc.user_data |= {"file": record.file, "row": record.row, "kept": record.kept}
        docs.add(doc)
    docs.to_disk(path)


def _write_conll(path: Path, annotated: Iterable[Annotated]) -> None:
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
