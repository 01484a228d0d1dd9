"""The GPU's decoding, compiled for this CPU, against that of decoding.py."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from spacy.tokens import Doc

from gmb_ner.pipeline import entities, gpu_decoding
from gmb_ner.pipeline.decoding import (
    MAX_TAG_RANGE,
    constraints,
    decode_spans,
    forward_backward,
    span_probabilities,
    viterbi,
)
from gmb_ner.pipeline.entities import find_entities, pad_rows

COMPILER = shutil.which("c++") or shutil.which("g++")

# One block after the other, and in each one thread after the other.
ON_CPU = """
#include <math.h>
#define __global__
#define __device__
static struct {{ int x; }} blockIdx, blockDim, threadIdx;
#include "{source}"
extern "C" void run(int blocks, int threads, {parameters}) {{
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) decode({arguments});
}}
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Any]:
    """`gpu_decoding._kernel`, whose launches run the same source on the CPU."""
    if COMPILER is None:
        pytest.skip("needs a C++ compiler")
    folder = tmp_path_factory.mktemp("kernel")
    kinds = ["const float*"] * 2 + ["const int*", "int"] + ["const double*"] * 3
    kinds += ["double*", "signed char*", "int*", "double*", "int*"]
    names = [f"a{i}" for i in range(len(kinds))]
    parameters = ", ".join(f"{kind} {name}" for kind, name in zip(kinds, names, strict=True))
    (folder / "run.cpp").write_text(
        ON_CPU.format(source=gpu_decoding.SOURCE, parameters=parameters, arguments=", ".join(names))
    )
    compiled: dict[int, Path] = {}

    def of_tags(tags: int) -> Any:
        if tags not in compiled:
            compiled[tags] = folder / f"decode{tags}.so"
            macros = [f"-D{name}={value}" for name, value in gpu_decoding.macros(tags).items()]
            options = ["-O1", "-shared", "-fPIC", *macros, "-o", compiled[tags]]
            assert COMPILER is not None
            subprocess.run([COMPILER, *options, folder / "run.cpp"], check=True)
        run = ctypes.CDLL(str(compiled[tags])).run

        def launch(grid: tuple[int], block: tuple[int], arguments: tuple[Any, ...]) -> None:
            given = [
                ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.c_int(a)
                for a in arguments
            ]
            run(grid[0], block[0], *given)

        return launch

    return of_tags


@pytest.fixture
def on_cpu(kernel: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_decoding, "_kernel", kernel)
    monkeypatch.setattr(gpu_decoding, "_start_copy", lambda *arrays: lambda: arrays)
    monkeypatch.setattr(gpu_decoding, "THREADS", 2)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Any, ...]:
    """Up to 4 sequences of up to 6 words and 3 labels, some with learned transitions."""
    labels = draw(st.integers(1, 3))
    size = 1 + 2 * labels
    lengths = np.array(draw(st.lists(st.integers(0, 6), min_size=1, max_size=4)))
    values = st.floats(-5, 5, width=32) | st.sampled_from([-500.0, 0.0, 500.0])
    scores = draw(hnp.arrays("f4", (int(lengths.sum()), size), elements=values))
    bias = draw(hnp.arrays("f4", size, elements=st.sampled_from([0.0, 0.5])))
    start, transition = constraints("abc"[:labels])
    if draw(st.booleans()):
        transition = transition + draw(hnp.arrays("f8", (size, size), elements=st.floats(-5, 5)))
    return scores, bias, lengths, start, transition


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(batches())
def test_finds_what_stepwise_decoding_finds(on_cpu: None, batch: tuple[Any, ...]) -> None:
    scores, bias, lengths, start, transition = batch
    begun = gpu_decoding.decode_rows(*batch)
    assert begun is not None
    decoded = begun()
    padded, _ = pad_rows(scores, lengths)
    lattice = forward_backward(padded, lengths, start, transition)
    if decoded is None:
        assert _widest(lattice.forward, lattice.backward + lattice.scores) > MAX_TAG_RANGE
        return
    found, probabilities = decoded
    expected = decode_spans(viterbi(padded + bias, lengths, start, transition), lengths)
    for own, other in zip(found, expected, strict=True):
        assert own.tolist() == other.tolist()
    np.testing.assert_allclose(
        probabilities, span_probabilities(lattice, *expected), rtol=1e-8, atol=1e-12
    )


def _widest(*sums: Any) -> float:
    """How far a possible tag lies behind the best one."""
    best = [values.max(axis=2, keepdims=True) for values in sums]
    with np.errstate(invalid="ignore"):
        behind = [np.where(v > -np.inf, b - v, 0.0) for b, v in zip(best, sums, strict=True)]
    return max(float(values.max(initial=0)) for values in behind)


def test_scores_that_would_lose_precision_are_left_to_stepwise_decoding(on_cpu: None) -> None:
    start, transition = constraints(["per"])
    scores, bias = np.array([[0, -1000, 0], [0, 0, 0]], dtype="f4"), np.zeros(3, dtype="f4")
    begun = gpu_decoding.decode_rows(scores, bias, np.array([2]), start, transition)
    assert begun is not None and begun() is None


def test_transitions_that_would_lose_precision_are_left_to_stepwise_decoding() -> None:
    start, transition = constraints(["per"])
    scores, bias = np.zeros((2, 3), dtype="f4"), np.zeros(3, dtype="f4")
    assert gpu_decoding.decode_rows(scores, bias, np.array([2]), start, transition + 200) is None


def test_many_labels_are_left_to_stepwise_decoding() -> None:
    start, transition = constraints([str(i) for i in range(32)])
    scores, bias = np.zeros((1, 65), dtype="f4"), np.zeros(65, dtype="f4")
    assert gpu_decoding.decode_rows(scores, bias, np.array([1]), start, transition) is None


def test_docs_without_words_ask_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entities, "is_cupy_array", lambda array: True)
    docs = [Doc(spacy.blank("en").vocab)] * 2
    assert find_entities(docs, np.zeros((0, 5), dtype="f4"), ["a", "b"]) == [[], []]
    assert find_entities([], np.zeros((0, 5), dtype="f4"), ["a", "b"]) == []


@pytest.mark.parametrize("precise", [True, False])
def test_entities_are_the_same(
    on_cpu: None, monkeypatch: pytest.MonkeyPatch, precise: bool
) -> None:
    vocab = spacy.blank("en").vocab
    docs = [Doc(vocab, words=["w"] * n) for n in (2, 0, 5, 3)]
    scores = np.random.default_rng(0).normal(0, 3, (10, 5)).astype("f4")
    if not precise:
        scores[0, 1] = -2000
    options: Any = {"temperature": 1.5, "label_bias": {"b": 0.5}, "threshold": 0.2}
    expected = find_entities(docs, scores, ["a", "b"], **options)
    assert sum(map(len, expected)) > 2
    monkeypatch.setattr(entities, "is_cupy_array", lambda array: True)
    found = find_entities(docs, scores, ["a", "b"], **options)
    for own, other in zip(found, expected, strict=True):
        assert [span for span, _ in own] == [span for span, _ in other]
        assert [score for _, score in own] == pytest.approx([score for _, score in other])
