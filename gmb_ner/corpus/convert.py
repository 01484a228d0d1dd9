"""A CSV of tagged words becomes `corpus/`: three DocBins, a manifest and an audit."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import spacy
from tqdm import tqdm

from gmb_ner.corpus import gmb, split
from gmb_ner.corpus.alignment import Alignment, measure_alignment
from gmb_ner.corpus.audit import Tagged, audit, check_share, count_entities, normalise_tags
from gmb_ner.corpus.docs import blocks, part_docs, write_docbin
from gmb_ner.corpus.table import Columns, Sentence, read_table
from gmb_ner.errors import InputError
from gmb_ner.files import file_digest, read_object, work_folder, write_json, write_text

MANIFEST, AUDIT, MISALIGNED = "manifest.json", "audit.json", "misaligned.jsonl"


@dataclass(frozen=True)
class Options:
    """How a file is read and split.

    columns, encoding, delimiter, scheme: of the file; recognised where None.
    protocol: "canonical", "contiguous" or such as "fold-1-of-5", see `gmb_ner.corpus.split`.
    sentences_per_doc: so many consecutive sentences share a Doc.
    dev_share: share of the Docs whose sentences outside test are dev (not of contiguous).
    max_repairs: share of the rows that may need repair before the file is refused.
    """

    columns: Columns = field(default_factory=Columns)
    encoding: str | None = None
    delimiter: str | None = None
    scheme: str | None = None
    protocol: str = "canonical"
    sentences_per_doc: int = 5
    dev_share: float = 0.05
    max_repairs: float = 0.01

    def check(self) -> None:
        """Raises InputError for an option that cannot be meant."""
        if self.protocol not in split.PROTOCOLS and not split.fold_of(self.protocol):
            raise InputError(
                f"There is no protocol {self.protocol}; give one of {', '.join(split.PROTOCOLS)}, "
                "or such as fold-1-of-5."
            )
        if self.sentences_per_doc < 1:
            raise InputError(
                f"--vars.sentences_per_doc is {self.sentences_per_doc}; a Doc holds at least one."
            )
        if not 0 < self.dev_share < 1:
            raise InputError(f"--dev-share is {self.dev_share}; give a share between 0 and 1.")
        if not 0 <= self.max_repairs <= 1:
            raise InputError(f"--vars.max_repairs is {self.max_repairs}; give a share from 0 to 1.")


@dataclass(frozen=True)
class Converted:
    """What a conversion found: both records as they were written."""

    manifest: dict[str, Any]
    audit: dict[str, Any]


def convert(
    csv: Path, record: Path, out: Path, options: Options, *, progress: bool = False
) -> Converted:
    """Convert a file into `out`, whole or not at all.

    csv: the file; record: what `fetch` wrote about it (corpus, sample, sha256, source, licence).
    out: gets train.spacy, dev.spacy, test.spacy, manifest.json, audit.json and misaligned.jsonl.
    progress: show a progress bar on terminals.
    Raises InputError for a file that cannot be used; nothing in `out` changes then.
    """
    options.check()
    about = _read_record(record, csv)
    with tqdm(total=5, desc="read", leave=False, disable=None if progress else True) as bar:

        def step(title: str) -> None:
            bar.update()
            bar.set_description(title)

        table = read_table(
            csv,
            options.columns,
            options.encoding,
            options.delimiter,
            # The user knows and corrects the file that was fetched, not the copy.
            name=about["file"],
        )
        step("tags")
        tagged = normalise_tags(table, options.scheme)
        check_share(tagged, options.max_repairs)
        audited = audit(tagged)
        if about["corpus"] == "gmb":
            gmb.check_table(table.rows_read, len(tagged.sentences), audited["tags"])
        step("split")
        parts, texts = _split(tagged, options)
        leaked = split.leaked(texts, parts)
        _check_parts(tagged, parts, leaked, about, options)
        step("align")
        alignment = measure_alignment(spacy.blank("en"), tagged.sentences)
        audited["alignment"] = _alignment_record(alignment)
        audited["test_sentences_also_in_train_or_dev"] = len(leaked)
        step("write")
        with work_folder(out / MANIFEST) as work:
            described = _write_parts(work, tagged.sentences, parts, options, bar.set_description)
            manifest = {
                "corpus": about["corpus"],
                "sample": about["sample"],
                "source": {key: about.get(key) for key in ("file", "sha256", "bytes", "origin")},
                "protocol": options.protocol,
                "sentences_per_doc": options.sentences_per_doc,
                "dev_share": options.dev_share if options.protocol != "contiguous" else None,
                "labels": sorted(label for label in audited["entities"] if label != "count"),
                "sentences": len(tagged.sentences),
                "sentences_left_out": parts.count(split.LEFT_OUT),
                "test_sentences_also_in_train_or_dev": len(leaked),
                "parts": described,
            }
            if about["sample"]:
                manifest["note"] = "SAMPLE: the small built-in sample, not the corpus"
            write_json(work / MANIFEST, manifest)
            write_json(work / AUDIT, audited)
            write_text(
                work / MISALIGNED,
                "".join(
                    json.dumps(entity.as_dict(), ensure_ascii=False) + "\n"
                    for entity in alignment.misaligned
                ),
            )
            # The manifest goes first and comes last: where it stands, the rest belongs to it.
            (out / MANIFEST).unlink(missing_ok=True)
            for path in sorted(work.iterdir(), key=lambda path: path.name == MANIFEST):
                path.replace(out / path.name)
        step("done")
    return Converted(manifest, audited)


def _read_record(record: Path, csv: Path) -> dict[str, Any]:
    """The record of `fetch`, which must be about these very bytes."""
    if not csv.is_file():
        raise InputError(f"There is no file {csv}: bring it with `spacy project run fetch`.")
    remedy = "make it with `spacy project run fetch`"
    about = read_object(record, remedy)
    for key in ("corpus", "sample", "file"):
        if key not in about:
            raise InputError(f"{record} does not tell the {key}; {remedy}.")
    if about.get("sha256") != file_digest(csv):
        raise InputError(
            f"{csv} is not the file that {record} describes: run `spacy project run fetch` again."
        )
    return about


def _split(tagged: Tagged, options: Options) -> tuple[list[str], list[str]]:
    """The part and the normalised text of each sentence."""
    texts = [split.normalise(sentence.words) for sentence in tagged.sentences]
    needed = split.MIN_SENTENCES
    if options.protocol == "canonical":
        needed = max(needed, 2 * options.sentences_per_doc)  # a Doc each for train and dev
    if len(texts) < needed:
        raise InputError(
            f"{tagged.table.name}: {len(texts)} sentences are too few to split; give at least "
            f"{needed}, or name the column that tells sentences apart with --vars.column_sentence"
        )
    if options.protocol == "contiguous":
        return split.contiguous(texts), texts
    ids = [sentence.id for sentence in tagged.sentences]
    groups = blocks(len(ids), options.sentences_per_doc)
    if found := split.fold_of(options.protocol):
        return split.fold(texts, groups, *found, options.dev_share), texts
    return split.canonical(ids, groups, options.dev_share), texts


def _check_parts(
    tagged: Tagged,
    parts: Sequence[str],
    leaked: Sequence[int],
    about: dict[str, Any],
    options: Options,
) -> None:
    """A split that cannot be trained, tuned and tested on, or that leaks, ends the run."""
    path = tagged.table.name
    for part in split.PARTS:
        chosen = [s for s, p in zip(tagged.sentences, parts, strict=True) if p == part]
        if not count_entities(chosen):
            raise InputError(
                f"{path}: the {part} part ({len(chosen)} sentences) holds no entity; give more "
                "sentences"
            )
        if part == split.TEST and about["corpus"] == "gmb" and options.protocol == "canonical":
            gmb.check_canonical_test(len(chosen), count_entities(chosen))
    if options.protocol != "canonical" and leaked:
        first = tagged.sentences[leaked[0]]
        raise InputError(
            f"{path}, row {first.row}: the text of test sentence '{first.id}' is trained on; "
            "this is a mistake in the split, please report it"
        )


def _write_parts(
    work: Path,
    sentences: Sequence[Sentence],
    parts: Sequence[str],
    options: Options,
    say: Callable[[str], None],
) -> dict[str, Any]:
    vocab = spacy.blank("en").vocab
    described = {}
    for part in split.PARTS:
        say(f"write {part}")
        docs = part_docs(vocab, sentences, parts, part, options.sentences_per_doc)
        written = write_docbin(docs, work / f"{part}.spacy")
        own = [s for s, p in zip(sentences, parts, strict=True) if p == part]
        entities = count_entities(own)
        described[part] = {
            "docs": written,
            "sentences": len(own),
            "words": sum(len(sentence.words) for sentence in own),
            "entities": {"count": sum(entities.values()), **entities},
            "sha256": file_digest(work / f"{part}.spacy"),
            "ids_sha256": hashlib.sha256("\n".join(s.id for s in own).encode()).hexdigest(),
        }
    return described


def _alignment_record(alignment: Alignment) -> dict[str, Any]:
    return {
        "entities": alignment.entities,
        "misaligned": len(alignment.misaligned),
        "share_aligned": alignment.share,
    }
