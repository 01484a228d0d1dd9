"""Texts of requests that arrive together are read together; too many are refused, not hoarded."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from spacy.language import Language
from spacy.tokens import Doc

from gmb_ner.pipeline.entities import confidence

TEXT = 50  # characters that take as long to read as there is to do for every text


class BusyError(Exception):
    """So much is waiting already that no more is taken."""


@dataclass(frozen=True)
class Entity:
    """An entity by its characters (end exclusive); confidence is None where none is known."""

    start: int
    end: int
    label: str
    text: str
    confidence: float | None


@dataclass
class _Waiting:
    text: str
    found: "asyncio.Future[list[Entity]]" = field(repr=False)


class Batcher:
    """Reads texts by a pipeline in one thread, in the order in which they came.

    batch_size: so many texts are read together. most_waiting: characters that wait at a time, each
        text with `TEXT` more; a request that would exceed them raises BusyError, unless nothing
        waits.
    linger: seconds to wait for others when a text comes alone.
    read: is told how many texts each batch has.
    """

    def __init__(
        self,
        nlp: Language,
        *,
        batch_size: int = 32,
        most_waiting: int = 1_000_000,
        linger: float = 0.002,
        read: Callable[[int], None] = lambda texts: None,
    ) -> None:
        self.nlp, self.batch_size, self.most_waiting = nlp, batch_size, most_waiting
        self.linger, self.read = linger, read
        self.waiting = 0  # characters
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pipeline")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to read; what comes waits until then."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Read what is waiting, and end."""
        await self._queue.join()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    async def entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The entities of each text. Raises BusyError; and what the pipeline raises."""
        size = sum(map(_cost, texts))
        if self.waiting and self.waiting + size > self.most_waiting:
            raise BusyError
        loop = asyncio.get_running_loop()
        entered = [_Waiting(text, loop.create_future()) for text in texts]
        for one in entered:
            self.waiting += _cost(one.text)
            self._queue.put_nowait(one)
        try:
            return list(await asyncio.gather(*(one.found for one in entered)))
        finally:
            for one in entered:  # of a request that was given up
                one.found.cancel()

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            if self._queue.empty():
                await asyncio.sleep(self.linger)
            while len(batch) < self.batch_size and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            wanted = [one for one in batch if not one.found.done()]
            try:
                if wanted:
                    self.read(len(wanted))
                    await self._read(wanted)
            finally:
                for one in batch:
                    self.waiting -= _cost(one.text)
                    self._queue.task_done()

    async def _read(self, wanted: Sequence[_Waiting]) -> None:
        texts = [one.text for one in wanted]
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._thread, self._find, texts)
        except Exception as error:  # whatever it is, those who wait have to hear of it
            if len(wanted) > 1:  # and only those whose text it was
                for one in wanted:
                    await self._read([one])
            elif not wanted[0].found.done():
                wanted[0].found.set_exception(error)
            return
        for one, entities in zip(wanted, found, strict=True):
            if not one.found.done():
                one.found.set_result(entities)

    def _find(self, texts: list[str]) -> list[list[Entity]]:
        return [_entities(doc) for doc in self.nlp.pipe(texts, batch_size=self.batch_size)]


def _cost(text: str) -> int:
    return len(text) + TEXT


def _entities(doc: Doc) -> list[Entity]:
    return [
        Entity(ent.start_char, ent.end_char, ent.label_, ent.text, confidence(ent))
        for ent in doc.ents
    ]
