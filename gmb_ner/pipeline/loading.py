"""Load a pipeline, and what its config tells of how it reads."""

import os
import sys
from collections.abc import Callable
from typing import Any

import spacy
from spacy.language import Language
from spacy.util import dot_to_object

from gmb_ner.errors import InputError
from gmb_ner.pipeline.onnx_ner import OnnxNER


def load_model(name: str) -> Language:
    """Load an installed package or a folder; raises InputError where there is none."""
    try:
        return spacy.load(name)
    except (OSError, ImportError, ValueError) as error:
        raise InputError(f"{name} cannot be loaded ({error}).") from error


def load_beside(processes: int, load: Callable[[], Language]) -> Language:
    """Load a pipeline that takes no more than its share of the cores.

    processes: that read at a time, this one included. load: what loads it, in a process that has
        loaded none before.
    """
    threads = max(1, (os.cpu_count() or 1) // processes)
    # Before onnxruntime or torch counts the cores for itself.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    nlp = load()
    if "torch" in sys.modules:
        # thinc may have imported it before.
        sys.modules["torch"].set_num_threads(threads)
    for _, component in nlp.pipeline:
        if isinstance(component, OnnxNER):
            component.threads = threads
    return nlp


def reads_sentences(nlp: Language) -> bool:
    """Whether a pipeline's config trains it on single sentences (`gmb_ner.DocReader.v1`)."""
    config = nlp.config.interpolate()
    try:
        corpus: dict[str, Any] = dot_to_object(config, config["training"]["train_corpus"])
    except KeyError:
        return False
    return bool(corpus.get("sentences"))
