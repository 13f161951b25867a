from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dsl.component import Batch
from core.worker.channels import Channels, Driver
from tests import waiting

pytestmark = pytest.mark.anyio


def batch(number: int, settled: list[Any] | None = None) -> Batch:
    return Batch([{"n": number}], lambda error: settled.append((number, error)) if settled is not None else None)


async def test_batches_arrive_in_order_and_the_consumer_settles_them() -> None:
    channels, settled = Channels(), []
    sender, reader = channels.bind("c", "a"), channels.bind("c", "b")
    for number in range(3):
        await sender.put(batch(number, settled))
    got = [await reader.get() for _ in range(3)]
    assert [b.events for b in got] == [[{"n": 0}], [{"n": 1}], [{"n": 2}]]
    assert settled == []
    got[1].settle(None)
    assert settled == [(1, None)]


async def test_a_sender_waits_while_the_channel_is_full_also_before_anyone_reads() -> None:
    channels = Channels(capacity=2)
    sender, reader = channels.bind("c", "a"), channels.bind("c", "b")
    await sender.put(batch(0))
    await sender.put(batch(1))
    third = asyncio.create_task(sender.put(batch(2)))
    await waiting.begun(third)
    assert not third.done()
    await reader.get()
    with anyio.fail_after(5):
        await third
    assert channels.depths() == {"c": 2}


async def test_competing_consumers_share_the_batches() -> None:
    channels = Channels()
    one, two = channels.bind("c", "one"), channels.bind("c", "two")
    readers = [asyncio.create_task(one.get()), asyncio.create_task(two.get())]
    await waiting.begun(*readers)
    sender = channels.bind("c", "s")
    await sender.put(batch(1))
    await sender.put(batch(2))
    with anyio.fail_after(5):
        got = [await task for task in readers]
    assert sorted(b.events[0]["n"] for b in got) == [1, 2]


async def test_a_get_that_is_cancelled_takes_nothing() -> None:
    channels = Channels()
    reader, sender = channels.bind("c", "r"), channels.bind("c", "s")
    task = asyncio.create_task(reader.get())
    await waiting.begun(task)
    await sender.put(batch(1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with anyio.fail_after(5):
        assert (await reader.get()).events == [{"n": 1}]


async def test_clone_gives_every_reader_a_copy_and_settles_when_all_have() -> None:
    channels, settled = Channels(), []
    channels.configure("c", Driver.CLONE, readers=2)
    one, two = channels.bind("c", "one"), channels.bind("c", "two")
    first, second = asyncio.create_task(one.get()), asyncio.create_task(two.get())
    await waiting.begun(first, second)
    await channels.bind("c", "s").put(Batch([{"deep": {"list": [1]}}], settled.append))
    with anyio.fail_after(5):
        a, b = await first, await second
    a.events[0]["deep"]["list"].append(2)
    assert b.events == [{"deep": {"list": [1]}}]
    a.settle(None)
    assert settled == []
    fault = OSError("x")
    b.settle(fault)
    assert settled == [fault]


async def test_clone_waits_for_the_readers_that_are_expected() -> None:
    channels = Channels()
    channels.configure("c", "clone", readers=2)
    one = channels.bind("c", "one")
    sending = asyncio.create_task(channels.bind("c", "s").put(batch(1)))
    reading = asyncio.create_task(one.get())
    await waiting.begun(sending, reading)
    assert not sending.done()
    other = asyncio.create_task(channels.bind("c", "two").get())
    with anyio.fail_after(5):
        await sending
        assert (await reading).events == (await other).events == [{"n": 1}]


async def test_what_only_a_removed_reader_would_have_read_is_given_up() -> None:
    channels, settled = Channels(capacity=1), []
    channels.configure("c", Driver.CLONE, readers=2)
    one, two = channels.bind("c", "one"), channels.bind("c", "two")
    tasks = [asyncio.create_task(one.get()), asyncio.create_task(two.get())]
    await waiting.begun(*tasks)
    sender = channels.bind("c", "s")
    await sender.put(batch(1, settled))
    for task in tasks:
        (await task).settle(None)
    await sender.put(batch(2, settled))
    blocked = asyncio.create_task(sender.put(batch(3, settled)))  # "two" does not read: its queue is full
    (await one.get()).settle(None)
    await waiting.begun(blocked)
    assert settled == [(1, None)]
    channels.configure("c", Driver.CLONE, readers=1)
    channels.detach("two")
    with anyio.fail_after(5):
        await blocked
        (await one.get()).settle(None)
    assert settled == [(1, None), (2, None), (3, None)]


@pytest.mark.anyio
async def test_configuring_again_keeps_what_is_in_the_channel() -> None:
    channels = Channels()
    await channels.bind("c", "s").put(batch(1))
    channels.configure("c")
    assert channels.depths() == {"c": 1}
    channels.remove("c")
    assert channels.depths() == {}


@given(senders=st.integers(1, 3), readers=st.integers(1, 3), each=st.integers(0, 20), capacity=st.integers(1, 4))
def test_every_batch_is_received_exactly_once(senders: int, readers: int, each: int, capacity: int) -> None:
    async def play() -> None:
        channels = Channels(capacity)
        got: list[int] = []
        settled: list[int] = []

        async def send(base: int) -> None:
            end = channels.bind("c", f"s{base}")
            for number in range(each):
                n = base * 100 + number
                await end.put(Batch([{"n": n}], lambda error, n=n: settled.append(n)))  # type: ignore[misc]

        async def read(name: str) -> None:
            end = channels.bind("c", name)
            while True:
                received = await end.get()
                got.append(received.events[0]["n"])
                received.settle(None)

        reading = [asyncio.create_task(read(f"r{n}")) for n in range(readers)]
        await asyncio.gather(*(send(n) for n in range(senders)))
        await waiting.until(lambda: len(got) == senders * each, every=0)
        for task in reading:
            task.cancel()
        await asyncio.wait(reading)
        assert sorted(got) == sorted(settled) == sorted(n * 100 + m for n in range(senders) for m in range(each))

    asyncio.run(play())
