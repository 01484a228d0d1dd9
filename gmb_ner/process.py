"""Processes of their own: what they need of memory, and that they end with their parent."""

import multiprocessing
import os
import sys
import threading
import time
from pathlib import Path


def peak_bytes() -> int | None:
    """The most memory that this process has had (bytes), where that is known.

    Not by the usage of a child that has ended: a child begins as a copy of its parent, and the
    system counts that as its own.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def end_with_parent() -> None:
    """End this process when the one that started it has, however: nobody would wait for it."""
    starter, parent = multiprocessing.parent_process(), os.getppid()

    def watch() -> None:
        if starter is not None:
            starter.join()
        else:  # of a subprocess
            while os.getppid() == parent:
                time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
