"""Fetch what a run needs: the corpus, and the encoder's weights."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from gmb_ner.assets.corpus import fetch_corpus, sample_warning
from gmb_ner.assets.encoders import fetch_bert, fetch_minilm
from gmb_ner.console import step
from gmb_ner.files import read_object

ROOT = Path(__file__).resolve().parent.parent

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
Assets = Annotated[Path, typer.Option(help="Folder of fetched files.")]
Offline = Annotated[bool, typer.Option("--offline/--online", help="Ask no network.")]


@app.command()
@step("fetch corpus")
def corpus(
    csv: Annotated[str, typer.Option(help="Your own CSV or zip, instead of the corpus.")] = "",
    assets: Assets = Path("assets"),
    refuse_sample: Annotated[
        bool,
        typer.Option(
            "--refuse-sample/--allow-sample",
            help="Fail where the corpus cannot be had, instead of using the built-in sample.",
        ),
    ] = False,
    offline: Offline = False,
) -> None:
    """Put the corpus into ASSETS/corpus.csv and its record into ASSETS/corpus.json."""
    fetched = fetch_corpus(
        assets, csv or None, project_dir=ROOT, require=refuse_sample, offline=offline
    )
    if fetched.sample:
        title, lines = sample_warning(fetched)
        msg.warn(title)
        # Not through msg, which would wrap the list into one paragraph.
        typer.echo("\n".join(lines))
    state = "written" if fetched.written else "already there"
    msg.good(f"{fetched.path} ({fetched.corpus}, {state})", f"from {fetched.origin}")


@app.command()
@step("fetch encoder")
def encoder(
    plan: Annotated[Path, typer.Option(help="What scripts/plan.py wrote.")],
    local: Annotated[str, typer.Option(help="A local directory that holds the files.")] = "",
    assets: Assets = Path("assets"),
    offline: Offline = False,
) -> None:
    """Have the weights of the planned encoder at hand."""
    name = read_object(plan, "make it with `spacy project run fetch`")["encoder"]
    if name is None:
        msg.good("This config needs no encoder.")
        return
    if name == "minilm":
        fetched = fetch_minilm(assets, local or None, offline=offline, note=msg.info)
    else:
        fetched = fetch_bert(local or None, offline=offline)
    if fetched.own:
        msg.warn("These weights are your own: no checksum and no revision is known for them.")
    pin = f" at revision {fetched.revision}" if fetched.revision else ""
    msg.good(f"{fetched.name}{pin}", f"from {fetched.origin}")


if __name__ == "__main__":
    app()
