"""How a service answers under load: clients that ask one sentence after the other."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Load:
    """What so many clients met.

    clients: asking at the same time. seconds: that it lasted. latencies: of each answer, in
    seconds. refused: answers with another status than 200. memory: resident bytes of the service
    in even steps of time, empty where the system does not tell.
    """

    clients: int
    seconds: float
    latencies: list[float]
    refused: int
    memory: list[int]

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def latency(self, share: float) -> float:
        """The latency in seconds that so large a share of the answers does not exceed."""
        return float(np.quantile(self.latencies, share))


async def load(
    address: str, texts: Sequence[str], *, clients: int, seconds: float, pid: int, every: float = 1
) -> Load:
    """Ask for so many seconds; each client waits for its answer before it asks again.

    address: of the service. pid: of its process, for its memory, looked at `every` so many seconds.
    """
    import httpx

    latencies: list[float] = []
    memory: list[int] = []
    refused = 0
    end = time.perf_counter() + seconds

    async def ask(client: httpx.AsyncClient, start: int) -> None:
        nonlocal refused
        for text in cycle([*texts[start:], *texts[:start]]):
            asked = time.perf_counter()
            if asked >= end:
                return
            response = await client.post("/v1/entities", json={"text": text})
            if response.status_code == 200:
                latencies.append(time.perf_counter() - asked)
            else:
                refused += 1

    async def watch() -> None:
        while time.perf_counter() < end:
            if (resident := resident_bytes(pid)) is not None:
                memory.append(resident)
            await asyncio.sleep(every)

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=60) as client:
        starts = [i * len(texts) // clients for i in range(clients)]
        await asyncio.gather(watch(), *(ask(client, start) for start in starts))
    return Load(clients, seconds, latencies, refused, memory)


def resident_bytes(pid: int) -> int | None:
    """The memory that a process has now; None where the system does not tell (not Linux)."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        return None
    for line in status.read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None
