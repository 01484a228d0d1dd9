"""Tag schemes: recognise IOB1, IOB2, BIOES/BILOU or bare labels, and turn each into IOB2.

A tag is "O", or a prefix, "-" or "_", and a label ("B-geo", "B_geo", "B-geo-loc"); in the bare
scheme it is the label alone. What each scheme writes for the spans [geo geo][geo] per:

    words   New    York   London  Ann    slept
    iob2    B-geo  I-geo  B-geo   B-per  O
    iob1    I-geo  I-geo  B-geo   I-per  O
    bioes   B-geo  E-geo  S-geo   S-per  O      (BILOU: L for E, U for S)
    bare    geo    geo    geo     per    O      (cannot part the first two spans)
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from gmb_ner.errors import InputError

SCHEMES = ("iob2", "iob1", "bioes", "bare")

ORPHAN = "I- without a B- before it"
LABEL_CHANGE = "label changes inside a span"
NOT_CLOSED = "span not closed"
LOWER_CASE = "lower-case prefix"

_PREFIXES = {"B": "B", "I": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
_ALLOWED = {"iob2": "BI", "iob1": "BI", "bioes": "BIES"}


@dataclass(frozen=True, slots=True)
class Repair:
    """One tag put right: its index in the sentence, the kind, the tag in the file and in IOB2.

    `before` and `after` can be equal but for notation: in BIOES a span that is not closed keeps
    its words, so in IOB2 there is nothing to change.
    """

    index: int
    kind: str
    before: str
    after: str


class TagError(InputError):
    """A tag that fits no scheme; `tag` is the one, so that the caller can look up its row.

    Its message knows neither file nor row: raise `error.at("words.csv, row 7") from error`.
    """

    def __init__(self, tag: str, message: str) -> None:
        super().__init__(message)
        self.tag = tag

    def at(self, where: str) -> InputError:
        """The same error with the place in front."""
        return InputError(f"{where}: {self}")


def detect_scheme(sentences_tags: Iterable[Sequence[str]]) -> str:
    """The scheme of a whole file: "iob2", "iob1", "bioes" (also BILOU) or "bare".

    - Any prefix E, S, L or U means bioes.
    - iob1 if some I- starts a span and every B- directly follows a span of the same label, which
      is the only place where IOB1 has a B-. A file of IOB2 with a few orphan I- stays iob2.
    - bare if no tag has a prefix B or I, and not all have another one ("e-mail" is a label).

    Raises TagError if every tag is O, or if tags with and without a prefix, or with an unknown
    one, are mixed.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    for tags in sentences_tags:
        pairs.update(zip(chain(("O",), tags), tags, strict=False))
    counts: Counter[str] = Counter()
    for (_, tag), number in pairs.items():
        counts[tag] += number
    tags = [tag for tag, _ in counts.most_common() if tag not in ("O", "o")]
    if not tags:
        raise TagError(
            "O",
            "every tag is O, so there is nothing to learn; check the tag column "
            "(--vars.column_tag)",
        )
    prefixed = {tag for tag in tags if _split(tag)[0]}
    if len(prefixed) < len(tags):
        if any(_split(tag)[0] in ("B", "I") for tag in prefixed):
            raise _unknown(next(tag for tag in tags if tag not in prefixed))
        return _check_bare(tags)
    if any(_split(tag)[0] in ("E", "S") for tag in tags):
        return "bioes"
    starts_with_i = needless_b = False
    for before, tag in pairs:
        prefix, label = _split(tag)
        same = _split(before) in (("B", label), ("I", label))
        starts_with_i = starts_with_i or (prefix == "I" and not same)
        needless_b = needless_b or (prefix == "B" and not same)
    return "iob1" if starts_with_i and not needless_b else "iob2"


