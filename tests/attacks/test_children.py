"""A key makes keys: none of them does more, opens more or lives longer than the one that made it.

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
WIDER: list[tuple[str, dict[str, Any]]] = [
    ("scopes", {"scopes": []}),
    ("scopes", {"scopes": ["operation:token_create", "toolset:administration"]}),
    ("scopes", {"scopes": ["read"]}),
    ("platform", {"platform": True}),
    ("tenants", {"tenants": ["*"]}),
    ("end", {"expires_in_seconds": 7200}),
]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Scene:
    """The server, and credentials by name."""

    stage: stage.Stage
    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    async def send(self, who: str, method: str, path: str, body: Any = None, tenant: str = TENANT) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys[who]}", "x-sluice-tenant": tenant}
        async with httpx.AsyncClient(base_url=self.stage.url, trust_env=False, timeout=20) as client:
            return await client.request(method, path, json=body, headers=headers)

    async def make(self, maker: str, name: str = "", tenant: str = TENANT, **more: Any) -> httpx.Response:
        wanted = {"username": "ada", "role": "admin", "tenants": [tenant], **more}
        made = await self.send(maker, "POST", "/api/tokens", wanted, tenant)
        if name:
            assert made.status_code == 201, made.text
            self.keys[name], self.ids[name] = made.json()["token"], made.json()["id"]
        return made

    async def jwt(self, of: str, name: str, seconds: int) -> None:
        minted = await self.send(of, "POST", "/api/auth/token", {"ttl_seconds": seconds})
        assert minted.status_code == 200, minted.text
        self.keys[name] = minted.json()["access_token"]

    async def counts(self, who: str) -> bool:
        return (await self.send(who, "GET", "/api/auth/whoami")).status_code == 200


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    made = stage.Stage(tmp_path_factory.mktemp("children") / "home")
    try:
        with anyio.fail_after(60):
            await made.start(workers=0)
            found = Scene(made, {"operator": (made.home / connect.ADMIN_TOKEN).read_text().strip()})
            await found.make("operator", "admin")
            limits = {"scopes": ["operation:token_create"], "expires_in_seconds": 3600}
            await found.make("operator", "maker", **limits)
            await found.make("operator", "eve", tenant="tenant-b", username="eve")
        yield found
    finally:
        with anyio.fail_after(30, shield=True):
            await made.stop()


async def test_a_jwt_of_a_minute_makes_no_key(scene: Scene) -> None:
    await scene.jwt("admin", "jwt", 60)
    for path, body in (("/api/tokens", {"username": "ada", "tenants": [TENANT]}), ("/api/auth/token", {})):
        refused = await scene.send("jwt", "POST", path, body)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "API key itself" in refused.json()["hint"]
    made = await scene.stage.cli("token", "create", "--username", "ci", remote=True)
    assert made.result["token"].startswith("sluice_"), "the command line shows its API key for this"


@pytest.mark.parametrize(("beyond", "wish"), WIDER, ids=str)
async def test_a_key_that_may_only_make_keys_makes_none_that_is_wider(
    beyond: str, wish: dict[str, Any], scene: Scene
) -> None:
    same = {"scopes": ["operation:token_create"]}
    refused = await scene.make("maker", **{**same, **wish})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), refused.text
    assert beyond in refused.json()["detail"].partition(":")[2]
    child = (await scene.make("maker", **same)).json()
    assert child["expires_at"] is not None and child["scopes"] == same["scopes"], "it ends with its maker"


async def test_a_tenant_that_is_not_the_makers_is_not_there(scene: Scene) -> None:
    refused = await scene.make("admin", **{"tenants": [TENANT, "tenant-b"]})
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")


async def test_nobody_takes_the_name_of_somebody_who_may_do_more(scene: Scene) -> None:
    """Names stand in every record, and what is remembered of a user is remembered by them."""
    operator = (await scene.send("operator", "GET", "/api/auth/whoami", tenant="default")).json()["username"]
    for who, tenant, name in (
        ("eve", "tenant-b", "ada"),  # an admin of another tenant
        ("eve", "tenant-b", operator),  # the operator
        ("admin", TENANT, operator),
        ("admin", TENANT, "sluice"),  # the engine itself
        ("admin", TENANT, "eve"),
    ):
        refused = await scene.make(who, tenant=tenant, username=name, role="user")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), (who, name, refused.text)
        assert "in use" in refused.json()["detail"]
    for who, name in (("admin", "bob"), ("admin", "bob"), ("operator", "bob"), ("operator", "ada")):
        assert (await scene.make(who, username=name, role="user")).status_code == 201, (who, name)


async def test_what_a_key_made_ends_with_it(scene: Scene) -> None:
    await scene.make("admin", "parent")
    await scene.make("parent", "child", username="bob")
    await scene.make("child", "grandchild", username="bob")
    await scene.make("admin", "sibling")
    await scene.jwt("grandchild", "jwt", 600)
    family = ["parent", "child", "grandchild", "jwt"]
    assert [await scene.counts(who) for who in (*family, "sibling")] == [True] * 5
    listed = {
        row["id"]: row["made_by"] for row in (await scene.send("admin", "GET", "/api/tokens?limit=200")).json()["items"]
    }
    assert (listed[scene.ids["child"]], listed[scene.ids["parent"]]) == (scene.ids["parent"], scene.ids["admin"])
    ended = await scene.send("admin", "POST", f"/api/tokens/{scene.ids['parent']}/revoke")
    assert set(ended.json()["with"]) == {scene.ids["child"], scene.ids["grandchild"]}
    assert [await scene.counts(who) for who in (*family, "sibling")] == [False] * 4 + [True]
    noted = (await scene.send("admin", "GET", "/api/audit?operation=token_revoke&limit=1")).json()["items"][0]
    assert all(scene.ids[who] in noted["target"] for who in ("parent", "child", "grandchild"))


async def test_a_tenant_admin_neither_sees_nor_withdraws_a_key_of_the_platform(scene: Scene) -> None:
    await scene.make("operator", "platform", platform=True, username="pat")
    listed = (await scene.send("admin", "GET", "/api/tokens?limit=200")).json()["items"]
    refused = await scene.send("admin", "POST", f"/api/tokens/{scene.ids['platform']}/revoke")
    assert scene.ids["platform"] not in {row["id"] for row in listed} and refused.status_code == 404
    assert await scene.counts("platform")
