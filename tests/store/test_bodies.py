"""What is said of a run is stored once, and everybody still hears all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
import sqlite_utils

from core import clock
from core.engine import Engine
from core.model import frames
from core.store import forgetting, migrations, owed
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on

pytestmark = pytest.mark.anyio
DEFINITION: dict[str, Any] = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
HANDLER = (EXAMPLES / "smoke_trigger_handler.yaml").read_text()
PROXIED = {**DEFINITION, "slug": "proxied", "proxy_policy": {"mode": "passthrough"}}


async def _said(engine: Engine) -> dict[str, dict[str, Any]]:
    """Every message of the tenant, by its id."""
    found = await engine.call("message_search", {"kind": "user", "limit": 100}, ADMIN)
    return {item["id"]: item for item in found["items"]}


async def _bodies(engine: Engine) -> dict[int, int]:
    """The lengths of the bodies that are stored of messages of users."""
    query = "SELECT id, length(body) FROM messages WHERE kind = 'user'"
    return await engine.database.read(lambda db: dict(db.conn.execute(query).fetchall()))


async def test_messages_of_runs_say_what_was_sent_and_keep_it_when_the_record_goes(tmp_path: Path) -> None:
    sent: dict[str, dict[str, Any]] = {}

    def hear(kind: str, data: dict[str, Any]) -> None:
        if kind == "message":
            event = orjson.loads(data["event"])
            sent[event["id"]] = event

    async with engine_on(tmp_path / "home") as engine:
        with anyio.fail_after(60):
            forget = engine.subscribe(hear)
            for definition in (DEFINITION, PROXIED):
                await engine.call("trigger_publish", definition, ADMIN)
            await deploy(engine, HANDLER)
            runs = [
                await engine.call("trigger_invoke", {"slug": slug, "params": {"env": "ü\u2028x"}}, ADMIN)
                for slug in ("smoke_trigger", "proxied")
            ]
            assert [run["state"] for run in runs] == ["succeeded"] * 2
            said = await _said(engine)
            assert set((await _bodies(engine)).values()) == {0}
            events = [item["message_data"]["job_event"] for item in said.values()]
            requests = {event["invocation_id"]: event for event in events if event["type"] == "trigger_invoke"}
            responses = {event["invocation_id"]: event for event in events if event["type"] == "trigger_response"}
            for run in runs:
                assert requests[run["invocation_id"]]["params"] == run["params"]
                assert responses[run["invocation_id"]] == run["result"]["trigger_response"]
            assert "trigger_proxy" in requests[runs[1]["invocation_id"]]
            for id, item in said.items():  # what listeners got in that moment
                if id in sent:
                    assert item == {**sent[id], "at": item["at"]}
            assert said.keys() <= sent.keys(), "requests as well as responses are told"

            gone = await engine.database.write(forgetting.prune, 0, clock.now_ns(), 0)
            assert sum(one.records for one in gone) == 2
            assert await _said(engine) == said
            assert 0 not in (await _bodies(engine)).values()
            forget()


async def test_a_response_that_came_too_late_is_kept_whole(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        with anyio.fail_after(60):
            await engine.call("trigger_publish", DEFINITION, ADMIN)
            await deploy(engine, HANDLER)
            run = await engine.call("trigger_invoke", {"slug": "smoke_trigger", "params": {"env": "x"}}, ADMIN)
            (response,) = [
                item
                for item in (await _said(engine)).values()
                if item["message_data"]["job_event"]["type"] == "trigger_response"
            ]
            late = {**response["message_data"]["job_event"], "result": {"ok": "late"}}
            worker = next(iter(engine.fleet.workers.values()))
            data = frames.Json(orjson.dumps({"job_event": late}))
            engine.traffic.publish(
                worker,
                "tenant-a",
                "smoke_trigger_handler",
                frames.Publish(10**6, "tenant-a/smoke_trigger_handler#0", "user", "user-generated", "", data),
            )
            engine.traffic.flush()
            await engine.database.write(lambda db: None)
            said = [item["message_data"]["job_event"] for item in (await _said(engine)).values()]
            assert late in said
            found = await engine.call("trigger_invocation_get", {"invocation_id": run["invocation_id"]}, ADMIN)
            assert found["result"]["trigger_response"] == response["message_data"]["job_event"]
            assert found["events"][-1]["type"] == "response_refused"


@pytest.fixture
def older(tmp_path: Path) -> Iterator[sqlite_utils.Database]:
    """A database of before: a run that owes its message, one whose job is done with it, and two that have ended."""
    db = sqlite_utils.Database(tmp_path / "sluice.db")
    migrations.STEPS.apply(db, stop_before="m0024_lean_runs")
    run = "INSERT INTO invocations VALUES (?, 'nonce', 't', 's', 1, ?, 'http', 'u', 'admin', '{}', NULL, 1, ?, ?, NULL,"
    run += " 2, '{}', '[{}]', NULL, NULL, NULL)"
    for id, state, deadline, finished in (
        (1, "dispatched", 9, None),
        (2, "dispatched", 9, None),
        (3, "timed_out", 9, 9),
        (4, "succeeded", None, 4),
    ):
        db.conn.execute(run, (id, state, deadline, finished))
        db.conn.execute("INSERT INTO messages VALUES (?, 't', 'user', 'server', 'x', '', '', '', x'7b7d')", (10 + id,))
        if id != 2:
            db.conn.execute("INSERT INTO dispatches VALUES (?, ?, 't', 'j', ?, 1)", (20 + id, 10 + id, id))
    db.conn.commit()
    yield db
    db.close()


def test_what_runs_of_before_owe_is_owed_still_and_once(older: sqlite_utils.Database) -> None:
    migrations.migrate(older)
    assert [(run.id, run.message_id, run.attempts, body) for run, body in owed.open_runs(older)] == [
        (1, 11, 2, b"{}"),
        (2, None, 2, b""),
    ]
    assert [(row.invocation_id, row.message_id, body) for row, body in owed.deliveries(older)] == [(4, 14, b"{}")]
