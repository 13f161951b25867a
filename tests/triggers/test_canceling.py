"""Runs that are canceled: where their message is decides how, and exactly one end comes of every race."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core import errors
from core.bus import base
from core.model import invocation
from core.model.canceling import Stopped
from core.model.principal import Caller
from core.triggers import canceling
from tests import figures, waiting
from tests.dsl import web
from tests.engines import ADMIN, USER, engine_on
from tests.triggers.rig import JOB, Rig, path, response

pytestmark = pytest.mark.anyio
GROUP = ("tenant-a", JOB)
Answer = Callable[[], Awaitable[Any]]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with engine_on(tmp_path / "home", workers=0, egress_allow=("127.0.0.0/8",)) as engine:
        yield Rig(engine)


class Replica:
    """One that takes messages, on a worker that the test answers for."""

    def __init__(self, window: int = 64) -> None:
        self.workload, self.worker, self.window = f"tenant-a/{JOB}#0", "w", window
        self.outstanding: dict[int, base.Delivery] = {}

    def send(self, delivery: base.Delivery) -> None:
        """Take it, and say nothing."""


def hold(rig: Rig, answer: Answer, window: int = 64) -> Replica:
    """Attach a replica whose worker answers like this when it is asked to end a run."""

    async def ask(name: str, arguments: Any) -> Any:
        assert name == "cancel" and arguments[0] == replica.workload
        return await answer()

    replica = Replica(window)
    rig.engine.bus.attach(GROUP, replica)
    rig.engine.bus.reach(replica.worker, ask)
    return replica


async def stopped() -> Stopped:
    return Stopped.STOPPED


async def cancel(rig: Rig, record: dict[str, Any], caller: Caller = ADMIN, **more: Any) -> dict[str, Any]:
    arguments = {"invocation_id": record["invocation_id"], **more}
    with anyio.fail_after(30):
        return await rig.engine.call("trigger_invocation_cancel", arguments, caller)


async def test_a_message_that_nobody_has_taken_is_withdrawn_and_the_run_ends_at_once(rig: Rig) -> None:
    await rig.publish(response_timeout_seconds=600)
    record = await rig.invoke()
    waiter = asyncio.create_task(rig.get(record, wait_seconds=60))
    await waiting.begun(waiter)
    ended = await cancel(rig, record, reason="the wrong environment")
    assert (ended["state"], path(ended)) == ("canceled", ["accepted", "dispatched", "cancel_requested", "canceled"])
    result = ended["result"]
    assert (result["canceled_by"], result["reason"], result["confirmed"]) == ("alice", "the wrong environment", True)
    assert "nothing was done" in result["hint"]
    assert await waiter == ended == await rig.get(record)
    late = hold(rig, stopped)
    assert not late.outstanding, "it is delivered to nobody"
    assert await cancel(rig, record) == ended, "once more changes nothing"
    listed = await rig.engine.call("trigger_invocation_list", {"state": "canceled"}, ADMIN)
    assert [one["invocation_id"] for one in listed["items"]] == [record["invocation_id"]]


async def test_who_canceled_is_in_the_audit_log_and_in_a_message(rig: Rig) -> None:
    await rig.publish()
    record = await rig.invoke(USER)
    await cancel(rig, record, USER, reason="enough")
    (entry,) = (await rig.engine.call("audit_list", {"operation": "trigger_invocation_cancel"}, ADMIN))["items"]
    assert (entry["username"], entry["reason"], entry["target"]) == (
        "bob",
        "enough",
        f"tenant-a/{record['invocation_id']}",
    )
    found = await waiting.until(
        lambda: rig.engine.call("message_search", {"type": "invocation-canceled"}, ADMIN), lambda found: found["items"]
    )
    told = found["items"][0]["message_data"]
    assert (told["invocation_id"], told["by"], told["reason"]) == (record["invocation_id"], "bob", "enough")


async def test_a_worker_that_has_the_message_confirms_and_what_it_says_later_is_an_event(rig: Rig) -> None:
    await rig.publish()
    hold(rig, stopped)
    record = await rig.invoke()
    ended = await cancel(rig, record)
    assert (ended["state"], ended["result"]["confirmed"]) == ("canceled", True)
    await rig.say(response(record))
    after = await rig.get(record)
    assert path(after) == [*path(ended), "response_refused"]
    assert {**after, "events": None} == {**ended, "events": None}


@pytest.mark.parametrize("answer", ["silence", "shared", "nonsense", "an older worker"])
async def test_a_run_that_no_worker_confirms_ends_unconfirmed_and_its_message_comes_to_nobody_again(
    rig: Rig, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canceling, "CONFIRM_SECONDS", 0.2)

    async def say() -> Any:
        if answer == "silence":
            await asyncio.Event().wait()
        if answer == "an older worker":
            raise errors.NotFound("A worker does not know the call cancel.")
        return answer

    await rig.publish()
    replica = hold(rig, say)
    record = await rig.invoke()
    ended = await cancel(rig, record)
    assert (ended["state"], ended["result"]["confirmed"]) == ("canceled", False)
    assert "may go on" in ended["result"]["hint"]
    assert replica.outstanding
    rig.engine.bus.detach(GROUP, replica, died=True)
    assert not hold(rig, stopped).outstanding


async def test_a_worker_that_dies_while_it_is_asked_does_not_bring_the_run_back(rig: Rig) -> None:
    asked = asyncio.Event()

    async def die() -> Any:
        asked.set()
        await asyncio.Event().wait()

    await rig.publish()
    replica = hold(rig, die)
    record = await rig.invoke()
    ending = asyncio.create_task(cancel(rig, record))
    with anyio.fail_after(10):
        await asked.wait()
    rig.engine.bus.detach(GROUP, replica, died=True)
    other = hold(rig, stopped)
    assert not other.outstanding
    await rig.say(response(record))
    assert (await rig.get(record))["state"] == "succeeded", "an answer that came before the end is one"
    rig.engine.bus.reach("w", None)
    ending.cancel()


async def test_who_asks_and_goes_away_has_asked(rig: Rig) -> None:
    gate = asyncio.Event()

    async def later() -> Stopped:
        await gate.wait()
        return Stopped.STOPPED

    await rig.publish()
    hold(rig, later)
    record = await rig.invoke()
    ending = asyncio.create_task(cancel(rig, record))
    await waiting.until(lambda: rig.get(record), lambda record: "cancel_requested" in path(record))
    ending.cancel()
    second = asyncio.create_task(cancel(rig, record))
    await waiting.begun(second)
    gate.set()
    assert (await second)["state"] == "canceled"
    assert path(await rig.get(record)).count("cancel_requested") == 1


async def test_a_wish_that_its_engine_did_not_live_to_fulfil_is_fulfilled_by_the_next(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def never() -> Any:
        asked.set()
        await asyncio.Event().wait()

    async with engine_on(tmp_path / "home", workers=0) as engine:
        before = Rig(engine)
        await before.publish(response_timeout_seconds=600)
        hold(before, never)
        record = await before.invoke()
        ending = asyncio.create_task(cancel(before, record))
        with anyio.fail_after(10):
            await asked.wait()
    with pytest.raises(asyncio.CancelledError):
        await ending
    async with engine_on(tmp_path / "home", workers=0) as engine:
        after = Rig(engine)
        with anyio.fail_after(10):
            ended = await after.get(record, wait_seconds=10)
        assert (ended["state"], ended["result"]["confirmed"]) == ("canceled", False)
        engine.bus.declare(GROUP, base.Filter())
        assert not hold(after, stopped).outstanding


async def test_only_who_started_a_run_and_admins_may_end_it(rig: Rig) -> None:
    await rig.publish()
    of_alice, of_bob = await rig.invoke(), await rig.invoke(USER)
    with pytest.raises(errors.Forbidden, match="did not start this run"):
        await cancel(rig, of_alice, USER)
    stranger = replace(USER, principal=replace(USER.principal, tenants=("tenant-b",)), tenant="tenant-b")
    with pytest.raises(errors.NotFound):
        await cancel(rig, of_bob, stranger)
    for scope, refused in (("trigger:other", errors.NotFound), ("toolset:messages", errors.Forbidden)):
        with pytest.raises(refused):
            await cancel(rig, of_bob, replace(USER, principal=replace(USER.principal, scopes=(scope,))))
    with pytest.raises(errors.Forbidden, match="may not end it"):
        reads = ("read", "trigger:other")
        await cancel(rig, of_bob, replace(USER, principal=replace(USER.principal, scopes=reads)))
    scoped = replace(USER, principal=replace(USER.principal, scopes=("trigger:smoke_trigger",)))
    assert (await cancel(rig, of_bob, scoped))["state"] == "canceled"
    assert (await cancel(rig, of_alice))["state"] == "canceled"


async def test_the_callback_of_a_run_tells_that_it_was_canceled(rig: Rig) -> None:
    async with web.serve(web.answer(204)) as site:
        await rig.publish()
        record = await rig.invoke(callback={"url": site.url()})
        await cancel(rig, record)
        await waiting.until(lambda: len(site.requests) == 2)
    states = {orjson.loads(request.body)["invocation"]["state"] for request in site.requests}
    assert states == {"dispatched", "canceled"}


async def test_explain_says_who_canceled_and_why(rig: Rig) -> None:
    await rig.publish()
    record = await rig.invoke()
    await cancel(rig, record, reason="the wrong environment")
    found = await rig.engine.call("explain", {"kind": "invocation", "id": record["invocation_id"]}, ADMIN)
    assert "alice wanted its end (the wrong environment)" in found["summary"]
    assert any("alice wanted its end" in cause["what"] for cause in found["because"])


@pytest.mark.parametrize("races", [200, pytest.param(1000, marks=pytest.mark.soak)])
async def test_of_many_races_between_answer_and_cancellation_each_has_one_end(
    rig: Rig, races: int, record_property: figures.Recorder
) -> None:
    """Half of the messages are with a worker, half are not; answers and wishes come within a few rounds of the loop."""
    chance = random.Random(12)

    async def after_some_rounds(then: Callable[[], Awaitable[Any]]) -> Any:
        for _ in range(chance.randrange(12)):
            await waiting.turn()  # which of the two comes first in which round is what is tried
        return await then()

    def asked(record: dict[str, Any]) -> bool:
        parsed = invocation.parse_id(record["invocation_id"])
        return parsed is not None and not rig.engine.pending.owes(parsed[0])

    async def answers(record: dict[str, Any]) -> None:
        if chance.random() < 0.7:  # the wish takes a commit of its own: only what comes this late meets the end of it
            await waiting.until(lambda: asked(record), every=0)
            await after_some_rounds(waiting.turn)
        rig.collect(response(record))
        rig.engine.traffic.flush()

    await rig.publish(response_timeout_seconds=600)
    hold(rig, lambda: after_some_rounds(stopped), window=races // 2)
    runs = await asyncio.gather(*(rig.invoke() for _ in range(races)))
    with anyio.fail_after(60):
        for start in range(0, len(runs), 50):
            some = runs[start : start + 50]
            wishes = [after_some_rounds(lambda run=run: cancel(rig, run)) for run in some]
            await asyncio.gather(*wishes, *(after_some_rounds(lambda run=run: answers(run)) for run in some))
    ended = [await rig.get(run) for run in runs]
    for one in ended:
        assert [event for event in path(one) if event in ("succeeded", "canceled")] == [one["state"]]
    states = [one["state"] for one in ended]
    figures.record(record_property, rounds=races)
    assert min(states.count("succeeded"), states.count("canceled")) > races // 20, "both sides win now and then"
