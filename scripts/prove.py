"""Prove that the packaged pipeline works in a clean environment without a network."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from gmb_ner.console import step
from gmb_ner.deploy.prove import prove
from gmb_ner.files import write_json


@step("prove")
def main(
    packages: Annotated[Path, typer.Argument(help="Folder of wheels that `package` wrote")],
    model: Annotated[Path, typer.Argument(help="The pipeline that was packaged")],
    output: Annotated[Path, typer.Argument(help="Result to write (.json)")],
    find_links: Annotated[
        list[Path] | None, typer.Option(help="More folders of wheels for pip; may be repeated")
    ] = None,
) -> None:
    """Install the package of PACKAGES somewhere clean, and compare it with MODEL."""
    # An old result must not speak for a package that cannot even be installed.
    output.unlink(missing_ok=True)
    proof = prove(packages, model, find_links=find_links or (), note=typer.echo)
    write_json(output, proof)
    for name, complaints in proof["checks"].items():
        if complaints:
            msg.fail(name)
            # Not through msg, which would wrap the lines into one paragraph.
            typer.echo("\n".join(f"  {line}" for line in complaints[:20]))
        else:
            msg.good(name)
    msg.info(
        f"Python {proof['python']}, {len(proof['packages'])} packages, installed in "
        f"{proof['install_seconds']} s, loaded in {proof['load_seconds']} s"
    )
    if not proof["passed"]:
        msg.fail(f"{proof['model']} {proof['version']} is not proved; see {output}.", exits=1)
    msg.good(f"{proof['model']} {proof['version']} works as {model} does: {output}")


if __name__ == "__main__":
    typer.run(main)
