"""The systems that are compared, from word vectors to BERT: each a config and what it needs."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from gmb_ner.benchmark.pretraining import pretrain
from gmb_ner.benchmark.word_vectors import read_vectors, train_vectors

Preparation = Callable[[Path, Path, int], dict[str, Any]]


@dataclass(frozen=True)
class System:
    """A row of the benchmark.

    title: for people.
    config: a file of `configs`, without its ending.
    encoder: key in `gmb_ner.assets.encoders.ENCODERS`, or None.
    minutes: of training and scoring on two cores (machine B of BENCHMARKS.md), by and large; with
        one_core, on one of them while another row has the other.
    one_core: a second core would be of little use, so that several rows are made at a time. (Of the
        study's small batches two rows side by side take three quarters of their time in turn.)
    prepare: makes what the training needs beside the corpus. Takes the converted corpus, a folder
        and the seed; returns settings for the config.
    settings: of the config that are another.
    width: the setting that has to be the encoder's width, if there is one.
    """

    title: str
    config: str
    encoder: str | None = None
    minutes: float = 7
    one_core: bool = False
    prepare: Preparation | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    width: str | None = None


WIDTH = "components.ner.model.width"
DEFAULT = "minilm"

SYSTEMS: dict[str, System] = {
    "crf": System("CRF, hand-made features", "crf", minutes=10, one_core=True),
    "word2vec-cbow": System(
        "BiLSTM on word2vec, CBOW",
        "bilstm-vectors",
        one_core=True,
        prepare=partial(train_vectors, skip_gram=False),
    ),
    "word2vec-skipgram": System(
        "BiLSTM on word2vec, skip-gram",
        "bilstm-vectors",
        one_core=True,
        prepare=partial(train_vectors, skip_gram=True),
    ),
    "glove": System("BiLSTM on GloVe", "bilstm-vectors", one_core=True),
    "bilstm": System("BiLSTM", "bilstm", one_core=True),
    "bilstm-crf": System("BiLSTM-CRF", "bilstm-crf", one_core=True),
    "cnn": System("spaCy's CNN and `ner`", "cnn", minutes=10, one_core=True),
    "cnn-pretrained": System(
        "spaCy's CNN, pretrained as a language model",
        "cnn-pretrained",
        minutes=20,
        one_core=True,
        prepare=pretrain,
    ),
    "study-a": System(
        "Study A, MiniLM for BERT", "study-a", "minilm", minutes=9, one_core=True, width=WIDTH
    ),
    "study-a-without-padding": System(
        "Study A without its mistake, MiniLM for BERT",
        "study-a",
        "minilm",
        minutes=9,
        one_core=True,
        settings={"components.ner.padding_in_loss": False},
        width=WIDTH,
    ),
    "study-b": System("Study B, MiniLM for BERT", "study-b", "minilm", minutes=80, one_core=True),
    "minilm-stock": System("MiniLM and `ner`", "minilm-stock", "minilm", minutes=28),
    "minilm": System("MiniLM and `linear_ner`: the default", "minilm", "minilm", minutes=23),
    "minilm-fast": System(
        "MiniLM's first three layers and `linear_ner`", "minilm-fast", "minilm", minutes=13
    ),
    "study-a-bert": System("Study A", "study-a", "bert", width=WIDTH),
    "study-a-bert-without-padding": System(
        "Study A without its mistake",
        "study-a",
        "bert",
        settings={"components.ner.padding_in_loss": False},
        width=WIDTH,
    ),
    "study-b-bert": System("Study B", "study-b", "bert"),
    "bert-stock": System("bert-base-cased and `ner`", "bert-stock", "bert"),
    "bert": System("bert-base-cased and `linear_ner`", "bert", "bert"),
}

# What a system has that another has not: the step, and the system before and after it.
STEPS = (
    ("vectors of the same text, CBOW", "bilstm", "word2vec-cbow"),
    ("vectors of the same text, skip-gram", "bilstm", "word2vec-skipgram"),
    ("vectors of other text", "bilstm", "glove"),
    ("learned transitions", "bilstm", "bilstm-crf"),
    ("a language model of the same text", "cnn", "cnn-pretrained"),
    ("no padding in the loss", "study-a", "study-a-without-padding"),
    ("fine-tuning, all sentences, no GRU", "study-a-without-padding", "study-b"),
    ("`linear_ner` and our encoder", "minilm-stock", "minilm"),
    ("three of the encoder's six layers", "minilm", "minilm-fast"),
    ("no padding in the loss", "study-a-bert", "study-a-bert-without-padding"),
    ("fine-tuning, all sentences, no GRU", "study-a-bert-without-padding", "study-b-bert"),
    ("`linear_ner` and our encoder", "bert-stock", "bert"),
)


def glove_from(file: Path) -> System:
    """The row of GloVe, with the vectors of a text file."""
    known = SYSTEMS["glove"]
    return replace(known, prepare=partial(read_vectors, file=file))
