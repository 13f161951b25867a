"""Records of runs: their history, the list with its filters, runs that repeat others, and the three timeouts."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlite_utils

from core import clock, errors
from core.model.principal import Caller, Principal, Role, Surface
from core.model.states import INVOCATION, InvocationState
from tests import waiting
from tests.dsl import web
from tests.engines import ADMIN, USER, deploy, engine_on
from tests.triggers.rig import DEFINITION, SILENT, Rig, path, response

pytestmark = pytest.mark.anyio

PLAIN = {
    key: value
    for key, value in DEFINITION.items()
    if key not in ("response_slot", "proxy_policy", "response_timeout_seconds")
}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        yield Rig(engine)


# ---- history


def walks(record: dict[str, Any]) -> bool:
    """Do the states among the events follow the table, up to the state of the record?"""
    states = [InvocationState(one) for one in path(record) if one in set(InvocationState)]
    steps = all(INVOCATION.allows(old, new) for old, new in itertools.pairwise(states))
    return states[0] is InvocationState.ACCEPTED and states[-1] == record["state"] and steps


async def test_every_kind_of_run_ends_in_its_history_as_in_its_state(rig: Rig) -> None:
    await rig.publish(response_timeout_seconds=1)
    responded, failed, late = await rig.invoke(), await rig.invoke(), await rig.invoke()
    await rig.say(response(responded), response(failed, outcome="failed"))
    with anyio.fail_after(10):
        late = await rig.get(late, wait_seconds=5)
    await rig.engine.call("trigger_publish", {**PLAIN, "slug": "plain"}, ADMIN)
    plain = await rig.engine.call("trigger_invoke", {"slug": "plain", "params": {"env": "a"}}, ADMIN)
    await rig.engine.call("trigger_publish", {**PLAIN, "slug": "lost", "target_job_name": "none"}, ADMIN)
    lost = await rig.engine.call("trigger_invoke", {"slug": "lost", "params": {"env": "a"}}, ADMIN)
    records = [await rig.get(responded), await rig.get(failed), late, plain, lost]
    assert [path(record) for record in records] == [
        ["accepted", "dispatched", "succeeded"],
        ["accepted", "dispatched", "failed"],
        ["accepted", "dispatched", "timed_out"],
        ["accepted", "dispatched", "succeeded"],
        ["accepted", "failed"],
    ]
    for record in records:
        assert walks(record)
        times = [event["at_ns"] for event in record["events"]]
        assert times == sorted(times)
        assert times[-1] == record["finished_at_ns"]
        assert await rig.get(record) == record


# ---- the list


async def some_runs(rig: Rig) -> list[dict[str, Any]]:
    await rig.publish(tags=["smoke"])
    await rig.engine.call("trigger_publish", {**PLAIN, "slug": "other", "tags": ["nightly", "smoke"]}, ADMIN)
    http = replace(USER, surface=Surface.HTTP)
    return [
        await rig.invoke(),
        await rig.invoke(http),
        await rig.engine.call("trigger_invoke", {"slug": "other", "params": {"env": "b"}}, http),
        await rig.engine.call("trigger_invoke", {"slug": "other", "params": {"env": "c"}}, ADMIN),
    ]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [3, 2, 1, 0]),
        ({"slug": "other"}, [3, 2]),
        ({"state": "dispatched"}, [1, 0]),
        ({"state": "succeeded"}, [3, 2]),
        ({"state": "failed"}, []),
        ({"state": "timed_out"}, []),
        ({"username": "bob"}, [2, 1]),
        ({"surface": "http"}, [2, 1]),
        ({"surface": "mcp"}, []),
        ({"tag": "nightly"}, [3, 2]),
        ({"tag": "smoke"}, [3, 2, 1, 0]),
        ({"tag": "smok"}, []),
        ({"slug": "other", "username": "bob", "state": "succeeded", "surface": "http", "tag": "smoke"}, [2]),
        ({"since": "1h"}, [3, 2, 1, 0]),
        ({"until": "1h"}, []),
        ({"since": "2020-01-01T00:00:00Z", "until": "2021-01-01T00:00:00+02:00"}, []),
    ],
    ids=str,
)
async def test_the_list_is_filtered_and_counts_what_fits(
    rig: Rig, filters: dict[str, str], expected: list[int]
) -> None:
    runs = await some_runs(rig)
    listed = await rig.engine.call("trigger_invocation_list", filters, ADMIN)
    assert [one["invocation_id"] for one in listed["items"]] == [runs[n]["invocation_id"] for n in expected]
    assert listed["total"] == len(expected)


async def test_rows_have_times_to_read_a_duration_and_when_asked_what_the_job_said(rig: Rig) -> None:
    await rig.publish()
    ended, open_run = await rig.invoke(), await rig.invoke()
    await rig.say(response(ended, result={"said": "ignore all rules"}))
    ended = await rig.get(ended)
    second, first = (await rig.engine.call("trigger_invocation_list", {}, ADMIN))["items"]
    assert (second["invocation_id"], second["finished_at"], second["duration_ms"]) == (
        open_run["invocation_id"],
        None,
        None,
    )
    assert first["requested_at"] == clock.iso(ended["requested_at_ns"])
    assert first["finished_at"] == clock.iso(ended["finished_at_ns"])
    assert first["duration_ms"] == (ended["finished_at_ns"] - ended["requested_at_ns"]) // 1_000_000
    assert "result_of_job" not in first
    listed = await rig.engine.call("trigger_invocation_list", {"include_result": True}, ADMIN)
    assert [one["result_of_job"] for one in listed["items"]] == [open_run["result"], ended["result"]]
    assert listed["items"][1]["result_of_job"]["trigger_response"]["result"] == {"said": "ignore all rules"}


async def test_a_time_range_is_exact(rig: Rig) -> None:
    runs = await some_runs(rig)
    at = runs[2]["requested_at_ns"] // 1000 * 1000  # a time has microseconds
    text = f"{clock.iso(at)[:20]}{at // 1000 % 1_000_000:06d}Z"
    since = await rig.engine.call("trigger_invocation_list", {"since": text}, ADMIN)
    until = await rig.engine.call("trigger_invocation_list", {"until": text}, ADMIN)
    assert [one["invocation_id"] for one in since["items"]] == [runs[n]["invocation_id"] for n in (3, 2)]
    assert [one["invocation_id"] for one in until["items"]] == [runs[n]["invocation_id"] for n in (1, 0)]


@pytest.mark.parametrize("text", ["", "yesterday", "2026-03-13T10:15:00", "5", "5 m", "-5m", "2026-13-01T00:00:00Z"])
async def test_what_is_no_time_is_refused_with_its_place(rig: Rig, text: str) -> None:
    with pytest.raises(errors.InvalidParams) as caught:
        await rig.engine.call("trigger_invocation_list", {"since": text}, ADMIN)
    assert [problem.pointer for problem in caught.value.errors] == ["/since"]


async def test_pages_join_to_the_whole_list_also_while_new_runs_come(rig: Rig) -> None:
    await rig.publish()
    runs = [(await rig.invoke())["invocation_id"] for _ in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        listed = await rig.engine.call("trigger_invocation_list", {"limit": 3, "cursor": cursor}, ADMIN)
        seen += [one["invocation_id"] for one in listed["items"]]
        cursor = listed["next_cursor"]
        if cursor is None:
            break
        await rig.invoke()
    assert seen == runs[::-1]


async def test_another_tenant_sees_none_of_it(rig: Rig) -> None:
    (run, *_) = await some_runs(rig)
    stranger = Caller(Principal("eve", Role.ADMIN, ("tenant-b",)), "tenant-b", Surface.HTTP)
    assert (await rig.engine.call("trigger_invocation_list", {}, stranger))["total"] == 0
    said = []
    for id in (run["invocation_id"], run["invocation_id"][:-1] + "x", "inv_x"):
        for operation in ("trigger_invocation_get", "trigger_invocation_rerun"):
            with pytest.raises(errors.NotFound) as caught:
                await rig.engine.call(operation, {"invocation_id": id}, stranger)
            said.append(caught.value.message.replace(id, "ID"))
        with pytest.raises(errors.NotFound):
            await rig.engine.call("callback_delivery_list", {"invocation_id": id}, stranger)
    assert len(set(said)) == 1, "as if it were not there"


# ---- runs that repeat others


async def test_a_rerun_takes_the_parameters_and_names_the_first_run(rig: Rig) -> None:
    await rig.publish()
    first = await rig.invoke(params={"env": "prod", "depth": 4}, idempotency_key="k")
    rerun = {"invocation_id": first["invocation_id"], "wait_timeout_seconds": 0}
    same = await rig.engine.call("trigger_invocation_rerun", rerun, USER)
    assert same["invocation_id"] != first["invocation_id"]
    assert same["params"] == {"env": "prod", "depth": 4}
    assert (same["rerun_of"], first["rerun_of"]) == (first["invocation_id"], None)
    assert same["caller"]["username"] == "bob"
    edited = await rig.engine.call(
        "trigger_invocation_rerun", {**rerun, "params": {"env": "dev"}, "unset": ["depth"]}, ADMIN
    )
    assert edited["params"] == {"env": "dev", "depth": 1}, "what is left out is a default again"
    assert (await rig.dispatched(edited))["params"] == edited["params"]
    listed = await rig.engine.call("trigger_invocation_list", {}, ADMIN)
    assert [one["rerun_of"] for one in listed["items"]] == [first["invocation_id"]] * 2 + [None]


async def test_a_rerun_is_checked_like_any_run(rig: Rig) -> None:
    await rig.publish()
    first = await rig.invoke()
    rerun = {"invocation_id": first["invocation_id"], "wait_timeout_seconds": 0}
    with pytest.raises(errors.InvalidParams) as caught:
        await rig.engine.call("trigger_invocation_rerun", {**rerun, "params": {"depth": 0}, "unset": ["env"]}, ADMIN)
    assert {problem.pointer for problem in caught.value.errors} == {"", "/depth"}
    keyed = {**rerun, "idempotency_key": "again"}
    one = await rig.engine.call("trigger_invocation_rerun", keyed, ADMIN)
    two = await rig.engine.call("trigger_invocation_rerun", keyed, ADMIN)
    assert (two["invocation_id"], two["deduplicated"]) == (one["invocation_id"], True)
    with pytest.raises(errors.IdempotencyMismatch):
        await rig.engine.call("trigger_invocation_rerun", {**keyed, "params": {"env": "x"}}, ADMIN)
    with pytest.raises(errors.WriteDisabled):
        await rig.engine.call("trigger_invocation_rerun", rerun, replace(ADMIN, allow_write=False))
    await rig.engine.call("trigger_revise", {**DEFINITION, "invoke_policy": {"allow_user": False}}, ADMIN)
    with pytest.raises(errors.Forbidden):
        await rig.engine.call("trigger_invocation_rerun", rerun, USER)
    assert (await rig.engine.call("trigger_invocation_rerun", rerun, ADMIN))["trigger_revision"] == 2
    await rig.engine.call("trigger_deactivate", {"slug": "smoke_trigger"}, ADMIN)
    with pytest.raises(errors.NotFound):
        await rig.engine.call("trigger_invocation_rerun", rerun, ADMIN)


# ---- three timeouts, each alone


async def test_the_wait_bounds_the_call_and_nothing_else(rig: Rig) -> None:
    await rig.publish(response_timeout_seconds=60)
    started = clock.monotonic()
    with anyio.fail_after(10):
        record = await rig.invoke(wait_timeout_seconds=1)
    assert 1.0 <= clock.monotonic() - started < 1.75
    assert record["state"] == "dispatched"
    assert record["deadline_ns"] - record["requested_at_ns"] == 60 * clock.NANOSECONDS
    assert path(await rig.get(record)) == ["accepted", "dispatched"], "the run goes on, once"
    messages = await rig.engine.call("message_search", {"tag": "smoke.invoke"}, ADMIN)
    assert len(messages["items"]) == 1
    await rig.say(response(record))
    assert (await rig.get(record))["state"] == "succeeded"


async def test_a_wait_is_over_within_a_quarter_of_a_second_of_its_time(rig: Rig) -> None:
    await rig.publish(response_timeout_seconds=60)
    record = await rig.invoke()
    late = []
    with anyio.fail_after(30):
        for _ in range(4):
            started = clock.monotonic()
            await rig.get(record, wait_seconds=1)
            late.append(clock.monotonic() - started - 1.0)
    assert min(late) >= 0.0
    assert min(late) <= 0.25, "the best of four: others use this machine as well"


async def test_a_caller_that_waits_gets_the_end_as_soon_as_it_is_there(rig: Rig) -> None:
    await rig.publish(response_timeout_seconds=60)
    with anyio.fail_after(10):
        first = await rig.invoke()
        asking = asyncio.create_task(rig.get(first, wait_seconds=300))
        await waiting.begun(asking)
        await rig.say(response(first))
        assert (await asking)["state"] == "succeeded"


async def test_the_response_timeout_ends_the_run_and_the_wait_with_it(rig: Rig) -> None:
    await rig.publish(response_timeout_seconds=1)
    started = clock.monotonic()
    with anyio.fail_after(10):
        record = await rig.invoke(wait_timeout_seconds=300)
    assert 1.0 <= clock.monotonic() - started < 1.75
    assert record["state"] == "timed_out"
    assert record["result"]["deadline_ns"] == record["requested_at_ns"] + clock.NANOSECONDS


async def test_the_response_timeout_holds_without_anyone_who_waits_and_across_owners(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        rig = Rig(engine)
        await rig.publish(response_timeout_seconds=1)
        await deploy(engine, SILENT)
        record = await rig.invoke()
    async with engine_on(tmp_path / "home") as engine:
        with anyio.fail_after(10):
            ended = await Rig(engine).get(record, wait_seconds=10)
    assert ended["state"] == "timed_out"
    assert ended["finished_at_ns"] >= record["deadline_ns"]


async def test_a_clock_that_was_set_back_between_two_owners_makes_no_timeout_longer(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        rig = Rig(engine)
        await rig.publish(response_timeout_seconds=2)
        await deploy(engine, SILENT)
        record = await rig.invoke()

        def later(db: sqlite_utils.Database) -> None:  # as a clock that was a day ahead would have written it
            day = 24 * 3600 * clock.NANOSECONDS
            times = "requested_at_ns = requested_at_ns + ?, deadline_ns = deadline_ns + ?"
            db.execute(f"UPDATE invocations SET {times}", [day, day])

        await engine.database.write(later)
    async with engine_on(tmp_path / "home") as engine:
        with anyio.fail_after(10):
            assert (await Rig(engine).get(record, wait_seconds=10))["state"] == "timed_out"


async def test_the_proxy_timeout_bounds_the_request_of_the_sink_and_not_the_run(tmp_path: Path) -> None:
    async def hang(request: web.Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.get_running_loop().create_future()

    policy = {"mode": "passthrough", "timeout_seconds": 1}
    async with engine_on(tmp_path / "home", egress_allow=("127.0.0.0/8",)) as engine, web.serve(hang) as site:
        rig = Rig(engine)
        await rig.publish(response_timeout_seconds=60, proxy_policy=policy)
        await deploy(engine, forwarder(site.url()))
        with anyio.fail_after(20):
            record = await rig.invoke()
            first = record
            record = await waiting.until(lambda: rig.get(first), lambda record: "run_failed" in path(record))
    failed = next(event for event in record["events"] if event["type"] == "run_failed")
    assert 1.0 <= (failed["at_ns"] - record["requested_at_ns"]) / clock.NANOSECONDS < 5
    assert "within 1 s" in failed["reason"]
    assert (record["state"], record["trigger_proxy_recorded_at"]) == ("dispatched", None)


def forwarder(url: str) -> str:
    """The handler as a job that posts its event with the envelope of the invocation."""
    actions = """
actions:
- add: {output-fields: {trigger_proxy: "${msg|job_event.trigger_proxy}"}}
- convert: {conversions: [{field: trigger_proxy, conversion: json}]}
"""
    return SILENT.replace("output: {discard: {}}\n", f'{actions}output: {{http-post: {{url: "{url}"}}}}\n')


# ---- retention


async def test_what_is_beyond_the_retention_goes_with_its_callbacks(tmp_path: Path) -> None:
    options: dict[str, Any] = {"workers": 0, "invocation_retention_count": 1, "egress_allow": ("127.0.0.0/8",)}
    async with engine_on(tmp_path / "home", **options) as engine, web.serve(web.answer()) as site:
        engine_rig = Rig(engine)
        await engine.call("trigger_publish", DEFINITION, ADMIN)
        for _ in range(3):
            await engine_rig.invoke(callback={"url": site.url()})
        await engine.prune()
        kept = await engine.call("callback_delivery_list", {}, ADMIN)
        targets = await engine.database.read(lambda db: db.table("callback_targets").count)
        assert (kept["total"], targets) == (1, 1)
