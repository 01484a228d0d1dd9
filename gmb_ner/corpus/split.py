"""Which sentence trains, tunes and tests a model: the two protocols."""

import hashlib
import re
from collections.abc import Sequence

TRAIN, DEV, TEST, LEFT_OUT = "train", "dev", "test", "left_out"
PARTS = (TRAIN, DEV, TEST)
PROTOCOLS = ("canonical", "contiguous")

CANONICAL_TEST_SHARE = 0.2
CANONICAL_RANDOM_STATE = 42
CONTIGUOUS_TEST_SHARE = 0.2
CONTIGUOUS_DEV_SHARE = 0.1
MIN_SENTENCES = 10  # fewer cannot be split so that each part gets some


def normalise(words: Sequence[str]) -> str:
    """The text of a sentence as duplicates are compared: lower case, digits as 0, one space."""
    return re.sub(r"\d", "0", " ".join(words).casefold())


def canonical(ids: Sequence[str], groups: Sequence[int], dev_share: float = 0.05) -> list[str]:
    """The public random split of this corpus.

    Test is what scikit-learn's `train_test_split(test_size=0.2, random_state=42)` takes from the
    ids sorted as strings. Dev is carved from the rest by a hash of the group (the block of
    consecutive sentences that becomes one Doc), so that scoring dev reads few other sentences.

    ids: one id a sentence, in file order.
    groups: the number of the block that each sentence stands in.
    dev_share: share of the blocks whose sentences outside test are dev, in [0, 1).
    RETURNS: a part for each sentence, in the order of `ids`.
    """
    from sklearn.model_selection import train_test_split

    by_id = sorted(range(len(ids)), key=ids.__getitem__)
    _, test = train_test_split(
        by_id, test_size=CANONICAL_TEST_SHARE, random_state=CANONICAL_RANDOM_STATE
    )
    in_test = set(test)
    dev_groups = _hashed_groups(groups, dev_share)
    return [
        TEST if i in in_test else DEV if group in dev_groups else TRAIN
        for i, group in enumerate(groups)
    ]


def contiguous(texts: Sequence[str]) -> list[str]:
    """The last 20 % of the file as test, the 10 % before as dev: whole unseen stories.

    A sentence of test or dev whose text stands in an earlier part is `LEFT_OUT`: it is context,
    neither trained on nor scored.

    texts: the normalised text of each sentence, in file order.
    RETURNS: a part for each sentence.
    """
    n = len(texts)
    test_from = n - round(n * CONTIGUOUS_TEST_SHARE)
    dev_from = test_from - round(n * CONTIGUOUS_DEV_SHARE)
    parts = [TRAIN] * dev_from + [DEV] * (test_from - dev_from) + [TEST] * (n - test_from)
    in_train = set(texts[:dev_from])
    in_train_or_dev = set(texts[:test_from])
    earlier = {TRAIN: set[str](), DEV: in_train, TEST: in_train_or_dev}
    return [
        LEFT_OUT if text in earlier[part] else part for part, text in zip(parts, texts, strict=True)
    ]


def fold(
    texts: Sequence[str], groups: Sequence[int], number: int, of: int, dev_share: float = 0.05
) -> list[str]:
    """One fold of a cross-validation: a stretch of the file as test, the rest to learn from.

    Stretches are as long as each other, up to one sentence. Dev is carved from the rest by a hash
    of the group, as of `canonical`; a test sentence whose text stands in the rest is `LEFT_OUT`.

    texts: the normalised text of each sentence, in file order. groups: see `canonical`.
    number: of the fold, from 1. of: so many folds.
    RETURNS: a part for each sentence.
    """
    n = len(texts)
    start, end = round(n * (number - 1) / of), round(n * number / of)
    in_rest = {*texts[:start], *texts[end:]}
    dev_groups = _hashed_groups([*groups[:start], *groups[end:]], dev_share)
    return [
        (LEFT_OUT if texts[i] in in_rest else TEST)
        if start <= i < end
        else (DEV if groups[i] in dev_groups else TRAIN)
        for i in range(n)
    ]


def fold_of(protocol: str) -> tuple[int, int] | None:
    """The number and count of a protocol such as "fold-2-of-5"; None for anything else."""
    found = re.fullmatch(r"fold-(\d+)-of-(\d+)", protocol)
    if not found:
        return None
    number, of = int(found[1]), int(found[2])
    return (number, of) if 1 <= number <= of >= 2 else None


def leaked(texts: Sequence[str], parts: Sequence[str]) -> list[int]:
    """Positions of the test sentences whose normalised text is trained on or tuned on."""
    seen = {text for text, part in zip(texts, parts, strict=True) if part in (TRAIN, DEV)}
    return [i for i, (t, p) in enumerate(zip(texts, parts, strict=True)) if p == TEST and t in seen]


def _hashed_groups(groups: Sequence[int], share: float) -> set[int]:
    """The groups in the lowest `share` by hash; at least one where share > 0 and there are two."""
    distinct = sorted(
        set(groups), key=lambda group: hashlib.sha256(f"block {group}".encode()).digest()
    )
    count = round(len(distinct) * share)
    if share > 0 and len(distinct) > 1:
        count = max(count, 1)
    return set(distinct[:count])
