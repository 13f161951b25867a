"""Pending invocations: which response ends one, which proxy response is recorded, and what only becomes an event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.bus import base
from tests.engines import deploy, engine_on
from tests.triggers.rig import JOB, SILENT, Rig, path, proxy_response, response

pytestmark = pytest.mark.anyio


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        yield Rig(engine)


async def test_the_first_of_two_responses_ends_the_run_and_the_second_is_an_event(rig: Rig) -> None:
    await rig.publish()
    record = await rig.invoke()
    await rig.say(response(record), response(record, outcome="failed", error_code="late"))
    ended = await rig.get(record)
    assert ended["state"] == "succeeded"
    assert ended["result"]["trigger_response"] == response(record)
    assert path(ended) == ["accepted", "dispatched", "succeeded", "response_refused"]
    assert "after the end" in ended["events"][-1]["reason"]


@pytest.mark.parametrize("end", ["response", "deadline"])
async def test_what_comes_after_the_end_changes_nothing_but_the_history(rig: Rig, end: str) -> None:
    await rig.publish(response_timeout_seconds=1)
    record = await rig.invoke()
    envelope = (await rig.dispatched(record))["trigger_proxy"]
    if end == "response":
        await rig.say(response(record))
    with anyio.fail_after(10):
        ended = await rig.get(record, wait_seconds=5)
    assert ended["state"] == ("succeeded" if end == "response" else "timed_out")
    await rig.say(response(record, outcome="failed"))
    await rig.say(proxy_response(envelope), from_sink=True)
    after = await rig.get(record)
    assert path(after) == [*path(ended), "response_refused", "proxy_response_refused"]
    assert {**after, "events": None} == {**ended, "events": None}


async def test_a_flood_of_late_responses_leaves_the_record_bounded(rig: Rig) -> None:
    await rig.publish()
    record = await rig.invoke()
    await rig.say(response(record))
    await rig.say(*(response(record) for _ in range(200)))
    assert len((await rig.get(record))["events"]) == 50


@pytest.mark.parametrize("change", [{"tenant": "tenant-b"}, {"id": "other nonce"}, {"id": "no id"}])
async def test_a_stranger_leaves_no_trace_not_even_after_the_end(rig: Rig, change: dict[str, str]) -> None:
    await rig.publish()
    record = await rig.invoke()
    id = record["invocation_id"]
    forged = {"other nonce": id[:-12] + "0" * 12, "no id": "inv_x"}.get(change.get("id", ""), id)
    for _ in range(2):
        tenant = change.get("tenant", "tenant-a")
        await rig.say(response(record, invocation_id=forged, tenant_id=tenant), tenant=tenant)
        assert "response_refused" not in path(await rig.get(record))
        await rig.say(response(record))  # and once more when it has ended
    assert (await rig.get(record))["state"] == "succeeded"


class Dying:
    """A replica that takes every message, and whose worker dies of it."""

    def __init__(self, name: str) -> None:
        self.workload, self.window = name, 4
        self.outstanding: dict[int, base.Delivery] = {}

    def send(self, delivery: base.Delivery) -> None:
        """Take it, and say nothing."""


async def test_a_message_that_kills_its_workers_ends_its_run_as_failed(rig: Rig) -> None:
    await rig.publish(response_timeout_seconds=3600)
    record = await rig.invoke()
    group = ("tenant-a", JOB)
    waiting = asyncio.create_task(rig.get(record, wait_seconds=60))
    for n in range(base.MAX_DEATHS):
        replica = Dying(f"replica-{n}")
        rig.engine.bus.attach(group, replica)
        assert replica.outstanding, "it comes again while there is hope"
        rig.engine.bus.detach(group, replica, died=True)
    with anyio.fail_after(10):
        ended = await waiting
    assert (ended["state"], ended["result"]["error_code"]) == ("failed", "target_unavailable")
    assert f"{base.MAX_DEATHS} workers died" in ended["result"]["error_message"]
    again = ["redelivered"] * (base.MAX_DEATHS - 1)
    assert path(ended) == ["accepted", "dispatched", *again, "failed"]
    assert await rig.get(record) == ended
    last = Dying("the next one")
    rig.engine.bus.attach(group, last)
    assert not last.outstanding, "and it comes no more"


async def test_a_proxy_response_is_recorded_without_ending_the_run_and_stays_beside_the_response(rig: Rig) -> None:
    await rig.publish()
    record = await rig.invoke()
    envelope = (await rig.dispatched(record))["trigger_proxy"]
    captured = proxy_response(envelope)
    await rig.say(captured, from_sink=True)
    pending = await rig.get(record)
    assert pending["state"] == "dispatched"
    assert pending["trigger_proxy_recorded_at"] is not None
    assert pending["result"] == {**record["result"], "trigger_proxy_response": captured}
    await rig.say(response(record))
    ended = await rig.get(record)
    assert ended["result"]["trigger_response"] == response(record)
    assert ended["result"]["trigger_proxy_response"] == captured
    assert ended["trigger_proxy_recorded_at"] == pending["trigger_proxy_recorded_at"]
    assert path(ended) == ["accepted", "dispatched", "proxy_recorded", "succeeded"]


async def test_capture_and_response_of_one_tick_are_both_in_the_record(rig: Rig) -> None:
    await rig.publish()
    record = await rig.invoke()
    rig.collect(proxy_response((await rig.dispatched(record))["trigger_proxy"]), from_sink=True)
    await rig.say(response(record))
    ended = await rig.get(record)
    assert set(ended["result"]) == {"status", "mode", "state", "trigger_response", "trigger_proxy_response"}
    assert path(ended) == ["accepted", "dispatched", "proxy_recorded", "succeeded"]


async def test_of_two_captures_the_later_one_counts_while_the_run_is_pending(rig: Rig) -> None:
    await rig.publish()
    record = await rig.invoke()
    envelope = (await rig.dispatched(record))["trigger_proxy"]
    for status in (503, 200):
        await rig.say(proxy_response(envelope, status=status), from_sink=True)
    pending = await rig.get(record)
    assert pending["result"]["trigger_proxy_response"]["status"] == 200
    assert [event["status"] for event in pending["events"] if event["type"] == "proxy_recorded"] == [503, 200]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"nonce": "0" * 32}, "nonce"),
        ({"nonce": 5}, "nonce"),
        ({"nonce": "ü"}, "nonce"),
        ({"response_slot": "other"}, "response_slot"),
        ({"tenant_id": "tenant-b"}, "tenant"),
        ({"tenant_id": ""}, "non-empty"),
        ({"version": 2}, "version"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"status": 99}, "status"),
        ({"status": "200"}, "status"),
        ({"status": True}, "status"),
        ({"headers": {"set-cookie": "a=b"}}, "allow-list"),
        ({"headers": {"etag": 5}}, "headers"),
        ({"headers": []}, "headers"),
        ({"body": None}, "body"),
        ({"body": "x" * 65537}, "65536 bytes"),
        ({"body": "ü" * 40000}, "65536 bytes"),
        ({"body_encoding": "hex"}, "body_encoding"),
        ({"truncated": "no"}, "truncated"),
        ({"emitted_at_ns": 1.5}, "emitted_at_ns"),
    ],
)
async def test_a_forged_or_malformed_proxy_response_is_an_event_and_nothing_else(
    rig: Rig, change: dict[str, Any], why: str
) -> None:
    await rig.publish()
    record = await rig.invoke()
    envelope = (await rig.dispatched(record))["trigger_proxy"]
    await rig.say(proxy_response(envelope, **change), from_sink=True)
    pending = await rig.get(record)
    assert (pending["state"], pending["result"]) == (record["state"], record["result"])
    assert pending["trigger_proxy_recorded_at"] is None
    assert pending["events"][-1]["type"] == "proxy_response_refused"
    assert why in pending["events"][-1]["reason"]


async def test_a_job_cannot_write_a_proxy_response_itself(rig: Rig) -> None:
    await rig.publish()
    record = await rig.invoke()
    envelope = (await rig.dispatched(record))["trigger_proxy"]
    await rig.say(proxy_response(envelope))
    pending = await rig.get(record)
    assert "only an output" in pending["events"][-1]["reason"]
    assert pending["trigger_proxy_recorded_at"] is None


async def test_without_a_proxy_mode_there_is_no_envelope_and_nothing_to_capture(rig: Rig) -> None:
    await rig.publish(proxy_policy={"mode": "off"})
    record = await rig.invoke()
    assert "trigger_proxy" not in await rig.dispatched(record)
    fields = {"tenant_id": "tenant-a", "invocation_id": record["invocation_id"]}
    await rig.say(proxy_response({**fields, "response_slot": "smoke.reply", "nonce": "n"}), from_sink=True)
    assert "did not send out" in (await rig.get(record))["events"][-1]["reason"]


async def test_the_envelope_has_what_the_sink_needs_and_a_nonce_of_its_own(rig: Rig) -> None:
    await rig.publish()
    first, second = [(await rig.dispatched(await rig.invoke()))["trigger_proxy"] for _ in range(2)]
    assert first["nonce"] != second["nonce"]
    assert len(first["nonce"]) == 32
    assert {key: value for key, value in first.items() if key not in ("nonce", "invocation_id")} == {
        "tenant_id": "tenant-a",
        "response_slot": "smoke.reply",
        "mode": "passthrough",
        "timeout_seconds": 30,
        "max_body_bytes": 65536,
        "allowed_headers": (
            "content-length content-type date etag last-modified location retry-after x-request-id".split()
        ),
    }


async def test_a_new_owner_knows_the_nonce_and_keeps_what_was_captured(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        before = Rig(engine)
        await before.publish(response_timeout_seconds=60)
        await deploy(engine, SILENT)
        kept, later = await before.invoke(), await before.invoke()
        envelopes = [(await before.dispatched(one))["trigger_proxy"] for one in (kept, later)]
        await before.say(proxy_response(envelopes[0]), from_sink=True)
    async with engine_on(tmp_path / "home") as engine:
        after = Rig(engine)
        await after.say(proxy_response(envelopes[1]), from_sink=True)
        await after.say(response(kept), response(later))
        for record in (kept, later):
            ended = await after.get(record)
            assert ended["state"] == "succeeded"
            assert ended["result"]["trigger_proxy_response"]["body"] == "ok"


async def test_a_result_that_does_not_fit_its_schema_is_refused_and_a_failure_may_say_anything(rig: Rig) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    await rig.publish(result_schema=schema)
    record, other = await rig.invoke(), await rig.invoke()
    await rig.say(response(record, result={"ok": "yes"}), response(other, outcome="failed", result={"why": 1}))
    pending, failed = await rig.get(record), await rig.get(other)
    assert pending["state"] == "dispatched"
    assert "result_schema" in pending["events"][-1]["reason"]
    assert failed["state"] == "failed"
    await rig.say(response(record, result={"ok": False}))
    assert (await rig.get(record))["state"] == "succeeded"
