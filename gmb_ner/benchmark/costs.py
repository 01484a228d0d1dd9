"""What a pipeline costs beside time: `python -m gmb_ner.benchmark.costs PIPELINE DOCS`, alone."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gmb_ner.errors import InputError
from gmb_ner.process import peak_bytes


@dataclass(frozen=True)
class Costs:
    """Of a pipeline in a process of its own.

    load_seconds: of `spacy.load`, with everything that it imports. first_seconds: of the first
    sentence. peak_bytes: the most memory the process had, the test part included; None where the
    system does not tell. model_bytes: of its files. f1: strict, gold tokens, 0..1.
    """

    load_seconds: float
    first_seconds: float
    peak_bytes: int | None
    model_bytes: int
    f1: float


def costs(pipeline: Path, docs: Path) -> Costs:
    """Measure a trained or exported pipeline.

    pipeline: its folder. docs: the test part, which it is scored on. Raises InputError where the
    process fails, with what it said last.
    """
    command = [sys.executable, "-m", "gmb_ner.benchmark.costs", str(pipeline), str(docs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"{pipeline} could not be measured: {done.stdout.strip() or 'see above'}")
    found = json.loads(done.stdout.splitlines()[-1])
    size = sum(file.stat().st_size for file in pipeline.rglob("*") if file.is_file())
    return Costs(model_bytes=size, **found)


def _measure(pipeline: Path, docs: Path) -> dict[str, Any]:
    started = time.perf_counter()
    import spacy

    nlp = spacy.load(pipeline)
    loaded = time.perf_counter()
    nlp("Thousands fled Mogadishu on Friday.")
    first = time.perf_counter()

    from gmb_ner.evaluation.files import load_docs
    from gmb_ner.evaluation.predict import as_trained, predict_gold_tokens
    from gmb_ner.evaluation.scores import strict_scores

    references = as_trained(nlp, load_docs(docs, nlp.vocab))
    scores = strict_scores(references, predict_gold_tokens(nlp, references))
    return {
        "load_seconds": loaded - started,
        "first_seconds": first - loaded,
        "f1": scores["ents_f"],
        "peak_bytes": peak_bytes(),
    }


if __name__ == "__main__":
    print(json.dumps(_measure(*map(Path, sys.argv[1:]))), flush=True)
