"""How fast pipelines find entities in raw text: in turn, so that all meet the same load."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training.initialize import init_nlp
from spacy.util import load_config

from gmb_ner.errors import InputError
from gmb_ner.pipeline.transformer import PRECISIONS

INIT_DOCS = 300  # that an untrained pipeline is initialized with
LATENCIES = 50  # sentences one by one, a round
# Seconds before each turn: threads of torch and onnxruntime wait for more work without rest, and so
# would hold up whoever comes next.
PAUSE = 0.2


HUGGING_FACE = "huggingface"  # named as a source, transformers' own pipeline
OVERLAP = 16  # pieces that its windows share
TAGS = 17


class HuggingFace:
    """transformers' pipeline for entities, with an output layer that learned nothing.

    encoder_path: a directory.
    """

    def __init__(self, encoder_path: str, gpu_id: int) -> None:
        from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline
        from transformers.utils import logging

        before = logging.get_verbosity()
        logging.set_verbosity_error()  # that some weights are new is known
        self.classify: Any = pipeline(
            "token-classification",
            model=AutoModelForTokenClassification.from_pretrained(encoder_path, num_labels=TAGS),
            tokenizer=AutoTokenizer.from_pretrained(encoder_path),
            aggregation_strategy="simple",
            stride=OVERLAP,
            device=gpu_id,
        )
        logging.set_verbosity(before)

    def __call__(self, text: str) -> Any:
        return self.classify(text)

    def pipe(self, texts: Sequence[str], *, batch_size: int) -> Iterator[Any]:
        """The entities of each text."""
        yield from self.classify((text for text in texts), batch_size=batch_size)


@dataclass
class Contestant:
    """A pipeline that is timed.

    precision: of prediction, for encoders that have a choice.
    """

    nlp: Language | HuggingFace
    precision: str | None = None

    @property
    def has_encoder(self) -> bool:
        """Whether an encoder takes most of its time."""
        if isinstance(self.nlp, HuggingFace):
            return True
        factories = {self.nlp.get_pipe_meta(name).factory for name in self.nlp.pipe_names}
        return bool(factories & {"transformer", "onnx_ner"})

    def ready(self) -> Language | HuggingFace:
        """The pipeline, set to its precision."""
        if self.precision is not None and isinstance(self.nlp, Language):
            transformer: Any = self.nlp.get_pipe("transformer")
            transformer.model.settings["inference_precision"] = self.precision
        return self.nlp


@dataclass
class Timings:
    """What was measured of one pipeline.

    words_per_second: by sentences a document and `batch_size` of `nlp.pipe`, one for each round.
    latencies: seconds from the text of one sentence to its entities.
    """

    words_per_second: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    def speed(self, sentences: int, batch_size: int) -> float:
        """The median, in words a second."""
        return median(self.words_per_second[sentences, batch_size])

    def best(self) -> tuple[int, int]:
        """Sentences a document and batch size with the highest speed."""
        return max(self.words_per_second, key=lambda kind: self.speed(*kind))

    def latency(self, share: float) -> float:
        """The latency in seconds that so large a share of the sentences does not exceed."""
        return float(np.quantile(self.latencies, share))


def load(source: Path, corpus: Path, encoder_path: str, gpu_id: int) -> Language | HuggingFace:
    """A trained pipeline, or one that a config describes, with weights that learned nothing.

    source: a pipeline's folder, a .cfg, or `HUGGING_FACE`.
    corpus: the converted corpus, from which a config takes its labels.
    encoder_path: the directory of the encoder, for the latter two.
    Raises InputError where the source is none of them.
    """
    if source == Path(HUGGING_FACE):
        return HuggingFace(encoder_path, gpu_id)
    if source.suffix != ".cfg":
        if not (source / "config.cfg").is_file():
            raise InputError(f"{source} is neither a pipeline nor a .cfg.")
        return spacy.load(source)
    config = load_config(source)
    overrides: dict[str, Any] = {
        "paths.train": (corpus / "train.spacy").as_posix(),
        "paths.dev": (corpus / "dev.spacy").as_posix(),
        "corpora.train.limit": INIT_DOCS,
        "system.gpu_allocator": None,
    }
    model = config["components"].get("transformer", {}).get("model", {})
    if model:
        overrides["paths.encoder"] = encoder_path
    if gpu_id < 0 and "mixed_precision" in model:
        overrides["components.transformer.model.mixed_precision"] = False
    return init_nlp(load_config(source, overrides))


def contestants(pipelines: Mapping[str, Language | HuggingFace]) -> dict[str, Contestant]:
    """The pipelines by name; those whose encoder has a choice once in each precision."""
    entered = {}
    for name, nlp in pipelines.items():
        components = nlp.config["components"] if isinstance(nlp, Language) else {}
        if "inference_precision" in components.get("transformer", {}).get("model", {}):
            for precision in PRECISIONS[1:]:
                entered[f"{name}, {precision}"] = Contestant(nlp, precision)
        else:
            entered[name] = Contestant(nlp)
    return entered


def texts_of(docs: Iterable[Doc], sentences: int, words: int) -> tuple[list[str], int]:
    """Texts of so many consecutive sentences each, at least `words` words in all, and the words.

    Sentences are taken as the corpus has them. What is left over of the last text is dropped.
    """
    spans = (sentence for doc in docs for sentence in doc.sents)
    texts, counted = [], 0
    while counted < words and len(group := list(islice(spans, sentences))) == sentences:
        texts.append(" ".join(sentence.text.strip() for sentence in group))
        counted += sum(len(sentence) for sentence in group)
    return texts, counted


def compare(
    entered: Mapping[str, Contestant],
    docs: Sequence[Doc],
    *,
    sentences: Sequence[int],
    batch_sizes: Sequence[int],
    words: int,
    rounds: int,
) -> Iterator[dict[str, Timings]]:
    """Time all pipelines on the same texts; yields what is known after each round.

    docs: of whose sentences the texts are made, see `texts_of`; words: of each measurement.
    Before the first round, each pipeline reads each kind of text once without being timed.
    """
    kinds = {n: texts_of(docs, n, words) for n in sentences}
    single, _ = texts_of(docs, 1, words)
    timings = {name: Timings() for name in entered}
    for counted in range(rounds + 1):
        for n, (texts, size) in kinds.items():
            for batch_size in batch_sizes:
                for name, contestant in entered.items():
                    seconds = _read(contestant.ready(), texts, batch_size)
                    if counted:
                        found = timings[name].words_per_second.setdefault((n, batch_size), [])
                        found.append(size / seconds)
        for name, contestant in entered.items():
            nlp = contestant.ready()
            time.sleep(PAUSE)
            for text in single[:LATENCIES]:
                started = time.perf_counter()
                nlp(text)
                if counted:
                    timings[name].latencies.append(time.perf_counter() - started)
        if counted:
            yield timings


def _read(nlp: Language | HuggingFace, texts: Sequence[str], batch_size: int) -> float:
    """Seconds until the entities of all texts are there."""
    time.sleep(PAUSE)
    started = time.perf_counter()
    for _ in nlp.pipe(texts, batch_size=batch_size):
        pass
    return time.perf_counter() - started
