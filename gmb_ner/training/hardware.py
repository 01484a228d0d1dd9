"""What this machine can train on, and about how fast."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gmb_ner.errors import InputError


@dataclass(frozen=True)
class Device:
    """Where a run takes place.

    gpu_id: number of the GPU, -1 for the CPU.
    name: for people.
    """

    gpu_id: int
    name: str


def gpu_refusal(gpu_id: int) -> str | None:
    """Why a GPU cannot be used, in words, or None where it can.

    Both halves of a pipeline must see it: torch (the encoder) and CuPy (thinc's layers).
    """
    import torch

    if not torch.cuda.is_available():
        return "torch sees no CUDA GPU on this machine"
    if gpu_id >= torch.cuda.device_count():
        return f"this machine has {torch.cuda.device_count()} GPU(s), counted from 0"
    try:
        import cupy
    except ImportError:
        extra = "gpu-cuda13" if (torch.version.cuda or "").startswith("13") else "gpu"
        return f"CuPy is missing: pip install '.[{extra}]'"
    try:
        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CUDA's own errors differ by version and share no base
        return f"CuPy cannot use it ({error}): install the CuPy that belongs to your driver"
    return None


def choose_device(gpu_id: str) -> tuple[Device, str]:
    """The device that is asked for, or the best there is for "auto", and why.

    gpu_id: "auto", or a number as text; -1 is the CPU.
    Raises InputError if a GPU is asked for that cannot be used, or for anything else.
    """
    if gpu_id == "auto":
        refusal = gpu_refusal(0)
        return (_cpu(), refusal) if refusal else (_gpu(0), "a CUDA GPU and CuPy are there")
    try:
        number = int(gpu_id)
    except ValueError:
        raise InputError(f"gpu_id is {gpu_id!r}: give auto, -1 for the CPU, or a number.") from None
    if number < 0:
        return _cpu(), "the CPU was asked for"
    if refusal := gpu_refusal(number):
        raise InputError(
            f"GPU {number} was asked for and cannot be used, as {refusal}; use -1 for the CPU."
        )
    return _gpu(number), f"GPU {number} was asked for"


def gpu_memory(gpu_id: int) -> int:
    """The bytes of a GPU's memory in use, by all libraries and processes.

    torch and CuPy keep what they once had, so that this is about the peak so far.
    """
    import torch

    free, total = torch.cuda.mem_get_info(gpu_id)
    return total - free


def matmul_flops(gpu_id: int, half: bool, seconds: float = 0.5) -> float:
    """Measured floating point operations a second of square matrix products.

    half: in bfloat16 instead of float32.
    seconds: how long to measure.
    """
    import torch

    size = 4096 if gpu_id >= 0 else 1024
    device = f"cuda:{gpu_id}" if gpu_id >= 0 else "cpu"
    matrix = torch.rand(size, size, device=device, dtype=torch.bfloat16 if half else torch.float32)

    def multiply() -> None:
        torch.mm(matrix, matrix)
        if gpu_id >= 0:
            torch.cuda.synchronize(gpu_id)

    return 2 * size**3 * turns_per_second(multiply, seconds)


def turns_per_second(turn: Callable[[], Any], seconds: float) -> float:
    """How often something can be done a second, measured for so long after a first turn."""
    turn()
    started, turns = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds:
        turn()
        turns += 1
    return turns / spent


def _cpu() -> Device:
    return Device(-1, f"CPU ({os.cpu_count()} cores)")


def _gpu(gpu_id: int) -> Device:
    import torch

    return Device(gpu_id, f"GPU {gpu_id} ({torch.cuda.get_device_name(gpu_id)})")
