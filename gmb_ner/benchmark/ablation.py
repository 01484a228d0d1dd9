"""What each lead is worth: the same small training with one thing changed, scored side by side."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import spacy
from seqeval.scheme import IOB2, Entities
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import load_config, minibatch
from spacy.vocab import Vocab
from thinc.util import to_numpy

from gmb_ner.benchmark.variants import VARIANTS, Variant
from gmb_ner.corpus.docs import annotated_sentences, write_docbin
from gmb_ner.errors import InputError
from gmb_ner.evaluation.files import load_docs
from gmb_ner.evaluation.intervals import paired_bootstrap
from gmb_ner.evaluation.scored import EntitySpan, ScoredDoc, only_label, scored_doc
from gmb_ner.evaluation.scores import f_score, sentence_counts
from gmb_ner.files import read_object, work_folder, write_json
from gmb_ner.pipeline.linear_ner import LinearNER
from gmb_ner.pipeline.loading import pipe_before
from gmb_ner.training.reader import untagged_copy
from gmb_ner.training.train import train

SHARE = 4  # every fourth Doc trains
VALIDATION_SHARE = 8  # every eighth validates, none of them one that trains
BASE = "base"


def ablate(
    config: Path,
    corpus: Path,
    output: Path,
    *,
    names: Sequence[str],
    seeds: Sequence[int],
    encoder_path: str | None = None,
    epochs: int | None = None,
    max_steps: int = 0,
    gpu_id: int = -1,
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Train each variant with each seed on a quarter of the training part, and score it.

    config: what is varied. corpus: the converted corpus; its test part is not touched.
    output: the folder for one JSON file a run; runs whose file is there are not repeated.
    names: keys of `VARIANTS`; the base is always among them.
    epochs: of each training, instead of the config's.
    max_steps: end each training early, 0 for never.
    gpu_id: -1 for the CPU.

    Scored is dev together with an eighth of the training part that does not train, in context and
    each sentence by itself, in bfloat16 where the processor has it. Yields (name, seed, result) as
    soon as each is known.
    Raises InputError for unknown variants, a config without linear_ner or a corpus that is not
    there.
    """
    if unknown := sorted(set(names) - set(VARIANTS)):
        raise InputError(
            f"There is no variant {', '.join(unknown)}: choose from {', '.join(VARIANTS)}."
        )
    factory = load_config(config).get("components", {}).get("ner", {}).get("factory")
    if factory != "linear_ner":
        raise InputError(
            f"[components.ner] of {config} has factory {factory}: only variants of linear_ner are "
            "compared; name such a config by --config."
        )
    ordered = [BASE, *(name for name in names if name != BASE)]
    vocab = Vocab()
    trained = load_docs(corpus / "train.spacy", vocab)
    dev = load_docs(corpus / "dev.spacy", vocab)
    validation = [*dev, *trained[SHARE // 2 :: VALIDATION_SHARE]]
    for seed in seeds:
        for name in ordered:
            path = output / f"{name}-{seed}.json"
            if not path.is_file():
                variant = VARIANTS[name]
                with work_folder(path) as work:
                    parts = {"train": variant.prepare(trained[::SHARE]), "dev": dev}
                    _write_parts(work, parts, single=variant.single_sentences)
                    changed = _changed(config, variant, epochs, work / "variant.cfg")
                    run = train(
                        changed,
                        work,
                        work / "training",
                        name=name,
                        encoder_path=encoder_path,
                        gpu_id=gpu_id,
                        seed=seed,
                        max_steps=max_steps,
                        # The weights of the end are scored, whatever the variant.
                        evaluations=1,
                    )
                    result = score(work / "training" / "model-best", validation)
                result |= {key: run[key] for key in ("words_per_second", "seconds", "steps")}
                write_json(path, {"variant": name, "seed": seed, **result})
            yield name, seed, read_object(path, "run the ablation again")


def score(model: Path, validation: Sequence[Doc]) -> dict[str, Any]:
    """Strict scores of a pipeline, in context and sentence by sentence, ready for JSON.

    Returns `context` and `sentences`: (sentences, 3) counts as of
    `gmb_ner.evaluation.scores.sentence_counts`; `argmax`: those in context with the best tag of
    each word instead of the best sequence; and `by_label`: F1 in context.
    """
    nlp = spacy.load(model)
    decoded, argmax = _scored(nlp, validation)
    sentences = [part for doc in validation for part in annotated_sentences(doc)]
    return {
        "context": sentence_counts(decoded).tolist(),
        "argmax": sentence_counts(argmax).tolist(),
        "sentences": sentence_counts(_scored(nlp, sentences)[0]).tolist(),
        "by_label": _by_label(decoded),
    }


def table(results: Iterable[tuple[str, int, dict[str, Any]]]) -> str:
    """A Markdown table: each variant's mean F1, its gain over the base, paired, and its speed."""
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for name, seed, result in results:
        runs.setdefault(name, {})[seed] = result
    lines = [
        "| variant | seeds | F1 in context | gain (95 %) | F1 single sentences | "
        "art / eve / nat | words/s |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, by_seed in runs.items():
        paired = [seed for seed in by_seed if seed in runs.get(BASE, {})]
        gain = "" if name == BASE or not paired else _gain(runs[BASE], by_seed, paired)
        context, single = (
            np.mean([100 * _f1(run[key]) for run in by_seed.values()])
            for key in ("context", "sentences")
        )
        rare = " / ".join(
            f"{np.mean([100 * run['by_label'].get(label, 0) for run in by_seed.values()]):.0f}"
            for label in ("art", "eve", "nat")
        )
        speed = np.mean([run["words_per_second"] for run in by_seed.values()])
        seeds = ", ".join(map(str, by_seed))
        lines.append(
            f"| {name}: {VARIANTS[name].lead} | {seeds} | {context:.2f} | {gain} | {single:.2f} | "
            f"{rare} | {speed:,.0f} |"
        )
        if name == BASE:
            argmax = {seed: run | {"context": run["argmax"]} for seed, run in by_seed.items()}
            f1 = np.mean([100 * _f1(run["context"]) for run in argmax.values()])
            lines.append(
                f"| base, the best tag of each word instead of the best sequence | {seeds} | "
                f"{f1:.2f} | {_gain(by_seed, argmax, paired)} |  |  |  |"
            )
    return "\n".join(lines)


def _gain(base: dict[int, Any], other: dict[int, Any], seeds: Sequence[int]) -> str:
    """The difference in points, sentences drawn together over all seeds."""
    counts = [np.concatenate([runs[seed]["context"] for seed in seeds]) for runs in (base, other)]
    paired = paired_bootstrap(*counts)
    low, high = 100 * paired.low, 100 * paired.high
    return f"{100 * paired.difference:+.2f} ({low:+.2f} to {high:+.2f})"


def _f1(counts: Sequence[Sequence[int]]) -> float:
    return f_score(*np.sum(counts, axis=0))


def _by_label(docs: Sequence[ScoredDoc]) -> dict[str, float]:
    labels = sorted({label for doc in docs for *_, label in doc.gold})
    return {
        label: f_score(
            *sentence_counts(only_label(doc, label) for doc in docs).sum(axis=0).tolist()
        )
        for label in labels
    }


def _scored(nlp: Language, docs: Sequence[Doc]) -> tuple[list[ScoredDoc], list[ScoredDoc]]:
    """The entities of the best tag sequences, and those of each word's best tag."""
    recognizer = cast(LinearNER, nlp.get_pipe("ner"))
    decoded, argmax = [], []
    for references in minibatch(docs, nlp.batch_size):
        blank = [untagged_copy(reference) for reference in references]
        predicted = list(pipe_before(nlp, "ner", blank))
        scores = recognizer.tag_scores(predicted)
        recognizer.set_annotations(predicted, recognizer.decode(predicted, scores))
        best = [recognizer.tags[i] for i in to_numpy(scores).argmax(axis=1)]
        end = 0
        for reference, doc in zip(references, predicted, strict=True):
            decoded.append(scored_doc(reference, doc))
            start, end = end, end + len(doc)
            tags = best[start:end]
            doc.set_ents(
                [Span(doc, start, end, label=label) for start, end, label in strict_spans(tags)]
            )
            argmax.append(scored_doc(reference, doc))
    return decoded, argmax


def strict_spans(tags: Sequence[str]) -> list[EntitySpan]:
    """The entities of tags that need not be IOB2, as seqeval's strict mode reads them."""
    (entities,) = Entities([list(tags)], IOB2).entities
    return [(entity.start, entity.end, entity.tag) for entity in entities]


def _write_parts(folder: Path, parts: dict[str, list[Doc]], *, single: bool) -> None:
    for name, docs in parts.items():
        if single:
            docs = [sentence for doc in docs for sentence in annotated_sentences(doc)]
        write_docbin(docs, folder / f"{name}.spacy")


def _changed(config: Path, variant: Variant, epochs: int | None, target: Path) -> Path:
    changed = load_config(config)
    changed["components"]["transformer"]["model"]["inference_precision"] = "auto"
    if epochs is not None:
        changed["training"]["max_epochs"] = epochs
    variant.change(changed)
    changed.to_disk(target)
    return target