def to_iob2(tags: Sequence[str], scheme: str) -> tuple[tuple[str, ...], list[Repair]]:
    """The tags of one sentence as well-formed IOB2, "-" as separator, and what had to be repaired.

    - iob2, bioes: an I- (or E-, L-) that continues nothing starts a span; one whose label differs
      from the open span's starts a new span. bioes: a span that breaks off before its E- ends
      there.
    - iob1: nothing can be malformed.
    - bare: neighbouring words with equal labels are one entity; the scheme cannot say otherwise.
    - A lower-case prefix ("b-geo", "o") is read as upper case and counted as a repair.

    Raises TagError for a tag outside the scheme, InputError for an unknown scheme.
    """
    if scheme == "iob2" and all(map(_follows, chain(("O",), tags), tags)):
        return tuple(tags), []
    if scheme == "bare":
        return _from_bare(tags)
    if scheme not in SCHEMES:
        raise InputError(f"there is no tag scheme '{scheme}'; give one of {', '.join(SCHEMES)}")
    result: list[str] = []
    repairs: list[Repair] = []
    parts = [_part(tag, scheme) for tag in tags]
    label = ""  # of the span that the next I- would continue; "" if there is none
    for index, (prefix, own) in enumerate(parts):
        raw, kind = tags[index], ""
        if prefix == "O":
            after, next_label = "O", ""
        elif prefix in "BS":
            after, next_label = f"B-{own}", own
        elif own == label:
            after, next_label = f"I-{own}", own
        else:
            after, next_label = f"B-{own}", own
            if scheme != "iob1":
                kind = LABEL_CHANGE if label else ORPHAN
        if raw[0].islower():
            repairs.append(Repair(index, LOWER_CASE, raw, after))
        if kind:
            repairs.append(Repair(index, kind, raw, after))
        if scheme == "bioes":
            if prefix in "ES":
                next_label = ""
            elif next_label and not _goes_on(parts, index):
                if not kind:  # one mistake is told once: a lone I- is an orphan already
                    repairs.append(Repair(index, NOT_CLOSED, raw, after))
                next_label = ""
        result.append(after)
        label = next_label
    return tuple(result), repairs


def _goes_on(parts: list[tuple[str, str]], index: int) -> bool:
    """Whether the BIOES span open at `index` has a next word.

    An I- or E- of another label counts: it is reported once, as a label change.
    """
    return index + 1 < len(parts) and parts[index + 1][0] in "IE"


def _from_bare(tags: Sequence[str]) -> tuple[tuple[str, ...], list[Repair]]:
    result: list[str] = []
    repairs: list[Repair] = []
    before = "O"
    for index, tag in enumerate(tags):
        label = "O" if tag == "o" else tag
        if label != tag:
            repairs.append(Repair(index, LOWER_CASE, tag, "O"))
        result.append("O" if label == "O" else f"{'I' if label == before else 'B'}-{label}")
        before = label
    return tuple(result), repairs


@lru_cache(maxsize=4096)
def _split(tag: str) -> tuple[str, str]:
    """Prefix (O, B, I, E or S; "" if there is none) and label ("" if there is none)."""
    if tag in ("O", "o"):
        return "O", ""
    if len(tag) > 2 and tag[1] in "-_" and tag[2:].strip():
        prefix = _PREFIXES.get(tag[0].upper(), "")
        if prefix:
            return prefix, tag[2:].strip()
    return "", tag


@lru_cache(maxsize=4096)
def _part(tag: str, scheme: str) -> tuple[str, str]:
    prefix, label = _split(tag)
    if not prefix:
        raise _unknown(tag)
    if prefix != "O" and prefix not in _ALLOWED[scheme]:
        raise TagError(
            tag, f"tag '{tag}' does not belong to the scheme {scheme}; correct it, or the scheme"
        )
    return prefix, label


@lru_cache(maxsize=65536)
def _follows(before: str, tag: str) -> bool:
    """Whether `tag` is written as IOB2 wants it and may stand after `before`."""
    if tag == "O":
        return True
    prefix, label = _split(tag)
    if tag not in (f"B-{label}", f"I-{label}"):
        return False
    return prefix == "B" or before in (f"B-{label}", f"I-{label}")


def _check_bare(tags: list[str]) -> str:
    if set(tags) <= {"B", "I", "E", "L", "S", "U"}:
        raise TagError(
            tags[0], f"tag '{tags[0]}' has no label; write one behind each prefix, such as B-ENT"
        )
    if all(tag.isdecimal() for tag in tags):
        raise TagError(
            tags[0], f"tag '{tags[0]}' is a number; write the labels themselves, and O for none"
        )
    return "bare"


def _unknown(tag: str) -> TagError:
    if len(tag) > 1 and tag[1] in "-_":
        what = f"tag '{tag}' has an unknown prefix or no label"
    else:
        what = f"tag '{tag}' has no prefix, while others have one"
    return TagError(tag, f"{what}; write O, or B-, I-, E-, S-, L- or U- and a label")


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Label, start and end (exclusive) of each entity in well-formed IOB2 tags, in order."""
    starts = [index for index, tag in enumerate(tags) if tag.startswith("B-")]
    found = []
    for start in starts:
        end = start + 1
        while end < len(tags) and tags[end].startswith("I-"):
            end += 1
        found.append((tags[start][2:], start, end))
    return found
