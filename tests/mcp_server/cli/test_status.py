"""What `sluice status` tells besides deployments."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from mcp_server.cli import codes, connect, deployments

pytestmark = pytest.mark.anyio


class Client:
    """An engine with single jobs in these states and healths."""

    def __init__(self, *workloads: tuple[str, str]) -> None:
        self._workloads = workloads
        self.last_page: list[str] = []

    async def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return {} if operation == "engine_status" else {"items": [], "next_cursor": "more"}

    def tell_when_idle(self) -> None: ...

    def runs(self) -> bool:
        return True

    async def pages(self, operation: str, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        if operation == "deployment_list":
            yield {"items": []}
            yield {"items": [{"state": state, "drift": 0} for state in self.last_page]}
            return
        assert operation == "job_list"
        listed = [{"state": state, **({"health": health} if health else {})} for state, health in self._workloads]
        managed = {"managed_by": "d", "workloads": [{"state": "running", "health": "degraded"}]}
        yield {"items": [{"managed_by": None, "workloads": listed}, managed]}

    async def trouble(self) -> str:
        return ""


async def told(*workloads: tuple[str, str]) -> str:
    engine = cast(connect.Client, Client(*workloads))
    return await deployments._besides(engine, await deployments._alone(engine))


async def test_single_jobs_that_are_not_healthy_are_told() -> None:
    unwell = await told(("completed", "warning"), ("running", "healthy"), ("running", "warning"), ("failed", "down"))
    assert unwell == (
        "Workloads of single jobs: 1 completed, 1 failed, 2 running; 1 down, 2 warning (sluice job list)."
    )
    assert (
        await told(("running", "healthy"), ("running", "")) == "Workloads of single jobs: 2 running (sluice job list)."
    )
    assert await told() == ""


@pytest.mark.parametrize("common", [connect.DEFAULTS, connect.Common(json=True)], ids=["table", "json"])
@pytest.mark.parametrize(
    ("workloads", "last_page", "narrowed", "code"),
    [
        ([("running", "healthy"), ("completed", "warning"), ("assigned", "progressing")], [], {}, codes.OK),
        ([("failed", "failing")], [], {}, codes.DEGRADED),
        ([("running", "failing")], [], {}, codes.DEGRADED),
        ([("quarantined", "quarantined")], [], {}, codes.DEGRADED),
        ([("running", "down")], [], {}, codes.DEGRADED),
        ([("failed", "failing")], [], {"query": "web"}, codes.OK),
        ([], ["running", "degraded"], {}, codes.DEGRADED),
    ],
)
async def test_the_exit_code_tells_of_single_jobs_and_of_every_page(
    monkeypatch: pytest.MonkeyPatch,
    common: connect.Common,
    workloads: list[tuple[str, str]],
    last_page: list[str],
    narrowed: dict[str, Any],
    code: int,
) -> None:
    engine = Client(*workloads)
    engine.last_page = last_page

    @contextlib.asynccontextmanager
    async def opened(common: connect.Common) -> AsyncIterator[Client]:
        yield engine

    monkeypatch.setattr(connect, "engine", opened)
    assert await deployments.status(exit_code=True, common=common, **narrowed) == code
    assert await deployments.status(common=common, **narrowed) == codes.OK
