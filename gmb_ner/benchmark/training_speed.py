"""How fast configs train, side by side: updates in turn, so that all meet the same load."""

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import chain, islice, repeat
from pathlib import Path
from statistics import median

from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.util import fix_random_seed, load_config, registry, resolve_dot_names
from thinc.api import Optimizer

from gmb_ner.training.precision import cpu_bfloat16, cpu_has_bfloat16
from gmb_ner.training.train import STOCK

INIT_DOCS = 300


class Trainee:
    """A pipeline in training, without evaluations.

    config: a .cfg; corpus: the converted corpus; encoder_path: a directory with the encoder.
    """

    def __init__(self, config: Path, corpus: Path, encoder_path: str) -> None:
        overrides = {
            "paths.train": (corpus / "train.spacy").as_posix(),
            "paths.dev": (corpus / "dev.spacy").as_posix(),
            "paths.encoder": encoder_path,
            "corpora.train.limit": INIT_DOCS,
            "system.gpu_allocator": None,
        }
        loaded = load_config(config, overrides)
        model = loaded["components"]["transformer"]["model"]
        if "mixed_precision" in model:
            model["mixed_precision"] = False
        stock = model["@architectures"] == STOCK
        # As `gmb_ner.training.train` does it.
        self.precision = cpu_bfloat16 if stock and cpu_has_bfloat16() else nullcontext
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

    def words_per_second(self, words: int) -> float:
        """The speed of updates on at least so many words."""
        seen, started = 0, time.perf_counter()
        with self.precision():
            for batch in self.batches:
                self.nlp.update(batch, sgd=self.optimizer, drop=self.dropout)
                self.optimizer.step_schedules()
                seen += sum(len(example.predicted) for example in batch)
                if seen >= words:
                    break
        return seen / (time.perf_counter() - started)


def compare(
    configs: Sequence[Path], corpus: Path, encoder_path: str, *, rounds: int, words: int
) -> dict[str, float]:
    """The median speed of each config, in words a second, by the file's stem.

    rounds: in each, every config has its turn; one before them does not count.
    words: of a turn, at least.
    """
    fix_random_seed(0)
    trainees = {path.stem: Trainee(path, corpus, encoder_path) for path in configs}
    speeds: dict[str, list[float]] = {name: [] for name in trainees}
    for _ in range(rounds + 1):
        for name, trainee in trainees.items():
            speeds[name].append(trainee.words_per_second(words))
    return {name: median(islice(taken, 1, None)) for name, taken in speeds.items()}
