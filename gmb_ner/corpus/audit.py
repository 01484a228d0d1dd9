"""Account for every row of the file: kept, repaired or dropped, and why."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from gmb_ner.corpus.split import normalise
from gmb_ner.corpus.table import BLANK_ROW, EMPTY_WORD, SPACE_AROUND_TAG, Sentence, Table
from gmb_ner.corpus.tags import Repair, TagError, detect_scheme, spans, to_iob2
from gmb_ner.errors import InputError

# Labels that records and tables could not tell from what is theirs.
RESERVED = {
    "count": "their totals",
    "missed": "entities that are not found",
    "spurious": "what is found where nothing is",
}


@dataclass(frozen=True)
class RepairedTag:
    """A tag that was put right, and where it stands."""

    row: int
    sentence: str
    repair: Repair


@dataclass(frozen=True)
class Tagged:
    """The sentences of a table with well-formed IOB2 tags.

    scheme: the scheme that the file's own tags are in.
    """

    table: Table
    scheme: str
    sentences: list[Sentence]
    repaired: list[RepairedTag]


def normalise_tags(table: Table, scheme: str | None = None) -> Tagged:
    """Turn the tags of a table into IOB2, recognising their scheme where none is given.

    Raises InputError, with file and row, for tags that fit no scheme, where all tags are O and for
    labels that are `RESERVED`.
    """
    try:
        scheme = scheme or detect_scheme(sentence.tags for sentence in table.sentences)
        sentences: list[Sentence] = []
        repaired: list[RepairedTag] = []
        for sentence in table.sentences:
            tags, repairs = to_iob2(sentence.tags, scheme)
            sentences.append(sentence if tags == sentence.tags else replace(sentence, tags=tags))
            repaired.extend(RepairedTag(sentence.rows[r.index], sentence.id, r) for r in repairs)
    except TagError as error:
        row = table.row_of_tag(error.tag)
        raise error.at(f"{table.name}, row {row}" if row else table.name) from error
    except InputError as error:
        raise InputError(f"{table.name}: {error}") from error
    _check_labels(table, sentences)
    return Tagged(table, scheme, sentences, repaired)


def _check_labels(table: Table, sentences: Sequence[Sentence]) -> None:
    if all(tag == "O" for sentence in sentences for tag in sentence.tags):
        # detect_scheme says so too, but does not get to look where the scheme is given.
        raise InputError(
            f"{table.name}, row {sentences[0].row}: every tag is O, so there is nothing to learn; "
            "check the tag column (--vars.column_tag)"
        )
    for sentence in sentences:
        for label in RESERVED:
            if f"B-{label}" in sentence.tags:
                row = sentence.rows[sentence.tags.index(f"B-{label}")]
                raise InputError(
                    f"{table.name}, row {row}: the label '{label}' is what the records call "
                    f"{RESERVED[label]}; rename it"
                )


def share_changed(tagged: Tagged) -> float:
    """The share of the rows read whose word or tag was repaired or whose word was empty."""
    table = tagged.table
    changed = {repaired.row for repaired in tagged.repaired}
    changed.update(row for rows in table.repairs.values() for row in rows)
    changed.update(dropped.row for dropped in table.dropped if dropped.reason == EMPTY_WORD)
    return len(changed) / table.rows_read if table.rows_read else 0.0


def check_share(tagged: Tagged, allowed: float) -> None:
    """Raises InputError where more than the allowed share of the rows had to be changed."""
    share = share_changed(tagged)
    if share > allowed:
        kinds = Counter(repaired.repair.kind for repaired in tagged.repaired)
        kinds.update({kind: len(rows) for kind, rows in tagged.table.repairs.items()})
        kinds.update(
            dropped.reason for dropped in tagged.table.dropped if dropped.reason == EMPTY_WORD
        )
        most, count = kinds.most_common(1)[0]
        row = min(_rows_of(tagged, most))
        raise InputError(
            f"{tagged.table.name}, row {row}: {share:.2%} of the rows need repair, mostly "
            f"'{most}' ({count} rows, first here), and {allowed:.2%} are allowed; correct the "
            f"file, or allow more with --vars.max_repairs {_round_up(share)}"
        )


def audit(tagged: Tagged) -> dict[str, Any]:
    """Everything that was read, as a JSON object.

    `rows.read` is `rows.kept` plus all of `rows.dropped`. Dropped rows and repairs are listed one
    by one with row and sentence, but for blank rows between sentences, which are counted.
    """
    table = tagged.table
    lengths = [len(sentence.words) for sentence in tagged.sentences]
    entities = count_entities(tagged.sentences)
    repairs: Counter[str] = Counter(repaired.repair.kind for repaired in tagged.repaired)
    repairs.update({kind: len(rows) for kind, rows in table.repairs.items()})
    return {
        "read_as": {
            "encoding": table.encoding,
            "delimiter": table.delimiter,
            "header": table.header,
            "columns": {
                "sentence": table.columns.sentence,
                "word": table.columns.word,
                "tag": table.columns.tag,
            },
            "scheme": tagged.scheme,
            "notes": list(table.notes),
        },
        "rows": {
            "read": table.rows_read,
            "kept": table.rows_kept,
            "dropped": dict(table.dropped_by_reason()),
        },
        "repairs": dict(repairs),
        "share_changed": share_changed(tagged),
        "sentences": {
            "count": len(tagged.sentences),
            "without_entities": sum(
                not any(tag != "O" for tag in sentence.tags) for sentence in tagged.sentences
            ),
            "words_min": min(lengths),
            "words_median": median(lengths),
            "words_max": max(lengths),
            **_duplicates(tagged.sentences),
        },
        "tags": dict(
            Counter(tag for sentence in tagged.sentences for tag in sentence.tags).most_common()
        ),
        "entities": {"count": sum(entities.values()), **entities},
        "dropped": [
            {"row": dropped.row, "sentence": dropped.sentence, "reason": dropped.reason}
            for dropped in table.dropped
            if dropped.reason != BLANK_ROW
        ],
        "repaired": sorted(
            [
                {
                    "row": repaired.row,
                    "sentence": repaired.sentence,
                    "kind": repaired.repair.kind,
                    "before": repaired.repair.before,
                    "after": repaired.repair.after,
                }
                for repaired in tagged.repaired
            ]
            + _repaired_white_space(table),
            key=lambda one: one["row"],
        ),
    }


def rows_table(audited: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The rows of the account for the console: what, and how many."""
    rows = audited["rows"]
    return [
        ("rows read", f"{rows['read']:,}"),
        ("rows kept", f"{rows['kept']:,}"),
        *((f"rows dropped: {why}", f"{n:,}") for why, n in rows["dropped"].items()),
        *((f"repaired: {kind}", f"{n:,}") for kind, n in audited["repairs"].items()),
        ("sentences", f"{audited['sentences']['count']:,}"),
        ("sentences without entities", f"{audited['sentences']['without_entities']:,}"),
        ("surplus copies of sentences", f"{audited['sentences']['surplus_copies']:,}"),
        ("entities", f"{audited['entities']['count']:,}"),
    ]


