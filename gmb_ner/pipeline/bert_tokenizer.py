"""BERT's tokenizer in Python alone, from the JSON of the library tokenizers.

Each distinct word is tokenised once, so that speed does not matter here; but that library brings a
client of the model hub along, 31 MB that a pipeline without torch has no use for.
"""

import json
import re
import unicodedata
from typing import Any

from gmb_ner.pipeline.wordpieces import EncodeWords

# What the JSON of a tokenizer has to say so that `BertTokenizer` gives the same pieces.
_STEPS = (("normalizer", "BertNormalizer"), ("pre_tokenizer", "BertPreTokenizer"))
# The blocks of ideographs that are words of one character.
_IDEOGRAPHS = re.compile(
    "([\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f\U0002b920-\U0002ceaf"
    "\U0002f800-\U0002fa1f])"
)
_ASCII_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_REPLACEMENT = "\ufffd"  # what decoders put for bytes that are no text


def is_bert(tokenizer: str) -> bool:
    """Whether the JSON of a tokenizer is of BERT's kind, which needs no library."""
    parts = json.loads(tokenizer)
    steps = [(parts.get(step) or {}).get("type") == kind for step, kind in _STEPS]
    return all(steps) and parts["model"].get("type") == "WordPiece"


class BertTokenizer:
    """Words to ids of word pieces: cleaning, then greedy longest match (Wu et al. 2016).

    tokenizer: JSON for which `is_bert` holds.
    """

    def __init__(self, tokenizer: str) -> None:
        parts: dict[str, Any] = json.loads(tokenizer)
        model, normalizer = parts["model"], parts["normalizer"]
        self.vocabulary: dict[str, int] = model["vocab"]
        self.prefix: str = model["continuing_subword_prefix"]
        self.max_chars: int = model["max_input_chars_per_word"]
        self.unknown: int = self.vocabulary[model["unk_token"]]
        self.clean_text: bool = normalizer["clean_text"]
        self.lowercase: bool = normalizer["lowercase"]
        self.split_ideographs: bool = normalizer["handle_chinese_chars"]
        strip: bool | None = normalizer["strip_accents"]
        self.strip_accents = self.lowercase if strip is None else strip
        # Pieces such as [SEP] stand for themselves where they are written out.
        self.added: dict[str, int] = {
            token["content"]: token["id"] for token in parts.get("added_tokens", [])
        }
        longest_first = sorted(self.added, key=len, reverse=True)
        self._added = re.compile(f"({'|'.join(map(re.escape, longest_first))})")

    def __call__(self, words: list[str]) -> list[list[int]]:
        """The ids of the pieces of each word, without special ones around it."""
        return [self._encode(word) for word in words]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in self._added.split(text) if self.added else [text]:
            if part in self.added:
                ids.append(self.added[part])
            else:
                for word in _split(self._normalize(part)):
                    ids += self._match(word)
        return ids

    def _normalize(self, text: str) -> str:
        if self.clean_text:
            text = "".join(
                " " if _is_space(char) else char for char in text if not _is_control(char)
            )
        if self.split_ideographs:
            text = _IDEOGRAPHS.sub(r" \1 ", text)
        if self.strip_accents:
            decomposed = unicodedata.normalize("NFD", text)
            text = "".join(char for char in decomposed if unicodedata.category(char) != "Mn")
        if self.lowercase:
            # Each letter by itself: Python has another sigma for the end of a word.
            text = "".join(map(str.lower, text))
        return text

    def _match(self, word: str) -> list[int]:
        """The longest pieces from left to right; the unknown one if that leaves a rest."""
        if len(word) > self.max_chars:
            return [self.unknown]
        ids: list[int] = []
        start = 0
        while start < len(word):
            prefix = self.prefix if start else ""
            for end in range(len(word), start, -1):
                found = self.vocabulary.get(prefix + word[start:end])
                if found is not None:
                    break
            else:
                return [self.unknown]
            ids.append(found)
            start = end
        return ids


def encode_words_with(tokenizer: str, prefix: str) -> EncodeWords:
    """A function from words to the ids of their pieces, without special ones.

    tokenizer: the JSON of a tokenizer of the library tokenizers, which is asked unless `is_bert`.
    prefix: put before each word.
    Raises ImportError where the library is needed and not installed.
    """
    if is_bert(tokenizer):
        bert = BertTokenizer(tokenizer)
        return lambda words: bert([prefix + word for word in words])
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_str(tokenizer)
    loaded.no_padding()
    loaded.no_truncation()

    def encode(words: list[str]) -> list[list[int]]:
        prefixed = [prefix + word for word in words]
        return [piece.ids for piece in loaded.encode_batch(prefixed, add_special_tokens=False)]

    return encode


def _is_control(char: str) -> bool:
    if char in "\t\n\r":
        return False
    return char in ("\0", _REPLACEMENT) or unicodedata.category(char).startswith("C")


def _split(text: str) -> list[str]:
    """Stretches between white space, each punctuation mark by itself."""
    parts = (f" {c} " if _is_punctuation(c) else " " if _is_space(c) else c for c in text)
    return [word for word in "".join(parts).split(" ") if word]


def _is_space(char: str) -> bool:
    # Python counts four separators as spaces that Unicode does not.
    return char.isspace() and not "\x1c" <= char <= "\x1f"


def _is_punctuation(char: str) -> bool:
    return char in _ASCII_PUNCTUATION or unicodedata.category(char).startswith("P")
