"""Compare the entities of two pipelines on the same documents, one by one."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from gmb_ner.console import step
from gmb_ner.errors import InputError
from gmb_ner.evaluation.equality import compare_pipelines
from gmb_ner.evaluation.files import load_docs, load_pipeline


@step("compare")
def main(
    first: Annotated[Path, typer.Argument(help="A pipeline, such as training/model-best")],
    second: Annotated[Path, typer.Argument(help="Another, such as exported")],
    docs: Annotated[Path, typer.Argument(help="Documents (.spacy)")],
    gpu_id: Annotated[int, typer.Option(help="-1 for the CPU")] = -1,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Documents a batch")] = None,
    equal: Annotated[bool, typer.Option(help="Fail unless all entities are the same")] = False,
) -> None:
    """Say how many entities both find, and by how much their confidences differ at most."""
    pipelines = [load_pipeline(path, gpu_id) for path in (first, second)]
    found = compare_pipelines(
        *pipelines, load_docs(docs, pipelines[0].vocab), batch_size=batch_size
    )
    msg.info(
        f"{found.same:,} entities are the same, {found.only_first:,} are found by {first} alone, "
        f"{found.only_second:,} by {second} alone"
    )
    if found.confidence is not None:
        msg.info(f"confidences of the same entities differ by {found.confidence:.1e} at most")
    if equal and (found.only_first or found.only_second):
        raise InputError(f"{first} and {second} do not find the same entities.")


if __name__ == "__main__":
    typer.run(main)
