"""Settle which config is trained and on what device, before anything long starts."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from gmb_ner.assets.encoders import bert_available
from gmb_ner.console import step
from gmb_ner.corpus.gmb import ROWS
from gmb_ner.errors import InputError
from gmb_ner.files import write_json
from gmb_ner.training.plan import make_plan, words_in


@step("plan")
def main(
    output: Annotated[Path, typer.Argument(help="JSON file for the plan.")],
    config: Annotated[str, typer.Option(help="auto, a name in configs, or a .cfg.")] = "auto",
    gpu_id: Annotated[str, typer.Option(help="auto, -1 for the CPU, or a number.")] = "auto",
    encoder: Annotated[str, typer.Option(help="Local directory of the encoder.")] = "",
    csv: Annotated[str, typer.Option(help="Your own CSV, for the estimate.")] = "",
    max_steps: Annotated[
        int, typer.Option(min=0, help="End of the training, for the estimate.")
    ] = 0,
    offline: Annotated[bool, typer.Option("--offline/--online", help="Ask no network.")] = False,
) -> None:
    """Choose, say why, and write the choice to OUTPUT."""
    own = Path(csv).expanduser() if csv else None
    if own is not None and not own.is_file():
        raise InputError(f"There is no file {own}: correct --vars.csv.")
    words = words_in(own) if own is not None else ROWS
    plan = make_plan(
        config,
        gpu_id,
        encoder_dir=encoder or None,
        words=words,
        max_steps=max_steps,
        bert=partial(bert_available, offline=offline),
    )
    write_json(output, plan.lasting())
    msg.good(f"Plan: {plan.path}")
    msg.text(f"Why: {plan.reason}.")
    if plan.minutes is not None:
        msg.text(
            f"Training on a corpus of about {words:,} words will take about "
            f"{max(1, round(plan.minutes))} min; scoring and packaging come on top. This counts "
            "with the speed measured just now: a busy machine looks slower than it is."
        )


if __name__ == "__main__":
    typer.run(main)
