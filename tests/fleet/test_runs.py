"""Runs of jobs as their workers tell of them: which have a row, which share one, and what ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import clock, errors
from core.bus.base import Delivery
from core.engine import Engine
from core.fleet.left_out import RUN_UNDER_WAY, STOOD_STILL, LeftOut
from core.model import frames
from core.model.canceling import Stopped
from core.model.states import RunState
from core.model.workload import WorkloadRow
from core.store import job_runs
from core.triggers import canceling
from core.worker.runs import OVERTAKEN
from tests import waiting
from tests.engines import ADMIN, engine_on
from tests.triggers.rig import JOB, Rig
from tests.triggers.test_canceling import Replica

pytestmark = pytest.mark.anyio
SECOND = clock.NANOSECONDS
NOW = clock.now_ns() // (60 * SECOND) * 60 * SECOND  # the start of a minute
ROW = WorkloadRow("tenant-a/j#0", "tenant-a", "d", "s", "j", "1", 0, "default", "w", "{}", 0)


class Told:
    """An engine, and what a worker tells it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.runs = engine.fleet.runs
        self.at = NOW

    def ended(self, name: str = "", *, trigger: str = "interval", row: WorkloadRow = ROW, **more: Any) -> int:
        """A run, or several, of a second."""
        self.at += SECOND
        told = {"runs": 1, "events_in": 0, "events_out": 0, "errors": 0, "ok": True, "reason": "", **more}
        by = told.pop("by", "")
        frame = frames.Run(row.id, trigger=trigger, started_ns=self.at - SECOND, ended_ns=self.at, run=name, **told)
        return self.runs.ended(row, "w", frame, 0, by)

    def began(self, name: str, *, trigger: str = "interval", delivery: int = 0, row: WorkloadRow = ROW) -> None:
        self.runs.began(row, "w", frames.Began(row.id, name, trigger, self.at, delivery), 0)

    async def listed(self, **arguments: Any) -> list[dict[str, Any]]:
        """As it is told before the counts are written, and after."""
        self.engine.traffic.flush()
        await self.engine.database.write(lambda db: None)  # writes are done in order
        before = (await self.engine.call("run_list", arguments, ADMIN))["items"]
        await self.runs.settled()
        after = (await self.engine.call("run_list", arguments, ADMIN))["items"]
        assert before == after
        return list(after)

    async def states(self) -> list[tuple[str, int]]:
        """(state, how many) of all items, the oldest first."""
        return [(one["state"], one.get("count", 1)) for one in reversed(await self.listed())]


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        yield Told(engine)


async def test_runs_in_a_row_that_found_nothing_are_one_item_until_another_one_comes(told: Told) -> None:
    for number in range(5):
        told.ended(f"a-{number}")
    assert await told.states() == [("succeeded", 5)]
    told.ended("a-5", events_in=3, events_out=2, errors=1, skipped=1)
    told.ended("a-6")
    told.ended("a-7", ok=False, reason="no way out")
    told.ended("a-8", ok=False, reason="no way out")
    told.ended("a-9")
    told.ended("a-10")
    assert await told.states() == [
        *(("succeeded", 5), ("succeeded", 1), ("succeeded", 1)),
        *(("failed", 1), ("failed", 1), ("succeeded", 2)),
    ]
    last, *_, first = await told.listed()
    assert (first["started_at"], first["last_started_at"]) == (clock.iso(NOW), clock.iso(NOW + 4 * SECOND))
    assert (first["ended_at"], first["name"], first["cause"]) == (clock.iso(NOW + 5 * SECOND), "a-0", "schedule")
    assert last["count"] == 2
    worked = (await told.listed(state="succeeded"))[-2]
    assert (worked["events_in"], worked["events_out"], worked["refused"]) == (3, 2, 1)
    (one, two) = await told.listed(state="failed", job="j", deployment="d", cause="schedule")
    assert one["reason"] == two["reason"] == "no way out"
    assert await told.listed(job="other") == await told.listed(until=clock.iso(NOW)) == []


