"""A rig without workers: jobs are declared to the bus, and the test says what they would have sent."""

from __future__ import annotations

import json
from typing import Any

import orjson

from core.engine import Engine
from core.fleet.connection import Worker
from core.model import frames
from core.model.message import Filter
from core.model.principal import Caller
from tests.engines import ADMIN, EXAMPLES

DEFINITION: dict[str, Any] = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
JOB = "smoke_trigger_handler"
SILENT = """
name: smoke_trigger_handler
input:
  echo:
    trigger: {message: {filter-kind: user, filter-type: [user-generated], filter-tag: smoke.invoke}}
    json: true
    event: "{}"
output: {discard: {}}
"""
"""The handler as a job that never answers."""
FILTER = Filter("user", ("user-generated",), "smoke.invoke")


class Rig:
    """One engine with the smoke trigger, whose job is deployed and has no replica."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.worker = Worker("elsewhere", "default", 1)
        self._sequence = 0

    async def publish(self, **changes: Any) -> None:
        await self.engine.call("trigger_publish", {**DEFINITION, **changes}, ADMIN)
        self.engine.bus.declare(("tenant-a", JOB), FILTER)

    async def invoke(self, caller: Caller = ADMIN, **more: Any) -> dict[str, Any]:
        arguments = {"slug": "smoke_trigger", "params": {"env": "prod"}, "wait_timeout_seconds": 0, **more}
        return await self.engine.call("trigger_invoke", arguments, caller)

    async def get(self, record: dict[str, Any], wait_seconds: int = 0) -> dict[str, Any]:
        """The record as it is now, without the call that finds its log."""
        arguments = {"invocation_id": record["invocation_id"], "wait_seconds": wait_seconds}
        found = await self.engine.call("trigger_invocation_get", arguments, ADMIN)
        return {name: value for name, value in found.items() if name != "next"}

    async def say(self, *bodies: dict[str, Any], tenant: str = "tenant-a", from_sink: bool = False) -> None:
        """Let a job of the tenant send these payloads in one tick, and wait until they are absorbed."""
        self.collect(*bodies, tenant=tenant, from_sink=from_sink)
        self.engine.traffic.flush()
        await self.engine.database.write(lambda db: None)  # writes are done in order

    def collect(self, *bodies: dict[str, Any], tenant: str = "tenant-a", from_sink: bool = False) -> None:
        """Let a job of the tenant send these payloads in this tick."""
        kind, type = ("system", "trigger-proxy-response") if from_sink else ("user", "user-generated")
        for body in bodies:
            self._sequence += 1
            data = frames.Json(orjson.dumps({"job_event": body}))
            outgoing = frames.Publish(self._sequence, f"{tenant}/{JOB}#0", kind, type, "", data)
            self.engine.traffic.publish(self.worker, tenant, JOB, outgoing)

    async def dispatched(self, record: dict[str, Any]) -> dict[str, Any]:
        """The payload that went to the job."""
        found = await self.engine.call("message_search", {"tag": "smoke.invoke", "limit": 200}, ADMIN)
        payloads = (item["message_data"]["job_event"] for item in found["items"])
        return next(one for one in payloads if one["invocation_id"] == record["invocation_id"])


def response(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A trigger_response that ends the invocation, unless the changes spoil it."""
    return {
        "type": "trigger_response",
        "version": 1,
        "tenant_id": "tenant-a",
        "invocation_id": record["invocation_id"],
        "response_slot": "smoke.reply",
        "nonce": "n",
        "outcome": "succeeded",
        "result": {"ok": True},
        "emitted_at_ns": 1739370000000000001,
        **changes,
    }


def proxy_response(envelope: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What http-post reports for an envelope."""
    return {
        "type": "trigger_proxy_response",
        "version": 1,
        **{key: envelope[key] for key in ("tenant_id", "invocation_id", "response_slot", "nonce")},
        "status": 200,
        "headers": {"content-type": "text/plain"},
        "body": "ok",
        "body_encoding": "utf-8",
        "truncated": False,
        "emitted_at_ns": 1739370000000000001,
        **changes,
    }


def path(record: dict[str, Any]) -> list[str]:
    """The types of the events of a record."""
    return [event["type"] for event in record["events"]]
