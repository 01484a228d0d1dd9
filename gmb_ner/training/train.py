"""Train a config with spaCy's own training loop, its schedule fitted to the corpus."""

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import srsly
from spacy import util
from spacy.cli.train import train as spacy_train
from spacy.tokens import DocBin
from spacy.vocab import Vocab
from thinc.api import Config
from wasabi import msg

from gmb_ner.errors import InputError
from gmb_ner.files import read_object, take_place, work_folder, write_json, writing
from gmb_ner.pipeline.linear_ner import LinearNER
from gmb_ner.pipeline.loading import pipe_before
from gmb_ner.training.hardware import gpu_memory, gpu_refusal
from gmb_ner.training.plan import MIN_STEPS
from gmb_ner.training.precision import STOCK, cpu_bfloat16, training_precision

RUN = "run.json"
LOG = "log.jsonl"
LOGGERS_TO_FILE = {"spacy.ConsoleLogger.v2", "spacy.ConsoleLogger.v3"}
EVALUATIONS = 4
WARMUP_SHARE = 0.1
# One standard error of the strict F1 on the dev part of canonical (1,924 sentences).
DEV_NOISE = 0.006
FEWEST_CALIBRATED = 50  # entities of dev; a temperature fitted to fewer says little


@dataclass(frozen=True)
class Schedule:
    """How long a training lasts.

    steps_per_epoch: batches in one pass over the training part.
    epochs: passes, the last of which may be cut short.
    steps: batches in all.
    words_per_epoch: words of the training Docs, context included.
    """

    steps_per_epoch: int
    epochs: int
    steps: int
    words_per_epoch: int

    @property
    def words(self) -> float:
        """Words seen in the whole training, counted anew in each epoch."""
        return self.words_per_epoch * self.steps / self.steps_per_epoch

    def overrides(self, config: Config, evaluations: int) -> dict[str, Any]:
        """Config settings that follow: epochs, evaluations, length of a linear learning rate.

        evaluations: how often dev is scored on the way; each time the model may be written.
        """
        chosen: dict[str, Any] = {
            "training.max_epochs": self.epochs,
            "training.eval_frequency": max(1, self.steps // evaluations),
        }
        rate = config["training"]["optimizer"]["learn_rate"]
        if isinstance(rate, dict) and rate["@schedules"].startswith("warmup_linear"):
            chosen["training.optimizer.learn_rate.total_steps"] = self.steps
            chosen["training.optimizer.learn_rate.warmup_steps"] = math.ceil(
                WARMUP_SHARE * self.steps
            )
        return chosen


def plan_schedule(config: Config, max_steps: int = 0) -> Schedule:
    """Count the batches of an epoch by making them.

    config: a complete training config with `paths.train`; `training.max_epochs` must be given.
    max_steps: end after so many batches, 0 for all epochs.
    Raises InputError if the training part is empty.
    """
    # The reader needs a tokenizer and a vocabulary and nothing else.
    nlp = util.get_lang_class(config["nlp"]["lang"])()
    interpolated = config.interpolate()
    resolved = util.registry.resolve(
        {
            "corpus": interpolated["corpora"]["train"],
            "batcher": interpolated["training"]["batcher"],
        },
        validate=False,
    )
    examples = list(resolved["corpus"](nlp))
    if not examples:
        raise InputError("The training part holds no Docs: run `spacy project run convert`.")
    per_epoch = sum(1 for _ in resolved["batcher"](examples))
    epochs = max(config["training"]["max_epochs"], math.ceil(MIN_STEPS / per_epoch))
    steps = min(per_epoch * epochs, max_steps) if max_steps else per_epoch * epochs
    words = sum(len(example.predicted) for example in examples)
    return Schedule(per_epoch, epochs, steps, words)


def choose_weights(output: Path) -> bool:
    """Score the last weights on dev, and let them be model-best unless others are clearly better.

    spaCy's loop scores at every `eval_frequency` steps only, so that what it learned after the
    last of them, with the smallest learning rate, would be thrown away. And the highest of a few
    scores on a small dev part is often the luckiest: weights from the middle of a falling
    learning rate have to be better by more than `DEV_NOISE`, as in the one-standard-error rule
    (Breiman, Friedman, Olshen and Stone 1984).

    output: the folder with model-best and model-last, as spaCy's loop leaves it.
    Returns whether model-last took the place of model-best.
    """
    nlp = util.load_model(output / "model-last")
    config = nlp.config.interpolate()
    (dev,) = util.resolve_dot_names(config, [config["training"]["dev_corpus"]])
    nlp.meta["performance"] = nlp.evaluate(list(dev(nlp)))
    weights = config["training"]["score_weights"]

    def score(performance: dict[str, Any]) -> float:
        # Weights of 0 or null belong to what has no single figure, such as scores by label.
        return sum(
            (performance[name] or 0.0) * weight for name, weight in weights.items() if weight
        )

    best = read_object(output / "model-best" / "meta.json", "train again")["performance"]
    last = score(nlp.meta["performance"])
    told = f"dev score of the last weights {last:.4f}, of the best before {score(best):.4f}"
    if last < score(best) - DEV_NOISE:
        msg.info(f"{told}, clearly more: model-best keeps these")
        return False
    msg.info(f"{told}, not clearly more: model-best gets the last")
    with work_folder(output / "model-best") as work:
        nlp.to_disk(work / "model")
        take_place(work / "model", output / "model-best")
    return True


def calibrate(model: Path) -> None:
    """Fit the confidences of a trained pipeline's recognizer to dev, where it has any.

    model: the folder of the pipeline, which is changed in place.
    """
    nlp = util.load_model(model)
    recognizers = [pipe for _, pipe in nlp.pipeline if isinstance(pipe, LinearNER)]
    if not recognizers:
        return
    config = nlp.config.interpolate()
    (dev,) = util.resolve_dot_names(config, [config["training"]["dev_corpus"]])
    for recognizer in recognizers:
        examples = list(dev(nlp))
        entities = sum(len(example.reference.ents) for example in examples)
        if entities < FEWEST_CALIBRATED:
            msg.warn(
                f"confidences are left as they are: the dev part has {entities} entities, and "
                f"fitting them takes {FEWEST_CALIBRATED}"
            )
            continue
        for _ in pipe_before(nlp, recognizer.name, (example.predicted for example in examples)):
            pass  # it leaves on the Docs what the recognizer reads
        temperature = recognizer.calibrate(examples)
        msg.info(f"confidences fitted to dev: temperature {temperature:.3f}")
    with work_folder(model) as work:
        nlp.to_disk(work / "model")
        take_place(work / "model", model)


def train(
    config_path: Path,
    corpus: Path,
    output: Path,
    *,
    name: str,
    source: dict[str, Any] | None = None,
    encoder: dict[str, Any] | None = None,
    encoder_path: str | None = None,
    gpu_id: int = -1,
    seed: int = 0,
    max_steps: int = 0,
    fit: bool = True,
    evaluations: int = EVALUATIONS,
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a pipeline into `output`/model-best and record how in `output`/run.json.

    config_path: the .cfg; corpus: the folder with train.spacy and dev.spacy.
    name: of the config, for the record; source: what the corpus is, likewise
        (`gmb_ner.reproduce.source_of`).
    encoder: of the weights, for the record; encoder_path: the directory that holds them.
    gpu_id: -1 for the CPU, where encoders compute in bfloat16 if it has that.
    max_steps: end after so many batches, 0 for as many as the config says.
    fit: fit learning rate and evaluations to the size of the corpus; else the config is taken as
        it is.
    evaluations: how often a fitted training scores dev, beside its beginning and its end.
    settings: of the config, by dotted path, that are another.
    Returns the record; `steps` and `words_per_second` are None where the config is not fitted.
    `gpu_bytes` is about the most memory of the GPU that was in use, by whatever process; None on a
    CPU.
    `curve` has the epoch, the step and the score (0..1) of each evaluation on dev; it is empty
    where the config names another logger than spaCy's to the console (v2 or v3).
    Raises InputError for a GPU or a corpus that cannot be used.
    """
    if gpu_id >= 0 and (refusal := gpu_refusal(gpu_id)):
        raise InputError(
            f"GPU {gpu_id} cannot be used, as {refusal}: plan for the CPU "
            "(`spacy project run fetch . --vars.gpu_id -1`)."
        )
    for part in ("train", "dev"):
        if not (corpus / f"{part}.spacy").is_file():
            raise InputError(
                f"There is no file {corpus / f'{part}.spacy'}: make it with "
                "`spacy project run convert`."
            )
    overrides: dict[str, Any] = {
        "paths.train": (corpus / "train.spacy").as_posix(),
        "paths.dev": (corpus / "dev.spacy").as_posix(),
        "system.seed": seed,
    }
    config = util.load_config(config_path)
    if encoder_path and "encoder" in config.get("paths", {}):
        overrides["paths.encoder"] = encoder_path
    components = config.get("components", {})
    if "transformer" in components and gpu_id < 0:
        # A gradient scaler has no meaning there; see `precision` for what is done instead.
        if "mixed_precision" in components["transformer"].get("model", {}):
            overrides["components.transformer.model.mixed_precision"] = False
        overrides["system.gpu_allocator"] = None
    if fit and (biased := components.get("ner", {}).get("label_bias")):
        # Our configs name the rare labels of the corpus, and serve others too.
        overrides["components.ner.label_bias"] = _of_labels(biased, corpus / "train.spacy")
    overrides.update(settings or {})
    if max_steps:
        overrides["training.max_steps"] = max_steps
    schedule = None
    if fit:
        schedule = plan_schedule(util.load_config(config_path, overrides), max_steps)
        overrides.update(schedule.overrides(config, evaluations))

    log = output / LOG
    # A user's config need not name what spaCy has a default for.
    if config.get("training", {}).get("logger", {}).get("@loggers") in LOGGERS_TO_FILE:
        overrides["training.logger.output_file"] = log.as_posix()
    with writing(output / RUN):
        for former in (output / RUN, log):  # spaCy writes to no log that is there
            former.unlink(missing_ok=True)
    encoder_model = components.get("transformer", {}).get("model")
    precision = training_precision(encoder_model, gpu_id)
    # Our own encoder switches it by itself, and thinc does on a GPU.
    outside = precision == "bfloat16" and encoder_model["@architectures"] == STOCK
    started = time.perf_counter()
    with writing(output / RUN), cpu_bfloat16() if outside else nullcontext():
        spacy_train(config_path, output, use_gpu=gpu_id, overrides=overrides)
        choose_weights(output)
        calibrate(output / "model-best")
    seconds = time.perf_counter() - started
    words = schedule.words if schedule else None
    record = {
        "config": name,
        "source": source,
        "encoder": encoder,
        "seed": seed,
        "max_steps": max_steps,
        "gpu_id": gpu_id,
        "precision": precision,
        "steps": schedule.steps if schedule else None,
        "seconds": seconds,
        "words_per_second": words / seconds if words else None,
        "gpu_bytes": gpu_memory(gpu_id) if gpu_id >= 0 else None,
        "curve": _curve(log),
    }
    write_json(output / RUN, record)
    return record


def _of_labels(values: dict[str, float], path: Path) -> dict[str, float]:
    """The values of labels that a .spacy file has."""
    docs = DocBin().from_disk(path).get_docs(Vocab())
    labels = {ent.label_ for doc in docs for ent in doc.ents}
    return {label: value for label, value in values.items() if label in labels}


def _curve(log: Path) -> list[dict[str, Any]]:
    """The evaluations that spaCy's logger wrote."""
    if not log.is_file():
        return []
    return [
        {name: line[name] for name in ("epoch", "step", "score")} for line in srsly.read_jsonl(log)
    ]
