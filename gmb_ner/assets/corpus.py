"""Find the corpus, verify it, and lay it down as `assets/corpus.csv` beside its record.

The pinned file is looked for here first and then at its public addresses. A file that is found but
is another one fails the run; only if no place has any file is the built-in sample used.
"""

import json
import os
import re
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path

from gmb_ner.assets.archive import extract_member, find_table
from gmb_ner.assets.download import UnreachableError, copy_verified, download
from gmb_ner.assets.pins import (
    ADDRESSES,
    CSV_NAME,
    KAGGLE,
    MAX_ZIP_BYTES,
    MEMBERS,
    PIN,
    PINNED_BYTES,
    TERMS,
    ZIP_NAME,
)
from gmb_ner.errors import InputError
from gmb_ner.files import atomic_path, file_digest, work_folder

VARIABLE = "GMB_NER_CORPUS"
MAX_OWN_BYTES = 4_000_000_000  # of a user's unpacked CSV: enough for any, too little for a bomb


@dataclass(frozen=True)
class FetchedCorpus:
    """The corpus as it lies in assets/.

    path (Path): The CSV.
    kind (str): "gmb", "sample" or "csv" (the user's own).
    corpus (str): Its name: "gmb", "sample", or made from the name of the user's file.
    sample (bool): Whether it is only the built-in sample.
    sha256 (str): Of the CSV.
    origin (str): The place it comes from, without a path of this machine.
    written (bool): Whether anything was written; False if the same content was there already.
    tried (Tuple[str, ...]): Why each place before the sample gave nothing.
    """

    path: Path
    kind: str
    corpus: str
    sample: bool
    sha256: str
    origin: str
    written: bool = True
    tried: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    """What a search laid into the work folder."""

    kind: str
    corpus: str
    file: str
    origin: str
    tried: tuple[str, ...] = ()


def fetch_corpus(
    assets_dir: Path,
    csv: str | None = None,
    *,
    project_dir: Path = Path(),
    require: bool = False,
    offline: bool = False,
    progress: bool = True,
) -> FetchedCorpus:
    """Write `assets_dir/corpus.csv` and `assets_dir/corpus.json`, unless they are there already.

    assets_dir (Path): The project's folder of fetched files.
    csv (Optional[str]): A CSV (or a zip with one) of the user's own, taken as it is. Without it
        these are asked in turn: assets_dir, $GMB_NER_CORPUS, ../shared/corpus, the public
        addresses, the built-in sample.
    project_dir (Path): The project's root, which holds corpus/sample.csv.
    require (bool): Fail where otherwise the sample would be used.
    offline (bool): Ask no network.
    progress (bool): Show a progress bar while downloading.
    RETURNS (FetchedCorpus): What was found, and where.
    RAISES: ChecksumError if a place holds another file under the corpus' name; InputError if a
        place named by the user is wrong, or if nothing can be had.
    """
    sample = project_dir / "corpus" / "sample.csv"
    with work_folder(assets_dir / "corpus.csv") as work:
        staged = work / "corpus.csv"
        if csv:
            found = _take_own(Path(csv).expanduser(), staged, sample)
        else:
            pinned = _take_pinned(assets_dir, project_dir, staged, offline, progress)
            if isinstance(pinned, _Found):
                found = pinned
            else:
                found = _take_sample(sample, staged, require, pinned)
        return _lay_down(assets_dir, staged, found)


def sample_warning(fetched: FetchedCorpus) -> tuple[str, list[str]]:
    """RETURNS (Tuple[str, List[str]]): A title and the lines below it: what was tried, and what
    to do so that the next run finds the corpus.
    """
    title = "SAMPLE: this is the small built-in sample, NOT the corpus"
    lines = ["What is trained on it shows that everything works, and nothing else."]
    if not fetched.tried:
        return title, [*lines, "It was asked for by name."]
    lines += ["Tried:", *(f"  - {reason}" for reason in fetched.tried)]
    lines += ["To get the corpus, do one of these and run again:"]
    lines += [f"  - {remedy}" for remedy in _remedies()]
    return title, lines


def _remedies() -> tuple[str, ...]:
    return (
        f"set {VARIABLE} to {ZIP_NAME}, to {CSV_NAME}, or to the folder that holds one of them",
        f"put {ZIP_NAME} or {CSV_NAME} into assets/",
        f"download it from the Kaggle page {KAGGLE} and do either of the two",
        "connect this machine to the network",
    )