async def test_who_asked_for_a_run_and_times_that_had_none_are_on_record(told: Told) -> None:
    told.ended("a-0")
    told.ended("a-1", cause="manual", scheduled_ns=NOW, by="bob")
    told.ended("a-2", cause="schedule", scheduled_ns=NOW + SECOND)
    told.runs.left_out(ROW, "w", LeftOut(RunState.SKIPPED, RUN_UNDER_WAY, 2, NOW, NOW))
    told.runs.left_out(ROW, "w", LeftOut(RunState.MISSED, STOOD_STILL, 3, NOW, NOW + SECOND))
    missed, skipped, due, manual, first = await told.listed()
    assert (manual["cause"], manual["by"], manual["scheduled_for"]) == ("manual", "bob", clock.iso(NOW))
    assert (first["cause"], first["scheduled_for"], due["scheduled_for"]) == ("schedule", None, clock.iso(NOW + SECOND))
    assert (skipped["state"], skipped["count"], skipped["scheduled_for"]) == ("skipped", 2, clock.iso(NOW))
    assert (skipped["reason"], missed["reason"]) == (RUN_UNDER_WAY, STOOD_STILL)
    assert (missed["state"], missed["count"], missed["scheduled_for"]) == ("missed", 3, clock.iso(NOW))
    assert missed["last_started_at"] == clock.iso(NOW + SECOND)


async def test_another_version_of_a_job_does_not_share_the_item_of_the_one_before(told: Told) -> None:
    told.ended("a-0")
    told.ended("b-0", row=WorkloadRow(**{**_fields(ROW), "version": "2"}))
    assert [(one["version"], one.get("count", 1)) for one in await told.listed()] == [("2", 1), ("1", 1)]


