"""Load a pipeline, run a part of it, and what its config tells of how it reads."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import dot_to_object

from gmb_ner.errors import InputError
from gmb_ner.pipeline.onnx_ner import OnnxNER


def load_model(name: str | Path, settings: Mapping[str, Any] = {}) -> Language:
    """Load an installed package or a folder.

    settings: of its config that are another, by dotted path.
    Raises InputError where there is none, or one that cannot be loaded, so or with the settings.
    """
    try:
        return spacy.load(name, config=dict(settings))
    except (OSError, ImportError, ValueError) as error:
        if "[E002]" in str(error):  # spaCy's list of all factories there are would hide the reason
            missing = re.search(r"factory for '(\w+)'", str(error))
            raise InputError(
                f"{name} cannot be loaded: nothing that is installed makes its component "
                f"{missing[1] if missing else ''}; install what it needs (pip install "
                "'gmb-ner[train]' for trained pipelines), or take an exported one."
            ) from error
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


def pipe_before(nlp: Language, name: str, texts: Iterable[str | Doc]) -> Iterator[Doc]:
    """Run what stands before a component in the pipeline, which leaves on Docs what that reads.

    Nothing after it is run: it may take that away again.
    """
    with nlp.select_pipes(enable=nlp.pipe_names[: nlp.pipe_names.index(name)]):
        yield from nlp.pipe(texts)


def reads_sentences(nlp: Language) -> bool:
    """Whether a pipeline's config trains it on single sentences (`gmb_ner.DocReader.v1`)."""
    config = nlp.config.interpolate()
    try:
        corpus: dict[str, Any] = dot_to_object(config, config["training"]["train_corpus"])
    except KeyError:
        return False
    return bool(corpus.get("sentences"))
