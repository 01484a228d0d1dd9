"""How fast configs train, side by side: updates in turn, so that all meet the same load."""

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import chain, repeat
from pathlib import Path
from statistics import median
from typing import NamedTuple

from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.util import fix_random_seed, load_config, registry, resolve_dot_names
from thinc.api import Optimizer

from gmb_ner.training.precision import STOCK, cpu_bfloat16, cpu_has_bfloat16
from gmb_ner.training.reader import MISSING

INIT_DOCS = 300


class Speed(NamedTuple):
    """Words a second.

    read: all that the encoder reads.
    annotated: those that are learned from; the others are their context.
    """

    read: float
    annotated: float


class Trainee:
    """A pipeline in training, without evaluations.

    config: a .cfg; corpus: the converted corpus; encoder_path: a directory with the encoder.
    on_gpu: whether spaCy was told to use one. bfloat16: train spaCy's stock encoder on a CPU as
        `gmb_ner.training.train` does it, which spaCy's own training cannot.
    """

    def __init__(
        self,
        config: Path,
        corpus: Path,
        encoder_path: str,
        *,
        on_gpu: bool = False,
        bfloat16: bool = False,
    ) -> None:
        overrides = {
            "paths.train": (corpus / "train.spacy").as_posix(),
            "paths.dev": (corpus / "dev.spacy").as_posix(),
            "paths.encoder": encoder_path,
            "corpora.train.limit": INIT_DOCS,
            "system.gpu_allocator": None,
        }
        loaded = load_config(config, overrides)
        model = loaded["components"]["transformer"]["model"]
        if "mixed_precision" in model and not on_gpu:
            model["mixed_precision"] = False
        self.precision = cpu_bfloat16 if bfloat16 else nullcontext
        self.nlp: Language = init_nlp(loaded)
        interpolated = self.nlp.config.interpolate()
        settings = registry.resolve(interpolated["training"], schema=ConfigSchemaTraining)
        (read,) = resolve_dot_names(interpolated, [settings["train_corpus"]])
        self.dropout: float = settings["dropout"]
        self.optimizer: Optimizer = settings["optimizer"]
        # The same batches over and over: what is learned does not matter here.
        self.batches: Iterator[list[Example]] = chain.from_iterable(
            settings["batcher"](read(self.nlp)) for _ in repeat(None)
        )

    def train(self, words: int) -> Speed:
        """Take updates on at least so many words."""
        read, annotated, seconds = 0, 0, 0.0
        with self.precision():
            for batch in self.batches:
                started = time.perf_counter()
                self.nlp.update(batch, sgd=self.optimizer, drop=self.dropout)
                self.optimizer.step_schedules()
                seconds += time.perf_counter() - started
                read += sum(len(example.predicted) for example in batch)
                for example in batch:
                    annotated += int((example.reference.to_array("ENT_IOB") != MISSING).sum())
                if read >= words:
                    break
        return Speed(read / seconds, annotated / seconds)


def compare(
    configs: Sequence[Path],
    corpus: Path,
    encoder_path: str,
    *,
    rounds: int,
    words: int,
    on_gpu: bool = False,
) -> dict[str, Speed]:
    """The median speeds of each config by the file's stem.

    spaCy's stock encoder comes twice on a CPU that has bfloat16: as spaCy trains it, in float32,
    and as this project does.

    rounds: in each, every config has its turn; one before them does not count.
    words: of a turn, at least. on_gpu: whether spaCy was told to use one.
    """
    fix_random_seed(0)
    trainees: dict[str, Trainee] = {}
    for path in configs:
        model = load_config(path)["components"]["transformer"]["model"]
        if model["@architectures"] == STOCK and not on_gpu and cpu_has_bfloat16():
            for precision in ("float32", "bfloat16"):
                trainees[f"{path.stem}, {precision}"] = Trainee(
                    path, corpus, encoder_path, bfloat16=precision == "bfloat16"
                )
        else:
            trainees[path.stem] = Trainee(path, corpus, encoder_path, on_gpu=on_gpu)
    speeds: dict[str, list[Speed]] = {name: [] for name in trainees}
    for _ in range(rounds + 1):
        for name, trainee in trainees.items():
            speeds[name].append(trainee.train(words))
    return {
        name: Speed(*map(median, zip(*taken[1:], strict=True))) for name, taken in speeds.items()
    }