def _take_pinned(
    assets_dir: Path, project_dir: Path, staged: Path, offline: bool, progress: bool
) -> _Found | list[str]:
    """The pinned corpus from the first place that has it; RETURNS the reasons if none has."""
    for name in (CSV_NAME, ZIP_NAME):
        if (assets_dir / name).exists():
            _stage_pinned(assets_dir / name, staged, f"{assets_dir.name}/{name}")
            return _Found("gmb", "gmb", CSV_NAME, f"assets/{name}")
    laid = assets_dir / "corpus.csv"
    if laid.is_file() and file_digest(laid) == PIN.hexdigest:
        # Fetched before: it stays although the place that it came from may be gone by now.
        copy_verified(laid, staged, PIN)
        return _Found("gmb", "gmb", CSV_NAME, "assets/corpus.csv")
    tried = [f"{assets_dir}: neither {CSV_NAME} nor {ZIP_NAME} is there"]

    if named := os.environ.get(VARIABLE):
        path = _resolve_variable(Path(named).expanduser())
        _stage_pinned(path, staged, f"{path} (from ${VARIABLE})")
        return _Found("gmb", "gmb", CSV_NAME, f"${VARIABLE} ({path.name})")
    tried.append(f"${VARIABLE}: not set")

    shared = Path("..", "shared", "corpus", ZIP_NAME)
    if (project_dir / shared).is_file():
        _stage_pinned(project_dir / shared, staged, shared.as_posix())
        return _Found("gmb", "gmb", CSV_NAME, shared.as_posix())
    tried.append(f"{shared.as_posix()}: not there")

    for address in ADDRESSES:
        if offline:
            tried.append(f"{address.url}: not asked (--offline)")
            continue
        archive = staged.parent / ZIP_NAME
        try:
            download(
                address.url,
                archive,
                address.checksum,
                max_bytes=MAX_ZIP_BYTES,
                progress=progress,
            )
        except UnreachableError as error:
            tried.append(str(error))
            continue
        _stage_pinned(archive, staged, address.url)
        # Kept, so that a user's own CSV in between does not cost a second download.
        copy_verified(archive, assets_dir / ZIP_NAME, address.checksum)
        return _Found("gmb", "gmb", CSV_NAME, address.url)
    return tried


def _resolve_variable(path: Path) -> Path:
    """The file that $GMB_NER_CORPUS means. Set but wrong is an error, or a typo trains a sample."""
    if path.is_dir():
        for name in (CSV_NAME, ZIP_NAME):
            if (path / name).is_file():
                return path / name
        raise InputError(
            f"The folder {path}, named by ${VARIABLE}, holds neither {CSV_NAME} nor {ZIP_NAME}: "
            "put one there, or correct or unset the variable."
        )
    if not path.is_file():
        raise InputError(
            f"{path}, named by ${VARIABLE}, does not exist: correct or unset the variable."
        )
    return path


def _stage_pinned(source: Path, staged: Path, name: str) -> None:
    if zipfile.is_zipfile(source):
        member = find_table(source, MEMBERS, name)
        extract_member(source, member, staged, PIN, max_bytes=PINNED_BYTES, name=name)
    else:
        copy_verified(source, staged, PIN, name)


def _take_own(path: Path, staged: Path, sample: Path) -> _Found:
    """The user's file, as it is. What it is called never makes it the corpus; its bytes may."""
    if not path.is_file():
        raise InputError(
            f"{path} does not exist: give the path of a CSV file or of a zip with one."
        )
    if zipfile.is_zipfile(path):
        member = find_table(path, None)
        extract_member(path, member, staged, None, max_bytes=MAX_OWN_BYTES)
    elif path.suffix.lower() == ".zip":
        raise InputError(f"{path} is not a readable zip archive: replace it or give the CSV.")
    else:
        copy_verified(path, staged, None)
    digest = file_digest(staged)
    if digest == PIN.hexdigest:
        return _Found("gmb", "gmb", path.name, f"the user's file {path.name}")
    if sample.is_file() and digest == file_digest(sample):
        return _Found("sample", "sample", path.name, "corpus/sample.csv")
    return _Found("csv", _slug(path), path.name, f"the user's file {path.name}")


def _take_sample(sample: Path, staged: Path, require: bool, tried: list[str]) -> _Found:
    if require or not sample.is_file():
        lacking = "" if require else f", and the built-in sample {sample} is missing"
        raise InputError(
            f"The corpus cannot be had{lacking} (tried: {'; '.join(tried)}): "
            f"{'; or '.join(_remedies())}."
        )
    copy_verified(sample, staged, None)
    return _Found("sample", "sample", sample.name, "corpus/sample.csv", tuple(tried))


def _slug(path: Path) -> str:
    """A name for models and reports, from the name of the user's file."""
    plain = unicodedata.normalize("NFKD", path.stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
    if not slug or slug in {"gmb", "sample"}:
        raise InputError(
            f"{path} cannot give its corpus a name ('{slug}' is empty or taken): rename the file."
        )
    return slug


def _lay_down(assets_dir: Path, staged: Path, found: _Found) -> FetchedCorpus:
    """Write the pair of files, or leave it alone where it says the same already."""
    target, record_path = assets_dir / "corpus.csv", assets_dir / "corpus.json"
    sha256 = file_digest(staged)
    record = {
        "corpus": found.corpus,
        "sample": found.kind == "sample",
        "file": found.file,
        "sha256": sha256,
        "bytes": staged.stat().st_size,
        "origin": found.origin,
        **TERMS[found.kind],
    }
    earlier = _read_record(record_path)
    # Where it came from this time is no reason to convert and train again.
    same = {**earlier, "origin": found.origin, "file": found.file} == record
    written = not (same and target.is_file() and file_digest(target) == sha256)
    if written:
        # First without a record: whatever interrupts this, no record ever tells of another file.
        record_path.unlink(missing_ok=True)
        staged.replace(target)
        target.chmod(0o644)
        with atomic_path(record_path) as part:
            part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        earlier = record
    return FetchedCorpus(
        path=target,
        kind=found.kind,
        corpus=found.corpus,
        sample=found.kind == "sample",
        sha256=sha256,
        origin=str(earlier["origin"]),
        written=written,
        tried=found.tried,
    )


def _read_record(path: Path) -> dict[str, object]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
