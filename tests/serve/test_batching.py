"""Batches, order, refusal instead of a growing queue, errors and a clean end."""

import asyncio

import pytest

from gmb_ner.serve.batching import Batcher, BusyError


def run(nlp, work, **settings):
    sizes = []

    async def whole():
        batcher = Batcher(nlp, read=sizes.append, **settings)
        await batcher.start()
        try:
            return await work(batcher)
        finally:
            await batcher.stop()
            assert batcher.waiting == 0

    return asyncio.run(whole()), sizes


def test_requests_that_come_together_are_read_together(pipeline):
    async def work(batcher):
        requests = [batcher.entities([f"{name} is wet", "dry"]) for name in ("Oslo", "Nairobi")]
        return await asyncio.gather(*requests)

    answers, sizes = run(pipeline, work, batch_size=3, linger=0.05)
    found = [[[entity.text for entity in text] for text in request] for request in answers]
    assert found == [[["Oslo"], []], [["Nairobi"], []]]
    assert sizes == [3, 1]


def test_too_much_is_refused_and_later_taken(pipeline):
    async def work(batcher):
        large = asyncio.create_task(batcher.entities(["Oslo " * 50]))  # nothing waits: taken
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await batcher.entities(["Oslo"])
        await large
        return await batcher.entities(["Oslo"])

    ((found,), _) = run(pipeline, work, most_waiting=100, linger=0.05)
    assert [entity.label for entity in found] == ["geo"]


def test_short_texts_wait_too(pipeline):
    async def work(batcher):
        many = asyncio.create_task(batcher.entities([""] * 10))
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await batcher.entities([""])
        await many

    run(pipeline, work, most_waiting=500, linger=0.05)


class Fragile:
    def __init__(self, pipeline):
        self.pipeline = pipeline

    def pipe(self, texts, batch_size):
        if "bad" in texts:
            raise ValueError("cannot read this")
        return self.pipeline.pipe(texts, batch_size=batch_size)


def test_an_error_reaches_those_who_wait_and_no_others(pipeline):
    async def work(batcher):
        with pytest.raises(ValueError, match="cannot read this"):
            await batcher.entities(["bad"])
        return await batcher.entities(["Oslo"])

    ((found,), _) = run(Fragile(pipeline), work)
    assert found[0].text == "Oslo"


def test_an_error_of_one_text_does_not_reach_those_that_were_read_with_it(pipeline):
    async def work(batcher):
        asked = (batcher.entities([text]) for text in ("Oslo", "bad", "Nairobi"))
        return await asyncio.gather(*asked, return_exceptions=True)

    ((oslo, error, nairobi), sizes) = run(Fragile(pipeline), work, linger=0.05)
    assert [found[0].text for (found,) in (oslo, nairobi)] == ["Oslo", "Nairobi"]
    assert isinstance(error, ValueError)
    assert sizes == [3]


def test_what_nobody_waits_for_any_more_is_not_read(pipeline):
    async def work(batcher):
        given_up = asyncio.create_task(batcher.entities(["Oslo"]))
        await asyncio.sleep(0)
        given_up.cancel()
        return await batcher.entities(["Nairobi"])

    _, sizes = run(pipeline, work, linger=0.05)
    assert sum(sizes) == 1


def test_what_is_waiting_is_read_before_the_end(pipeline):
    async def whole():
        batcher = Batcher(pipeline, batch_size=1)
        await batcher.start()
        asked = [asyncio.create_task(batcher.entities(["Oslo"])) for _ in range(20)]
        await asyncio.sleep(0)
        await batcher.stop()
        return await asyncio.gather(*asked)

    assert len(asyncio.run(whole())) == 20
