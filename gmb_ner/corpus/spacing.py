"""Restore the spaces of tokenised English, so that a sentence reads as it was once written.

Treebank-style tokens have lost their spaces: `He said , " I ca n't pay $ 5 . "`. A model that is
to read ordinary text must see `He said, "I can't pay $5."`. One idea carries the module: every
word has two sides, and a side is either glued to its neighbour or not. Most words are glued on
neither side; a table holds those that always are; a few depend on their neighbours.

Where two spellings are equally good English, the one that lets spaCy's tokenizer find the given
words again is chosen, because entities are counted on word boundaries.
"""

from collections.abc import Sequence

Sides = tuple[bool, bool]
"""Whether a word is glued to the word before it, and to the word after it."""

_APART, _LEFT, _RIGHT, _BOTH = (False, False), (True, False), (False, True), (True, True)


# Curly quotes are written as escapes: they are hard to tell from straight ones in print.
_APOSTROPHES = ("'", "\u2019")
_CLOSING = (",", ";", ":", "?", "!", ")", "]", "}", "...", "\u2026", "''", "\u201d", "\u2019", "»")
_OPENING = ("(", "[", "{", "``", "\u201c", "\u2018", "«")
_BRACKET_NAMES = ("RB", "SB", "CB")  # the Treebank writes "-LRB-" and "-RRB-" for "(" and ")"


def _fixed_sides() -> dict[str, Sides]:
    """The words that are glued the same way wherever they stand."""
    left = [*_CLOSING, *(f"-R{name}-" for name in _BRACKET_NAMES)]
    right = [*_OPENING, *(f"-L{name}-" for name in _BRACKET_NAMES)]
    for mark in _APOSTROPHES:
        left += [f"n{mark}t", *(mark + ending for ending in ("s", "m", "d", "re", "ve", "ll"))]
        right += [f"{mark}t", f"d{mark}", f"l{mark}"]  # "'t was", "d' Artagnan"
    sides = {"/": _BOTH}
    for words, side in ((left, _LEFT), (right, _RIGHT)):
        sides |= {form: side for word in words for form in (word, word.upper())}
    return sides


_FIXED = _fixed_sides()
_CURRENCIES = frozenset({"$", "£", "€", "¥", "US$", "C$", "A$", "#"})  # "#" stands for the pound
_UNITS = frozenset({"%", "‰", "°", "°C", "°F"})
_HYPHENS = frozenset({"-", "\u2013"})
_QUOTES = frozenset({"'", '"'})
_IN_CONTEXT = _CURRENCIES | _UNITS | _HYPHENS | {".", "&"}
# Words that Treebank tokens cut in two: the second part, and the first parts it follows.
_SECOND_PARTS = {"not": ("can",), "na": ("gon", "wan"), "ta": ("got",), "me": ("gim", "lem")}


def spaces(words: Sequence[str]) -> list[bool]:
    """Say for each word of one sentence whether a space follows it.

    Args:
        words: the `n` words of one sentence, in order. Any string is allowed.

    Returns:
        `n` booleans. The last one is True, as a space parts a sentence from the next; whoever
        builds the document decides about its very last word. No words give an empty list.
    """
    last = len(words) - 1
    followed = [True] * len(words)
    open_quotes: set[str] = set()
    for i, word in enumerate(words):
        sides = _FIXED.get(word)
        if sides is None:
            if word in _IN_CONTEXT:
                sides = _sides_in_context(words, i)
            elif word in _QUOTES:
                sides = _quote_sides(words, i, open_quotes)
            elif word.lower() in _SECOND_PARTS and i:
                sides = (words[i - 1].lower() in _SECOND_PARTS[word.lower()], False)
            else:
                continue
        to_left, to_right = sides
        if to_left and i:
            followed[i - 1] = False
        if to_right and i < last:
            followed[i] = False
    return followed


def _sides_in_context(words: Sequence[str], i: int) -> Sides:
    """The sides of a sign at `i` whose meaning only its two neighbours tell."""
    word = words[i]
    before = words[i - 1] if i else ""
    after = words[i + 1] if i + 1 < len(words) else ""
    if word == ".":
        # "U.S.." would be read as "U.S" and "..", so a second full stop stands apart.
        return _APART if before.endswith(".") else _LEFT
    if word in _CURRENCIES:
        # Never glued to the left: "US $5" is as good as "US$5" and keeps "US" a word of its own.
        return _RIGHT if after[:1].isdigit() or after[:1] == "." else _APART
    if word in _UNITS:
        return _LEFT if before[-1:].isdigit() else _APART
    if word == "&":
        initials = len(before) == len(after) == 1 and (before + after).isupper()
        return _BOTH if initials else _APART  # "R&B", but "Research & Development"
    # A hyphen between two figures is a range, "2007-8"; elsewhere it is a dash, with spaces.
    return _BOTH if before[-1:].isdigit() and after[:1].isdigit() else _APART


def _quote_sides(words: Sequence[str], i: int, open_quotes: set[str]) -> Sides:
    """The sides of a straight quote at `i`: it opens and closes by turns.

    `open_quotes` holds the quotes that are open before word `i`, and is brought up to date.
    A quote at the very end closes in any case: its opening one is in an earlier sentence.
    """
    word = words[i]
    opens = word not in open_quotes and i + 1 < len(words)
    if opens and word == "'" and i:
        # It is also the apostrophe of "the boys' room": it opens only where none can stand,
        # and where another one follows to close it.
        before = words[i - 1]
        plural = before[-1:].lower() in ("s", "x", "z") and before not in _FIXED  # not "'s"
        opens = not plural and word in words[i + 1 :]
    if opens:
        open_quotes.add(word)
        return _RIGHT
    open_quotes.discard(word)
    return _LEFT
