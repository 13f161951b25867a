"""A second key, a user's key and a key for one trigger repeat what somebody else was answered: nobody gets it.

Through a real `sluice serve`, as a stranger with curl would.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest

from mcp_server.cli import connect, stage

pytestmark = pytest.mark.anyio
TENANT = "tenant-a"
MADE = {"name": "stolen?", "username": "dan", "role": "admin", "tenants": [TENANT]}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Scene:
    """The server, and the credentials of one user name: an admin's key, another one, a user's, one for a trigger."""

    url: str
    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    async def send(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=20) as client:
            told = {"authorization": f"Bearer {self.keys[who]}", "x-sluice-tenant": TENANT, **headers}
            return await client.request(method, path, json=body, headers=told)

    async def key(self, name: str, **more: Any) -> None:
        wanted = {"username": "ada", "tenants": [TENANT], **more}
        made = await self.send("operator", "POST", "/api/tokens", wanted)
        assert made.status_code == 201, made.text
        self.keys[name], self.ids[name] = made.json()["token"], made.json()["id"]


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    made = stage.Stage(tmp_path_factory.mktemp("replays") / "home")
    try:
        with anyio.fail_after(60):
            await made.start(workers=0)
            found = Scene(made.url, {"operator": (made.home / connect.ADMIN_TOKEN).read_text().strip()})
            await found.key("admin", role="admin")
            await found.key("second", role="admin")
            await found.key("user", role="user")
            await found.key("trigger", role="admin", scopes=["trigger:x"])
            await found.key("elsewhere", role="admin", tenants=["tenant-b"])
        yield found
    finally:
        with anyio.fail_after(30, shield=True):
            await made.stop()


async def test_an_answer_that_holds_a_credential_is_given_once(scene: Scene) -> None:
    first = await scene.send("admin", "POST", "/api/tokens", MADE, **{"idempotency-key": "once"})
    again = await scene.send("admin", "POST", "/api/tokens", MADE, **{"idempotency-key": "once"})
    token = first.json().pop("token")
    assert first.status_code == 201 and token.startswith("sluice_")
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")
    assert token not in again.text and again.json()["details"]["id"] == first.json()["id"]
    assert "withdraw" in again.json()["hint"]
    listed = (await scene.send("admin", "GET", "/api/tokens")).json()["items"]
    assert sum(row["name"] == MADE["name"] for row in listed) == 1


@pytest.mark.parametrize(("who", "status"), [("user", 403), ("trigger", 403), ("elsewhere", 404)])
async def test_who_may_not_do_it_is_refused_before_the_key_is_looked_at(who: str, status: int, scene: Scene) -> None:
    """The refusal is the same for a key that an admin of the same name used, one that nobody used, and none at all."""
    await scene.send("admin", "POST", "/api/tokens", MADE, **{"idempotency-key": "refused"})
    calls = ({"idempotency-key": "refused"}, {"idempotency-key": "of nobody"}, {})
    answers = [await scene.send(who, "POST", "/api/tokens", MADE, **headers) for headers in calls]
    assert {answer.status_code for answer in answers} == {status}
    assert len({answer.content for answer in answers}) == 1 and "sluice_" not in answers[0].text
    if who != "elsewhere":
        noted = (await scene.send("admin", "GET", "/api/audit?decision=forbidden&limit=3")).json()["items"]
        assert [row["operation"] for row in noted] == ["token_create"] * 3


async def test_another_key_of_the_same_user_gets_an_answer_of_its_own(scene: Scene) -> None:
    body = {"values": {"region": "eu"}}
    path, header = "/api/contexts/update-global", {"idempotency-key": "whose"}
    first, second, again = [await scene.send(who, "POST", path, body, **header) for who in ("admin", "second", "admin")]
    assert first.status_code == second.status_code == 200
    assert "idempotent-replayed" not in second.headers and again.headers["idempotent-replayed"] == "true"


async def test_a_jwt_is_its_key_so_a_client_may_renew_it_between_two_tries(scene: Scene) -> None:
    for n in range(2):
        minted = await scene.send("second", "POST", "/api/auth/token", {"ttl_seconds": 60})
        scene.keys[f"jwt {n}"] = minted.json()["access_token"]
    body, header = {"value": "x"}, {"idempotency-key": "renewed"}
    first, again = [await scene.send(f"jwt {n}", "POST", "/api/variables/RENEWED", body, **header) for n in range(2)]
    assert again.content == first.content and again.headers["idempotent-replayed"] == "true"


async def test_a_key_of_a_trigger_tells_those_who_may_not_run_it_nothing(scene: Scene) -> None:
    """Its keys belong to the user name, so that a run is found through every door; who asks must be let run it."""
    trigger = {"slug": "deploy_it", "target_job_name": "j", "target_message_tag": "t"}
    policy = {"invoke_policy": {"allow_admin": True, "allow_user": False}}
    assert (await scene.send("admin", "POST", "/api/triggers/publish", {**trigger, **policy})).status_code == 201
    path, body = "/api/triggers/deploy_it/invoke", {"params": {}, "wait_timeout_seconds": 0}
    run = await scene.send("admin", "POST", path, body, **{"idempotency-key": "run"})
    again = await scene.send("second", "POST", path, body, **{"idempotency-key": "run"})
    assert again.json()["invocation_id"] == run.json()["invocation_id"], "another key of this user that may run it"
    for who, status in (("user", 403), ("trigger", 403), ("elsewhere", 404)):
        answers = [await scene.send(who, "POST", path, body, **{"idempotency-key": key}) for key in ("run", "free")]
        assert {answer.status_code for answer in answers} == {status}
        assert answers[0].content == answers[1].content and run.json()["invocation_id"] not in answers[0].text
