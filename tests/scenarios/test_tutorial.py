"""The tutorial "Quickstart File Store Roundtrip", step by step, by each of the three doors of a real server."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_server.cli import stage
from tests import waiting
from tests.running import running

pytestmark = pytest.mark.anyio
SLUG = "quickstart-file-store-roundtrip"
NAME = "file-store-roundtrip-demo"

Say = Callable[..., Awaitable[stage.Answer]]
"""Makes one call in the words of a door: (mcp tool and arguments, "METHOD /path" and body, command line)."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[stage.Stage]:
    """A server for all doors, each of which has a tenant of its own."""
    async with running(tmp_path_factory.mktemp("tutorial"), workers=1) as scene:
        yield scene


@asynccontextmanager
async def door(scene: stage.Stage, which: str, tenant: str) -> AsyncIterator[Say]:
    async def by_http(tool: str, arguments: dict[str, Any], http: str, body: dict[str, Any], cli: str) -> stage.Answer:
        method, path = http.split()
        return await scene.http(method, path, tenant, **body)

    async def by_cli(tool: str, arguments: dict[str, Any], http: str, body: dict[str, Any], cli: str) -> stage.Answer:
        return await scene.cli(*shlex.split(cli), tenant=tenant)

    if which == "mcp":
        async with scene.mcp(tenant, toolsets="catalog,deployments,jobs") as client:

            async def by_mcp(
                tool: str, arguments: dict[str, Any], http: str, body: dict[str, Any], cli: str
            ) -> stage.Answer:
                return await client.call(tool, **arguments)

            yield by_mcp
    else:
        yield by_http if which == "http" else by_cli


async def must(answer: Awaitable[stage.Answer]) -> dict[str, Any]:
    found = await answer
    assert not found.code, found
    return found.result


@pytest.mark.parametrize("which", ["mcp", "http", "cli"])
async def test_the_tutorial_goes_as_it_is_written(scene: stage.Stage, which: str) -> None:
    tenant = f"by-{which}"
    data = scene.data(tenant)
    store = data / "file-store"
    with anyio.fail_after(120):
        async with door(scene, which, tenant) as say:
            await find_the_workflow(say)
            await apply(say, await plan(say, store, "demo"), revision=1)
            await verify(say, store)
            await apply(say, await plan(say, store, "second"), revision=2)
            await go_back(say)
            await troubleshoot(say, data)


async def find_the_workflow(say: Say) -> None:
    """Step 1: Catalog, filter to workflows, search, take the latest version."""
    query = {"query": SLUG, "type": "workflow"}
    words = f"catalog search {SLUG} --type workflow"
    found = await must(say("catalog_search", query, f"GET /api/catalog?query={SLUG}&type=workflow", {}, words))
    assert (found["items"][0]["slug"], found["items"][0]["title"]) == (SLUG, "Quickstart: File Store Roundtrip")
    shown = await must(say("catalog_get", {"slug": SLUG}, f"GET /api/catalog/{SLUG}", {}, f"catalog show {SLUG}"))
    asked = {field["field"]: field.get("required", False) for field in shown["wizard"]}
    assert asked == {"path": True, "guid_prefix": False}


async def plan(say: Say, store: Path, prefix: str) -> dict[str, Any]:
    """Steps 2 and 3: name, worker group, wizard fields; review the plan."""
    values = {"path": store.name, "guid_prefix": prefix}
    body = {"source": f"workflow:{SLUG}", "worker_group": "default", "values": values}
    words = f"plan {NAME} --from workflow:{SLUG} --group default --set path={store.name} --set guid_prefix={prefix}"
    made = await must(say("deployment_plan", {"name": NAME, **body}, f"POST /api/deployments/{NAME}/plan", body, words))
    assert made["saved"] and made["blockers"] == [] and made["warnings"] == []
    assert made["text"].splitlines()[-1].startswith("Plan: ") and len(made["text"].splitlines()) <= 12
    return made


async def apply(say: Say, made: dict[str, Any], revision: int) -> None:
    """Step 3: apply; and the same plan is not applied again."""
    id = made["plan_id"]
    told = ("deployment_apply", {"plan_id": id}, f"POST /api/plans/{id}/apply", {}, f"apply {id}")
    done = await must(say(*told))
    assert (done["deployment"], done["revision"], done["state"]) == (NAME, revision, "running")
    assert (await say(*told)).code == "plan_used"
    shown = await must(say("plan_get", {"plan_id": id}, f"GET /api/plans/{id}", {}, f"plans show {id}"))
    assert (shown["state"], shown["applied_as_revision"], shown["changes"]) == ("applied", revision, made["changes"])


async def verify(say: Say, store: Path) -> None:
    """Step 4: it runs, events are printed, files are there."""
    seen = await must(say("deployment_get", {"name": NAME}, f"GET /api/deployments/{NAME}", {}, f"status {NAME}"))
    assert (seen["state"], seen["health"], seen["drift"]) == ("running", "healthy", [])
    await waiting.until(lambda: list(store.rglob("demo-*.json")))
    job = f"{NAME}--print"

    async def printed() -> bool:
        log = await must(say("job_get", {"name": job}, f"GET /api/jobs/{job}", {}, f"job show {job}"))
        return any(line["text"] == '{"hello":"world"}' for line in log["log"])

    await waiting.until(printed)


async def go_back(say: Say) -> None:
    """The history has both versions, and the older one comes back by a plan."""
    listed = await must(
        say(
            "deployment_history",
            {"name": NAME},
            f"GET /api/deployments/{NAME}/history",
            {},
            f"history {NAME}",
        )
    )
    assert [(row["revision"], row["action"]) for row in listed["items"]] == [(2, "apply"), (1, "apply")]
    assert len({row["surface"] for row in listed["items"]}) == 1
    back = await must(
        say(
            "deployment_plan",
            {"name": NAME, "to_revision": 1},
            f"POST /api/deployments/{NAME}/plan",
            {"to_revision": 1},
            f"rollback {NAME} --to 1",
        )
    )
    assert [(one["action"], one["kind"]) for one in back["changes"]] == [("update", "transport")]
    await apply(say, back, revision=3)


async def troubleshoot(say: Say, data: Path) -> None:
    """A path that cannot be used: the apply is taken back, and explain tells why."""
    (data / "no-folder").write_text("a file")
    made = await plan(say, data / "no-folder", "demo")
    id = made["plan_id"]
    done = await must(
        say(
            "deployment_apply",
            {"plan_id": id, "rollback_on_failure": True},
            f"POST /api/plans/{id}/apply",
            {"rollback_on_failure": True},
            f"apply {id} --rollback-on-failure",
        )
    )
    assert (done["rolled_back"], done["revision"], done["state"]) == (True, 5, "running")
    told = await must(
        say(
            "explain",
            {"kind": "deployment", "id": NAME},
            f"GET /api/explain/deployment/{NAME}",
            {},
            f"explain deployment {NAME}",
        )
    )
    assert any("was taken back: " in cause["what"] for cause in told["because"])
    assert "is not a directory" in " ".join(cause["what"] for cause in told["because"])
