"""Two tenants that call everything the same: each works on its own, and what one takes away the other still has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.attacks import rig
from tests.engines import ADMIN

pytestmark = pytest.mark.anyio

TENANTS = ("one", "two")
ANSWER = """\
name: answer
input:
  echo:
    trigger: {message: {filter-kind: user, filter-type: [user-generated], filter-tag: ask}}
    json: true
    event: "{}"
actions:
  - add:
      output-fields:
        trigger_response:
          type: trigger_response
          version: 1
          tenant_id: "${msg|job_event.trigger.tenant_id}"
          invocation_id: "${msg|job_event.invocation_id}"
          response_slot: reply
          outcome: succeeded
          nonce: "${msg|job_event.invocation_id}"
          emitted_at_ns: "${msg|job_event.requested_at_ns}"
          result: {region: "{{region}}", told: "${dyn|GREETING}"}
  - convert: {conversions: [{field: trigger_response.emitted_at_ns, conversion: json}]}
output: {message: {input-field: trigger_response}}
"""
FLOW = """\
kind: workflow
slug: flow
title: Flow of %s
steps:
  - {id: beat, use: "blueprint:echo-source@1.0.0", with: {event: '{"n": "{{region}}"}', interval: 1h}, out: channel:c}
  - {id: print, use: "blueprint:file-printer@1.0.0", in: channel:c}
"""
TRIGGER = {"slug": "ask", "target_job_name": "answer", "target_message_tag": "ask", "response_slot": "reply"}
RUN = {"params": {}, "idempotency_key": "the same", "wait_timeout_seconds": 20}


class Tenant:
    """An admin of one tenant, over HTTP."""

    def __init__(self, name: str, client: httpx.AsyncClient, token: str) -> None:
        self.name = name
        self._client = client
        self._headers = {"authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = await self._client.request(method, f"/api{path}", json=body or None, headers=self._headers)
        assert answer.is_success, (self.name, method, path, answer.text)
        return dict(answer.json())

    async def furnish(self) -> None:
        await self.ask("POST", "/contexts/update-global", values={"region": f"region of {self.name}"})
        await self.ask("POST", "/variables/GREETING", value=f"greeting of {self.name}")
        await self.ask("POST", "/secrets", name="web/key", value=f"secret of {self.name}")
        await self.ask("POST", "/kv/set", namespace="n", key="k", value=f"value of {self.name}")
        await self.ask("POST", "/jobs", document=ANSWER)
        await self.ask("POST", "/jobs/answer/deploy")
        await self.ask("POST", "/triggers/publish", **TRIGGER, description=f"trigger of {self.name}")
        await self.ask("POST", "/workflows", document=FLOW % self.name)
        await self.ask("POST", "/workflows/flow/publish")
        plan = await self.ask("POST", "/deployments/place/plan", source="workflow:flow")
        await self.ask("POST", f"/plans/{plan['plan_id']}/apply")

    async def shown(self) -> dict[str, Any]:
        """What there is, as this tenant sees it."""
        reads = {
            "kv": "/kv/value?namespace=n&key=k",
            "variables": "/variables",
            "secrets": "/secrets",
            "contexts": "/contexts",
            "job": "/jobs/answer",
            "jobs": "/jobs",
            "trigger": "/triggers/ask",
            "runs": "/trigger-invocations",
            "workflow": "/workflows/flow",
            "deployment": "/deployments/place",
            "history": "/deployments/place/history",
        }
        return {name: await self.ask("GET", path) for name, path in reads.items()}

    async def leave(self) -> None:
        """Take everything away."""
        plan = await self.ask("POST", "/deployments/place/plan", remove=True)
        await self.ask("POST", f"/plans/{plan['plan_id']}/apply")
        await self.ask("POST", "/workflows/flow/retire", version=1)
        await self.ask("POST", "/triggers/ask/deactivate")
        await self.ask("POST", "/jobs/answer/undeploy")
        await self.ask("DELETE", "/jobs/answer")
        await self.ask("POST", "/kv/delete", namespace="n", key="k")
        await self.ask("POST", "/secrets/delete", name="web/key")
        await self.ask("DELETE", "/variables/GREETING")
        await self.ask("POST", "/contexts/delete", keys=["region"])


@pytest.fixture
async def tenants(tmp_path: Path) -> AsyncIterator[list[Tenant]]:
    async with rig.target(tmp_path / "home", workers=1) as server, server.client(None) as client:
        client.timeout = httpx.Timeout(40)
        made = []
        for name in TENANTS:
            wanted = {"username": "same", "role": "admin", "tenants": [name]}
            token = (await server.engine.call("token_create", wanted, ADMIN))["token"]
            made.append(Tenant(name, client, token))
        yield made


def _volatile(shown: Any) -> Any:
    """The same without what goes on by itself: times and figures of running jobs."""
    if isinstance(shown, dict):
        passing = ("metrics", "uptime", "checked", "observed", "_at", "_seconds", "health", "since")
        return {key: _volatile(value) for key, value in shown.items() if not any(part in key for part in passing)}
    return [_volatile(one) for one in shown] if isinstance(shown, list) else shown


async def test_two_tenants_with_the_same_names_and_keys_do_not_meet(tenants: list[Tenant]) -> None:
    one, two = tenants
    with anyio.fail_after(120):
        await asyncio.gather(one.furnish(), two.furnish())
        runs = await asyncio.gather(*(tenant.ask("POST", "/triggers/ask/invoke", **RUN) for tenant in tenants * 3))
        for number, run in enumerate(runs):
            mine = tenants[number % 2]
            assert (run["state"], run["tenant_id"]) == ("succeeded", mine.name), run
            assert run["result"]["trigger_response"]["result"] == {
                "region": f"region of {mine.name}",
                "told": f"greeting of {mine.name}",
            }
        assert len({run["invocation_id"] for run in runs}) == 2, "one key is one run in each tenant"
        for tenant, other in ((one, two), (two, one)):
            shown = await tenant.shown()
            assert shown["runs"]["total"] == 1 and shown["jobs"]["total"] >= 1
            assert f"of {other.name}" not in str(shown) and f"of {tenant.name}" in str(shown)
            assert shown["deployment"]["state"] == "running"
            heard = await tenant.ask("GET", "/messages?limit=100")
            assert f"'{other.name}'" not in str(heard) and f"of {other.name}" not in str(heard)
        before = _volatile(await two.shown())
        await one.leave()
        assert _volatile(await two.shown()) == before
        again = await two.ask("POST", "/triggers/ask/invoke", **{**RUN, "idempotency_key": "another"})
        assert again["result"]["trigger_response"]["result"]["region"] == "region of two"
        gone = await asyncio.gather(
            *(one.ask("GET", path) for path in ("/jobs", "/variables", "/secrets", "/contexts"))
        )
        assert [page["items"] for page in gone] == [[], [], [], []]