def _fields(row: WorkloadRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


async def test_a_long_run_is_there_while_it_is_under_way_and_its_end_takes_its_place(told: Told) -> None:
    told.ended("a-0")
    told.began("a-1")
    assert await told.states() == [("succeeded", 1), ("running", 1)]
    assert [one["events_in"] for one in await told.listed()] == [None, 0]
    told.ended("a-1", events_in=1)
    assert [one["events_in"] for one in await told.listed()] == [1, 0]
    assert await told.states() == [("succeeded", 1), ("succeeded", 1)]
    told.ended("a-2")
    told.began("a-3")
    told.ended("a-3")
    assert await told.states() == [("succeeded", 1), ("succeeded", 1), ("succeeded", 2)], "it found nothing after all"


async def test_of_runs_that_messages_start_failures_have_items_and_all_are_summed_up_per_minute(told: Told) -> None:
    told.ended(trigger="message", runs=40, events_in=40, events_out=40)
    told.ended(trigger="message", runs=10, failed=2, events_in=10, errors=3, refused=3, ok=False, reason="no way out")
    told.ended(trigger="message", runs=3, failed=3, events_in=3, ok=False, reason="no way out")
    told.began("m-9", trigger="message")
    assert await told.states() == [("failed", 5), ("running", 1)]
    told.ended("m-9", trigger="message", events_in=1)
    (failed,) = await told.listed()
    assert (failed["count"], failed["events_in"], failed["refused"], failed["cause"]) == (5, 3, 3, "message")
    found = await told.engine.call("run_list", {"job": "j", "minutes": 24 * 60}, ADMIN)
    sums = {"runs": 54, "failed": 5, "events_in": 54, "events_out": 40, "refused": 3}
    assert found["per_minute"] == [{"at": clock.iso(NOW), **sums}]
    await told.runs.settled()
    assert (await told.engine.call("run_list", {"job": "j", "minutes": 24 * 60}, ADMIN)) == found
    told.ended(trigger="message", runs=1, failed=1, ok=False, reason="another one")
    assert await told.states() == [("failed", 5), ("failed", 1)]


async def test_a_run_ends_with_its_worker_and_what_that_says_later_is_kept_beside(told: Told) -> None:
    told.began("a-1")
    told.runs.worker_gone("another", "its worker was lost")
    assert await told.states() == [("running", 1)]
    told.runs.worker_gone("w", "its worker was lost")
    (lost,) = await told.listed()
    assert (lost["state"], lost["reason"]) == ("failed", "its worker was lost")
    assert (lost["events_in"], lost["events_out"], lost["refused"]) == (None, None, None), "nobody has told it"


async def test_what_an_engine_left_under_way_has_failed_and_its_worker_may_still_say_how_it_went(
    tmp_path: Path,
) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        Told(engine).began("a-1")
        await engine.fleet.runs.settled()
    async with engine_on(tmp_path / "home", workers=0) as engine:
        told = Told(engine)
        (left,) = await told.listed()
        assert (left["state"], left["reason"]) == ("failed", "the engine ended while it was under way")
        told.ended("a-1", events_in=1)
        (same,) = await told.listed()
        assert same == {**left, "late": "succeeded"}


async def test_counts_and_sums_are_written_when_an_engine_ends(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        for number in range(3):
            Told(engine).ended(f"a-{number}")
    async with engine_on(tmp_path / "home", workers=0) as engine:
        assert await Told(engine).states() == [("succeeded", 3)]


async def test_the_last_200_of_a_job_are_kept_and_50_more_that_failed(told: Told) -> None:
    for number in range(70):
        told.ended(f"a-{number}", ok=False, reason=f"{number}")
    for number in range(220):
        told.ended(f"b-{number}", events_in=1)
    told.began("c-1")
    await told.runs.settled()
    assert await told.runs.prune(clock.now_ns()) == 291 - 250
    kept = await told.engine.database.read(
        lambda db: job_runs.search(db, "tenant-a", equal={"job": "j"}, limit=1000)[0]
    )
    assert [one.reason for one in kept if one.state == "failed"] == [str(number) for number in range(69, 19, -1)]
    assert [one.state for one in kept].count("succeeded") == 199 and kept[0].state == "running"
    assert await told.runs.prune(clock.now_ns() + 31 * 24 * 3600 * SECOND) == 249, "what is under way stays"


# ---- cancel


def answers(told: Told, answer: Any, *, say: bool = True) -> list[Any]:
    """Let the worker answer so when it is asked to end a run, which it reports first if it does."""
    asked: list[Any] = []

    async def ask(name: str, arguments: Any) -> Any:
        asked.append((name, arguments))
        if answer is None:
            await asyncio.Event().wait()
        if say:
            told.ended(arguments[1], canceled=True, ok=False, reason="canceled")
        return answer

    told.engine.bus.reach("w", ask)
    return asked


async def cancel(told: Told, run: dict[str, Any], reason: str = "enough") -> dict[str, Any]:
    with anyio.fail_after(20):
        return await told.engine.call("run_cancel", {"run_id": run["run_id"], "reason": reason}, ADMIN)


async def test_a_run_that_its_worker_ends_is_canceled_by_who_wanted_it(told: Told) -> None:
    told.began("a-1")
    (run,) = await told.listed()
    asked = answers(told, Stopped.STOPPED)
    ended = await cancel(told, run)
    assert asked == [("cancel_run", ["tenant-a/j#0", "a-1"])]
    assert (ended["state"], ended["by"], ended["reason"], ended["confirmed"]) == ("canceled", "alice", "enough", True)
    assert await cancel(told, run, "again") == ended and len(asked) == 1
    (entry,) = (await told.engine.call("audit_list", {"operation": "run_cancel"}, ADMIN))["items"]
    assert (entry["username"], entry["reason"]) == ("alice", "enough")
    shown = await told.engine.call("run_get", {"run_id": "a-1"}, ADMIN)
    assert shown["run_id"] == run["run_id"]
    (call,) = shown["next"]
    assert (call["call"], call["arguments"]) == ("log_search", {"run": run["run_id"]})


async def test_a_run_that_the_next_firing_ended_is_canceled_by_the_schedule(told: Told) -> None:
    told.began("a-1")  # it was on record
    for name in ("a-1", "a-2"):
        told.ended(name, canceled=True, ok=False, reason=OVERTAKEN)
    for run in await told.listed():
        assert (run["state"], run["by"], run["reason"], run["confirmed"]) == ("canceled", "schedule", OVERTAKEN, True)


async def test_a_run_that_nobody_confirms_is_canceled_all_the_same(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canceling, "CONFIRM_SECONDS", 0.1)
    told.began("a-1")
    (run,) = await told.listed()
    answers(told, None)
    ended = await cancel(told, run)
    assert (ended["state"], ended["confirmed"], ended["reason"]) == ("canceled", False, "enough")
    told.ended("a-1", events_in=7)
    (after,) = await told.listed()
    assert after == {**ended, "late": "succeeded"}


async def test_one_that_ends_while_it_is_asked_for_is_what_it_says(told: Told) -> None:
    told.began("a-1")
    (run,) = await told.listed()

    async def ask(name: str, arguments: Any) -> Any:
        told.ended("a-1", events_in=7)
        return Stopped.OVER

    told.engine.bus.reach("w", ask)
    ended = await cancel(told, run)
    assert (ended["state"], ended["events_in"]) == ("succeeded", 7)


async def test_the_run_of_an_invocation_is_canceled_with_it(told: Told) -> None:
    rig = Rig(told.engine)
    await rig.publish(response_timeout_seconds=600)
    replica = Replica()
    told.engine.bus.attach(("tenant-a", JOB), replica)
    record = await rig.invoke()
    delivery: Delivery = next(iter(replica.outstanding.values()))
    handler = WorkloadRow(**{**_fields(ROW), "id": replica.workload, "job": JOB})
    told.began("m-1", trigger="message", delivery=delivery.id, row=handler)
    (run,) = await told.listed()

    async def ask(name: str, arguments: Any) -> Any:
        assert (name, arguments) == ("cancel", [replica.workload, delivery.id])
        told.ended("m-1", trigger="message", row=handler, canceled=True, ok=False, reason="canceled")
        return Stopped.STOPPED

    told.engine.bus.reach("w", ask)
    assert (await cancel(told, run))["state"] == "canceled"
    ended = await rig.get(record)
    assert (ended["state"], ended["result"]["reason"]) == ("canceled", "enough")


@pytest.mark.parametrize("known", ["before", "meanwhile", "never"])
async def test_who_cancels_an_invocation_and_why_stands_at_its_run_too(told: Told, known: str) -> None:
    rig = Rig(told.engine)
    await rig.publish(response_timeout_seconds=600)
    replica = Replica()
    told.engine.bus.attach(("tenant-a", JOB), replica)
    record = await rig.invoke()
    delivery: Delivery = next(iter(replica.outstanding.values()))
    handler = WorkloadRow(**{**_fields(ROW), "id": replica.workload, "job": JOB})

    def begin() -> None:
        told.began("m-1", trigger="message", delivery=delivery.id, row=handler)

    async def ask(name: str, arguments: Any) -> Any:
        if known == "meanwhile":
            begin()
        told.ended("m-1", trigger="message", row=handler, canceled=True, ok=False, reason="canceled")
        return Stopped.STOPPED

    if known == "before":
        begin()
    told.engine.bus.reach("w", ask)
    wish = {"invocation_id": record["invocation_id"], "reason": "the wrong customer"}
    assert (await told.engine.call("trigger_invocation_cancel", wish, ADMIN))["state"] == "canceled"
    (run,) = await told.listed()
    assert (run["state"], run["by"], run["reason"]) == ("canceled", "alice", "the wrong customer")
    told.ended("m-2", trigger="message", row=handler, canceled=True, ok=False, reason="canceled")
    (other, _) = await told.listed()
    assert (other["by"], other["reason"]) == (None, ""), "one wish is for one run"


async def test_a_job_that_reads_until_it_is_stopped_has_no_run_to_end(told: Told) -> None:
    told.began("a-1", trigger="continuous")
    (run,) = await told.listed()
    with pytest.raises(errors.InvalidParams, match="until it is stopped"):
        await cancel(told, run)
    with pytest.raises(errors.NotFound):
        await told.engine.call("run_cancel", {"run_id": "run_0123456789abcdef"}, ADMIN)
    await waiting.until(lambda: told.states(), lambda states: states == [("running", 1)])


async def test_the_run_of_a_worker_that_died_is_on_record_once_whether_it_was_told_or_not(told: Told) -> None:
    for name in ("told", ""):
        if name:
            told.began(name)
        told.runs.worker_gone("w", "its worker was lost")
        told.runs.died(ROW, "once", told.at, told.at + SECOND, 0, "worker w died while j was at work")
    items = await told.listed()
    assert sorted(one["reason"] for one in items) == ["its worker was lost", "worker w died while j was at work"]
    assert {one["state"] for one in items} == {"failed"}
