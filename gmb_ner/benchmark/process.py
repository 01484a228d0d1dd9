"""Processes of their own: what they need of memory, and that they end with their parent."""

import os
import subprocess
import sys
import threading
import time
from typing import Any


def wait(process: "subprocess.Popen[Any]") -> tuple[int, int | None]:
    """The exit code of a process, and the most memory that it had (bytes), where that is known."""
    if not hasattr(os, "wait4"):  # Windows
        return process.wait(), None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    factor = 1 if sys.platform == "darwin" else 1024
    return process.returncode, usage.ru_maxrss * factor


def end_with_parent() -> None:
    """End this process when the one that started it has: nobody would wait for it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
