"""Callbacks through a real engine: what is posted, when it is tried again, and that nobody else waits for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from engines import ADMIN, EXAMPLES, deploy, engine_on

from core import errors
from core.engine import Engine
from core.triggers import posting
from tests.dsl import web

pytestmark = pytest.mark.anyio

DEFINITION: dict[str, Any] = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
HANDLER = (EXAMPLES / "smoke_trigger_handler.yaml").read_text()
LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "PAUSES_SECONDS", (0.02, 0.02, 0.02, 0.02))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", egress_allow=LOOPBACK) as running:
        await running.call("trigger_publish", DEFINITION, ADMIN)
        await deploy(running, HANDLER)
        yield running


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine without workers: each run is refused at once, which is one update."""
    async with engine_on(tmp_path / "home", workers=0, egress_allow=LOOPBACK) as running:
        await running.call("trigger_publish", DEFINITION, ADMIN)
        yield running


async def invoke(engine: Engine, url: str, **more: Any) -> dict[str, Any]:
    headers = more.pop("headers", {})
    arguments = {"slug": "smoke_trigger", "params": {"env": "prod"}, "callback": {"url": url, "headers": headers}}
    return await engine.call("trigger_invoke", {**arguments, **more}, ADMIN)


async def ended(engine: Engine, invocation_id: str) -> list[dict[str, Any]]:
    """The deliveries of an invocation, when all of them have ended."""
    while True:
        record = await engine.call("trigger_invocation_get", {"invocation_id": invocation_id}, ADMIN)
        if record["callbacks"] and all(one["outcome"] != "pending" for one in record["callbacks"]):
            return list(record["callbacks"])
        await anyio.sleep(0.01)


async def test_every_state_is_posted_once_in_the_documented_shape(engine: Engine) -> None:
    with anyio.fail_after(30):
        async with web.serve(web.answer(204)) as site:
            record = await invoke(engine, site.url("/hook?key=s3cret"), headers={"authorization": "Bearer t0ken"})
            told = await ended(engine, record["invocation_id"])
            assert [one["state"] for one in told] == ["dispatched", "succeeded"]
        assert record["callback"] == f"http://127.0.0.1:{site.port}", "the path may be a credential"
    bodies = {body["invocation"]["state"]: body for body in (json.loads(r.body) for r in site.requests)}
    assert len(site.requests) == 2
    first = bodies["dispatched"]
    assert first == {
        "version": 1,
        "event_id": told[0]["event_id"],
        "event_type": "trigger_invocation_state",
        "emitted_at": first["emitted_at"],
        "invocation": {
            "invocation_id": record["invocation_id"],
            "trigger_slug": "smoke_trigger",
            "trigger_revision": 1,
            "tenant_id": "tenant-a",
            "state": "dispatched",
            "result": {"status": "accepted_for_dispatch", "mode": "response_slot", "state": "dispatched"},
        },
    }
    assert bodies["succeeded"]["invocation"]["result"] == record["result"]
    for request in site.requests:
        assert request.line.startswith("POST /hook?key=s3cret ")
        assert request.headers["authorization"] == "Bearer t0ken"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["webhook-id"] in {one["event_id"] for one in told}
        assert "webhook-signature" not in request.headers


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_passing_fault_is_tried_again_under_the_same_id(plain: Engine, status: int) -> None:
    with anyio.fail_after(30):
        async with web.serve(web.answer(status), web.answer(status), web.answer(200)) as site:
            record = await invoke(plain, site.url())
            (told,) = await ended(plain, record["invocation_id"])
    assert (told["outcome"], told["attempts"]) == ("delivered", 3)
    assert [entry.get("status") for entry in told["tries"]] == [status, status, 200]
    assert len({request.headers["webhook-id"] for request in site.requests}) == 1
    assert len({request.body for request in site.requests}) == 1


@pytest.mark.parametrize(
    ("status", "tries", "reason"),
    [(500, 5, "given up after 5 tries"), (400, 1, "answered 400"), (410, 1, "answered 410"), (307, 1, "redirect")],
)
async def test_what_stays_is_given_up_with_the_reason(plain: Engine, status: int, tries: int, reason: str) -> None:
    with anyio.fail_after(30):
        async with (
            web.serve(web.answer(200)) as elsewhere,
            web.serve(web.answer(status, location=elsewhere.url())) as site,
        ):
            record = await invoke(plain, site.url())
            (told,) = await ended(plain, record["invocation_id"])
    assert (told["outcome"], told["attempts"], len(site.requests)) == ("dead", tries, tries)
    assert reason in told["tries"][-1]["reason"]
    assert elsewhere.connections == 0, "redirects are not followed"


async def test_nobody_at_home_is_a_passing_fault(plain: Engine) -> None:
    with anyio.fail_after(30):
        async with web.serve(web.answer()) as site:
            gone = site.url()
        record = await invoke(plain, gone)
        (told,) = await ended(plain, record["invocation_id"])
    assert (told["outcome"], told["attempts"]) == ("dead", 5)


async def test_redeliver_owes_an_ended_delivery_once_more(plain: Engine) -> None:
    with anyio.fail_after(30):
        async with web.serve(web.answer(404), web.answer(200)) as site:
            record = await invoke(plain, site.url())
            (told,) = await ended(plain, record["invocation_id"])
            listed = await plain.call("callback_delivery_list", {"outcome": "dead"}, ADMIN)
            assert [one["event_id"] for one in listed["items"]] == [told["event_id"]]
            await plain.call("callback_redeliver", {"event_id": told["event_id"]}, ADMIN)
            (again,) = await ended(plain, record["invocation_id"])
            with pytest.raises(errors.NotFound):
                await plain.call("callback_redeliver", {"event_id": "evt_0000000000000001"}, ADMIN)
    assert again["outcome"] == "delivered"
    assert [entry["status"] for entry in again["tries"]] == [404, 200]
    assert site.requests[0].body == site.requests[1].body


async def test_receivers_that_hang_delay_no_other_and_no_run(plain: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "DEADLINE_SECONDS", 60.0)

    async def hang(request: web.Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.get_running_loop().create_future()

    async with web.serve(hang, host="0.0.0.0") as bad, web.serve(web.answer(200)) as good:
        with anyio.fail_after(20):
            for n in range(50):
                for _ in range(3):
                    await invoke(plain, bad.url(host=f"127.0.0.{n + 2}"))
            record = await invoke(plain, good.url())
        with anyio.fail_after(1):
            (told,) = await ended(plain, record["invocation_id"])
    assert told["outcome"] == "delivered"
