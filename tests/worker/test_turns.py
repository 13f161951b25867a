from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import clock, documents
from core.dsl.component import Batch, Event, Run
from core.dsl.language import compile as compiler
from core.dsl.language.course import Leg, Numbers
from core.errors import JobFailed
from core.worker.executor import Executor
from core.worker.flight import Parts
from core.worker.turns import Turns
from tests import slowness, waiting
from tests.dsl import rig
from tests.dsl.rig import Worker
from tests.worker.test_executor import ON_MESSAGE, Bus

pytestmark = pytest.mark.anyio


async def test_jobs_take_turns_in_the_order_in_which_they_came() -> None:
    shared, order = Turns(seconds=0.0), []

    async def work(name: str) -> None:
        for _ in range(3):
            await shared.next(name)
            order.append(name)

    await asyncio.gather(work("a"), work("b"), work("c"))
    assert "".join(order) == "abcabcabc"


async def test_who_comes_within_the_turn_of_another_waits_behind_those_that_wait() -> None:
    shared, order = Turns(seconds=60.0), []

    async def work(name: str) -> None:
        await shared.next(name)
        order.append(name)
        if name == "a":
            tasks.append(asyncio.ensure_future(work("late")))
            await shared.next(name)
            order.append("a again")

    tasks = [asyncio.ensure_future(work(name)) for name in "abc"]
    with anyio.fail_after(5):
        await asyncio.gather(*tasks)
        await tasks[-1]
    assert order == ["a", "a again", "b", "c", "late"]


async def test_between_two_turns_the_loop_hears_others() -> None:
    shared, heard = Turns(seconds=0.0), []

    async def work() -> None:
        for _ in range(5):
            await shared.next(asyncio.current_task())
            heard.append("turn")

    def listen() -> None:
        heard.append("socket")
        if len(heard) < 10:
            asyncio.get_running_loop().call_soon(listen)

    listen()
    await asyncio.gather(work(), work())
    assert "turnturn" not in "".join(heard[:8])


async def test_a_turn_that_its_job_gave_up_goes_to_the_next() -> None:
    shared = Turns(seconds=0.0)
    first, second = (asyncio.ensure_future(shared.next(name)) for name in "ab")
    await waiting.turn()  # both have asked, and the first turn is given in the next round
    first.cancel()
    with anyio.fail_after(5):
        await second
    assert first.cancelled()


def test_a_batch_in_parts_is_settled_once_with_the_first_error() -> None:
    told: list[Any] = []
    parts = Parts(told.append)
    first, second = parts.part(), parts.part()
    parts.close()
    fault = JobFailed("no")
    second(fault)
    assert told == []
    first(None)
    assert told == [fault]


async def test_a_large_batch_of_slow_events_goes_through_in_parts_in_order_and_settles_once(worker: Worker) -> None:
    sizes: list[int] = []

    def slow(events: Iterable[Event], run: Run, numbers: Numbers) -> tuple[list[Event], Numbers]:
        out = []
        for event in events:
            _spin(0.001)
            out.append(event)
        sizes.append(len(out))
        return out, numbers

    job = rig.job({"worker-channel": "c"}, {"print": "STDOUT"})
    executor = Executor(replace(job, legs=(Leg(slow),)), worker.env(), on_run=worker.reports.append)
    settled: list[BaseException | None] = []
    await worker.env("sender").channel("c").put(Batch([{"n": n} for n in range(200)], settled.append))
    task = asyncio.create_task(executor.run())
    await waiting.until(lambda: settled)
    assert worker.printed == [f'{{"n":{n}}}' for n in range(200)]
    assert max(sizes) <= 3, "a slice has two milliseconds"
    assert settled == [None]
    await executor.drain(1)
    await task


def _spin(seconds: float) -> None:
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        pass


async def test_a_part_that_fails_fails_the_whole_batch(worker: Worker) -> None:
    def picky(events: list[Event], run: Run) -> list[Event]:
        if any(event["n"] == 150 for event in events):
            raise ValueError("not 150")
        return rig.pass_on(events, run)

    executor = worker.executor({"worker-channel": "c"}, {"print": "STDOUT"}, picky)
    settled: list[BaseException | None] = []
    await worker.env("sender").channel("c").put(Batch([{"n": n} for n in range(200)], settled.append))
    with anyio.fail_after(5), pytest.raises(JobFailed, match="not 150"):
        await executor.run()
    (error,) = settled
    assert isinstance(error, ValueError)


async def test_slow_runs_of_messages_let_others_have_their_turn_and_keep_their_order(worker: Worker) -> None:
    def slow(events: list[Event], run: Run) -> list[Event]:
        until = asyncio.get_running_loop().time() + 0.004
        while asyncio.get_running_loop().time() < until:
            pass
        return rig.pass_on(events, run)

    executor, bus = worker.executor(ON_MESSAGE, {"message": {}}, slow), Bus()
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    for number in range(30):
        executor.deliver(bus.delivery(number, who=str(number)))
    assert len(bus.settled) < 5, "the rest waits for its turn"
    seen = len(bus.settled)
    for _ in range(6):
        await waiting.turn()  # rounds are what turns are counted in
    assert len(bus.settled) - seen <= 3, "one at a time"
    await waiting.until(lambda: len(bus.settled) == 30)
    assert list(bus.settled) == list(range(30))
    await executor.drain(1)
    await task


