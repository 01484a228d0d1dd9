"""Train the planned config on the converted corpus."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from gmb_ner.assets.encoders import ENCODERS, fetch_bert, fetch_minilm
from gmb_ner.console import step
from gmb_ner.errors import InputError
from gmb_ner.files import read_object
from gmb_ner.reproduce import source_of
from gmb_ner.training.plan import CONFIGS
from gmb_ner.training.train import train


@step("train")
def main(
    plan: Annotated[Path, typer.Argument(help="What scripts/plan.py wrote.")],
    corpus: Annotated[Path, typer.Argument(help="Folder of the converted corpus.")],
    output: Annotated[Path, typer.Argument(help="Folder for the pipeline.")],
    assets: Annotated[Path, typer.Option(help="Folder of fetched files.")] = Path("assets"),
    encoder: Annotated[str, typer.Option(help="Local directory of the encoder.")] = "",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")] = 0,
    max_steps: Annotated[int, typer.Option(min=0, help="End after so many batches; 0: never.")] = 0,
    offline: Annotated[bool, typer.Option("--offline/--online", help="Ask no network.")] = False,
) -> None:
    """Train into OUTPUT/model-best and OUTPUT/model-last."""
    planned = read_object(plan, "make it with `spacy project run fetch`")
    manifest = read_object(corpus / "manifest.json", "make it with `spacy project run convert`")
    fetched = assets / "corpus.json"
    if fetched.is_file():
        other = read_object(fetched, "make it with `spacy project run fetch`")
        if other["sha256"] != manifest["source"]["sha256"]:
            raise InputError(
                f"{corpus} was converted from {manifest['source']['file']}, and {other['file']} "
                "was fetched since: run `spacy project run convert`."
            )
    # A config of the user's own takes an own encoder as it is.
    record, path = None, encoder or None
    if planned["encoder"] is not None:
        # Already fetched: this only looks it up and verifies it.
        known = ENCODERS[planned["encoder"]]
        fetch = (
            fetch_bert(encoder or None, offline=offline)
            if known.key == "bert"
            else fetch_minilm(assets, encoder or None, offline=offline)
        )
        path = fetch.path.as_posix()
        record = {
            "key": known.key,
            "repo": None if fetch.own else known.repo,
            "revision": None if fetch.own else known.revision,
            "licence": None if fetch.own else known.licence,
            "origin": fetch.origin,
        }
    if manifest["sample"]:
        msg.warn("SAMPLE: training on the small built-in sample, not on the corpus.")
    run = train(
        Path(planned["path"]),
        corpus,
        output,
        name=planned["config"],
        source=source_of(manifest),
        encoder=record,
        encoder_path=path,
        gpu_id=planned["gpu_id"],
        seed=seed,
        max_steps=max_steps,
        fit=planned["config"] in CONFIGS,
    )
    speed = run["words_per_second"]
    msg.good(
        f"Trained in {run['seconds'] / 60:.1f} min"
        + (f": {run['steps']} steps, {speed:,.0f} words/s, {run['precision']}" if speed else "")
        + (f", {run['gpu_bytes'] / 1e9:.1f} GB of the GPU's memory" if run["gpu_bytes"] else "")
    )


if __name__ == "__main__":
    typer.run(main)