def count_entities(sentences: Iterable[Sentence]) -> dict[str, int]:
    """Entities by label, the most frequent first."""
    counts = Counter(label for sentence in sentences for label, _, _ in spans(sentence.tags))
    return dict(counts.most_common())


def _duplicates(sentences: Sequence[Sentence]) -> dict[str, int | float | None]:
    """Sentences with the very same words: surplus copies, groups, groups with different tags.

    `agreement` is the strict F1 (0..1) of the entities of each group's second sentence against its
    first, None where these have none: what the annotation scores against itself. A group counts
    once, as some sentence of routine may come dozens of times.
    """
    groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for sentence in sentences:
        groups.setdefault(sentence.words, []).append(sentence.tags)
    repeated = [tags for tags in groups.values() if len(tags) > 1]
    pairs = [(set(spans(first)), set(spans(second))) for first, second, *_ in repeated]
    entities = sum(len(first) + len(second) for first, second in pairs)
    agreed = sum(len(first & second) for first, second in pairs)
    return {
        "surplus_copies": sum(len(tags) - 1 for tags in repeated),
        "repeated_groups": len(repeated),
        "repeated_groups_with_conflicting_tags": sum(len(set(tags)) > 1 for tags in repeated),
        "agreement": 2 * agreed / entities if entities else None,
        "distinct_normalised": len({normalise(sentence.words) for sentence in sentences}),
    }


def _repaired_white_space(table: Table) -> list[dict[str, Any]]:
    """Repairs of white space; the table keeps their rows, the rest is looked up.

    A row is listed once for each kind. One that was dropped after its repair has no `after`.
    """
    kinds: dict[int, list[str]] = {}
    for kind, rows in table.repairs.items():
        for row in rows:
            kinds.setdefault(row, []).append(kind)
    found = [
        {"row": dropped.row, "sentence": dropped.sentence, "kind": kind}
        for dropped in table.dropped
        for kind in kinds.get(dropped.row, ())
    ]
    for sentence in table.sentences if kinds else ():
        for row, word, tag in zip(sentence.rows, sentence.words, sentence.tags, strict=True):
            for kind in kinds.get(row, ()):
                after = tag if kind == SPACE_AROUND_TAG else word
                found.append({"row": row, "sentence": sentence.id, "kind": kind, "after": after})
    return found


def _rows_of(tagged: Tagged, kind: str) -> list[int]:
    rows = [repaired.row for repaired in tagged.repaired if repaired.repair.kind == kind]
    rows += tagged.table.repairs.get(kind, [])
    return rows + [dropped.row for dropped in tagged.table.dropped if dropped.reason == kind]


def _round_up(share: float) -> float:
    """The share in steps of a hundredth, so that the remedy can be typed."""
    return min(1.0, (int(share * 100) + 1) / 100)