async def test_slow_runs_that_wait_when_the_job_is_drained_go_to_someone_else(worker: Worker) -> None:
    executor, bus = worker.executor(ON_MESSAGE, {"message": {}}), Bus()
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    executor._run_ns = 10_000_000
    for number in range(5):
        executor.deliver(bus.delivery(number, who=str(number)))
    await executor.drain(1)
    await task
    left = [delivery.id for delivery in executor.unsettled(failed=False)]
    assert [*bus.settled, *left] == [0, 1, 2, 3, 4]
    assert left


HEAVY = """
name: heavy
input: {files: {path: SOURCE, mode: batch, json: true}}
actions: [{script: "local x = 0; for i = 1, 20000 do x = x + i end; event.x = x"}]
output: {discard: {}}
"""


async def test_a_message_is_answered_within_a_few_slices_beside_jobs_that_use_all_of_the_processor(
    worker: Worker, tmp_path: Path
) -> None:
    """Measured in processor time of this thread, which other processes of the machine do not change."""
    source = tmp_path / "in.jsonl"
    source.write_bytes(b'{"n":1}\n' * 20_000)
    shared = Turns()
    heavy = []
    for number in range(4):
        env = worker.env(f"heavy{number}")
        job = compiler.compile_job(documents.load(HEAVY.replace("SOURCE", str(source)))[0].data, env)
        heavy.append(Executor(job, env, on_run=worker.reports.append, turns=shared))
    handler, bus = worker.executor(ON_MESSAGE, {"message": {}}), Bus()
    tasks = [asyncio.create_task(executor.run()) for executor in (*heavy, handler)]
    await waiting.until(lambda: all(executor.metrics.events_in > 10 for executor in heavy))
    waits = []
    for number in range(20):
        asked = clock.processor()
        await waiting.pause(0.001)  # the message is on its way: whoever is at work now goes on
        handler.deliver(bus.delivery(number, who="alice"))
        # At once, or in a turn of its own where a busy machine has made the runs before it look slow.
        await waiting.until(lambda number=number: number in bus.settled)
        waits.append(clock.processor() - asked)
        assert bus.settled[number] is None
    assert sorted(waits)[10] < 0.010 * slowness.factor(), "four jobs with batches of hundreds of milliseconds each"
    assert max(executor.metrics.events_in for executor in heavy) < 3 * min(e.metrics.events_in for e in heavy)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


FANS_OUT = "local r = {} for i = 1, 400 do r[i] = {b = i} end return r"
SPINS = "local x = 0 for i = 1, 60000 do x = x + i end event.x = x"
EXPANDS = {"expand": {"input-field": "n", "events": {"output-field": "q"}}}
ONE = {"event": json.dumps({"n": ",".join(["b"] * 400)}), "json": True}


@pytest.mark.parametrize(
    "actions, events",
    [
        ([{"script": FANS_OUT}, {"script": SPINS}], 400),
        ([EXPANDS, {"script": SPINS}], 400),
        ([EXPANDS, {"add": {"condition": "math.floor(1.5) == 1", "output-fields": {"a": 1}}}, {"script": SPINS}], 400),
        ([{"script": SPINS}] * 300, 1),
    ],
    ids=["script", "expand", "condition", "many actions"],
)
@pytest.mark.parametrize("message", [False, True], ids=["once", "message"])
async def test_what_actions_make_of_one_event_does_not_keep_the_loop(
    worker: Worker, actions: list[dict[str, Any]], events: int, message: bool
) -> None:
    """Hundreds of milliseconds of scripts, for one event of an ordinary document. Counted in rounds of the loop."""
    trigger = {"trigger": {"message": {"filter-kind": "user"}}} if message else {}
    document = {"name": "fan", "input": {"echo": ONE | trigger}, "actions": actions, "output": {"discard": {}}}
    executor = Executor(compiler.compile_job(document, worker.env()), worker.env(), on_run=worker.reports.append)
    bus, rounds, begun = Bus(), 0, 0
    task = asyncio.create_task(executor.run())
    if message:
        await waiting.until(lambda: executor._open)
        executor.deliver(bus.delivery(1, who="alice"))
    with anyio.fail_after(60):
        while not worker.reports:
            await waiting.turn()  # rounds are what is counted
            rounds += 1
            begun += executor.metrics.events_in
    assert rounds > 30
    assert message or begun > 20, "what is under way is counted, also before its output has anything"
    assert (worker.reports[0].events_in, worker.reports[0].events_out) == (1, events)
    await executor.drain(1)
    await task
