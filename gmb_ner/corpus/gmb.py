"""What is known of the real corpus file, so that a conversion of it can be held to it."""

from collections.abc import Mapping

from gmb_ner.errors import InputError

ROWS = 1_048_575
SENTENCES = 47_959
TAGS = {
    "O": 887_908,
    "B-geo": 37_644,
    "B-tim": 20_333,
    "B-org": 20_143,
    "I-per": 17_251,
    "B-per": 16_990,
    "I-org": 16_784,
    "B-gpe": 15_870,
    "I-geo": 7_414,
    "I-tim": 6_528,
    "B-art": 402,
    "B-eve": 308,
    "I-art": 297,
    "I-eve": 253,
    "B-nat": 201,
    "I-gpe": 198,
    "I-nat": 51,
}
CANONICAL_TEST_SENTENCES = 9_592
CANONICAL_TEST_ENTITIES = {
    "geo": 7_558,
    "org": 4_151,
    "tim": 4_077,
    "per": 3_400,
    "gpe": 3_142,
    "art": 94,
    "eve": 70,
    "nat": 40,
}


def check_table(rows: int, sentences: int, tags: Mapping[str, int]) -> None:
    """Hold what was read to the known counts; raises InputError that names the first difference."""
    _same("rows", rows, ROWS)
    _same("sentences", sentences, SENTENCES)
    for tag in sorted({*tags, *TAGS}):
        _same(f"tags {tag}", tags.get(tag, 0), TAGS.get(tag, 0))


def check_canonical_test(sentences: int, entities: Mapping[str, int]) -> None:
    """Hold the canonical test part to the published one; raises InputError."""
    _same("sentences of the canonical test part", sentences, CANONICAL_TEST_SENTENCES)
    for label in sorted({*entities, *CANONICAL_TEST_ENTITIES}):
        _same(
            f"entities {label} of the canonical test part",
            entities.get(label, 0),
            CANONICAL_TEST_ENTITIES.get(label, 0),
        )


def _same(what: str, found: int, known: int) -> None:
    if found != known:
        raise InputError(
            f"The GMB corpus has {known} {what}, but {found} were found: convert it without "
            "column, encoding or scheme options, or fetch it anew."
        )
