"""How far a job of annotation is: a bar on a terminal, lines elsewhere."""

import time

from tqdm import tqdm
from wasabi import msg

INTERVAL = 60.0  # seconds from line to line, at least


class Progress:
    """Counts the bytes that were read and the words that were annotated, and tells of them.

    size: bytes to read.
    """

    def __init__(self, size: int) -> None:
        self._bar = tqdm(total=size, unit="B", unit_scale=True, disable=None)
        self._size, self._bytes, self._words = size, 0, 0
        self._started = self._told = time.perf_counter()
        self._bytes_told = 0

    @property
    def speed(self) -> float:
        """Words a second, since the beginning."""
        return self._words / (time.perf_counter() - self._started)

    def read(self, count: int) -> None:
        """Add bytes that were read."""
        self._bytes += count
        self._bar.update(count)

    def annotated(self, words: int) -> None:
        """Add the words of a shard."""
        self._words += words
        self._bar.set_postfix_str(f"{self.speed:,.0f} words/s")
        if self._bar.disable and time.perf_counter() - self._told >= INTERVAL:
            self._tell()

    def _tell(self) -> None:
        now = time.perf_counter()
        line = tqdm.format_meter(
            self._bytes,
            self._size,
            now - self._started,
            ncols=0,
            unit="B",
            unit_scale=True,
            # Since the last line: what an earlier run has annotated is read in no time.
            rate=(self._bytes - self._bytes_told) / (now - self._told),
            postfix=f"{self.speed:,.0f} words/s",
        )
        msg.info(line.strip())
        self._told, self._bytes_told = now, self._bytes

    def close(self) -> None:
        """Leave the terminal to others."""
        self._bar.close()
