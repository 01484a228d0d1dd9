"""A GPU's scores of lexical features are those of the table it copies; here in NumPy."""

import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc

from gmb_ner.pipeline import gpu_lexical
from gmb_ner.pipeline.gpu_lexical import GpuTable
from gmb_ner.pipeline.lexical import TEMPLATES
from gmb_ner.pipeline.lexical_tagger import SparseLinear, count_features, create_lexical_tagger

VOCAB = spacy.blank("en").vocab
WORDS = ["Ada", "saw", "Oslo", ".", "the", "Nile", "1999", ";"]
texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=12), max_size=5)


def docs_of(batch: list[list[str]]) -> list[Doc]:
    return [Doc(VOCAB, words=words) for words in batch]


@pytest.fixture(scope="module")
def table() -> SparseLinear:
    """Weights of the features that occur twice, at random."""
    model = create_lexical_tagger(min_count=2)
    count_features(model, [docs_of([WORDS, WORDS[:4], WORDS[2:]])])
    model.initialize(Y=[np.zeros((0, 3), dtype="f4")])
    table = model.shims[0]
    table.weights[:-1] = np.random.default_rng(0).normal(size=table.weights[:-1].shape)
    return table


def equal(first: np.ndarray, second: np.ndarray) -> None:
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-5)


@given(batches=st.lists(texts, min_size=1, max_size=3))
def test_scores_are_those_of_the_table(table: SparseLinear, batches: list[list[list[str]]]) -> None:
    copy = GpuTable(np, table.keys, table.weights)
    for batch in batches:
        docs = docs_of(batch)
        scores = copy.score(docs)
        assert scores.dtype == np.float32
        equal(scores, table.score(docs))


def test_many_words_are_scored_in_turns(
    table: SparseLinear, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = docs_of([WORDS * 3, WORDS[3:], [], WORDS[::-1]])
    monkeypatch.setattr(gpu_lexical, "WEIGHTS_AT_ONCE", 5 * 3 * len(TEMPLATES))
    equal(GpuTable(np, table.keys, table.weights).score(docs), table.score(docs))


def test_forgotten_words_are_read_anew(
    table: SparseLinear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_lexical, "MAX_CACHED_WORDS", 3)
    copy = GpuTable(np, table.keys, table.weights)
    for words in (WORDS[:2], WORDS[1:5], WORDS[:1], WORDS):
        docs = docs_of([words])
        equal(copy.score(docs), table.score(docs))


@pytest.mark.parametrize(("keys", "rows"), [([7, 2**32 - 1], [0, 1, 2]), ([7], [0, 1, 1])])
def test_the_largest_key_is_found_where_it_is_known(
    keys: list[int], rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = np.arange(len(keys) + 1, dtype="f4")[:, None]
    copy = GpuTable(np, np.array(keys, dtype=np.uint32), weights)
    wanted = np.array([[7, 2**32 - 1, 8]], dtype=np.uint32)
    monkeypatch.setattr(gpu_lexical, "keys_of", lambda hashes: wanted)
    assert copy.score(docs_of([WORDS[:3]]))[:, 0].tolist() == rows
