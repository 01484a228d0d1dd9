"""How every command speaks to its user."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from wasabi import msg

from gmb_ner.errors import InputError
from gmb_ner.files import printable


@contextmanager
def step(name: str) -> Iterator[None]:
    """Run a command: a mistake of the user's ends it in one sentence, success tells its time.

    name: of the command. Works as a decorator too.
    """
    started = time.perf_counter()
    try:
        yield
    except InputError as error:
        msg.fail(printable(str(error)), exits=1)
    msg.info(f"{name} took {duration(time.perf_counter() - started)}")


def numbers(given: str) -> list[int]:
    """The numbers of an option that takes several; raises InputError for anything else."""
    try:
        found = [int(number) for number in given.split(",") if number.strip()]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise InputError(f"{given} is no list of numbers from 1: give such as 1,10,100.")
    return found


def duration(seconds: float) -> str:
    """Seconds as people say them: "12.3 s" below a minute, else "3 min 5 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
