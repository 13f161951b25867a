"""What `sluice status` tells besides deployments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from mcp_server.cli import connect, deployments

pytestmark = pytest.mark.anyio


class Client:
    """An engine with single jobs in these states and healths."""

    def __init__(self, *workloads: tuple[str, str]) -> None:
        self._workloads = workloads

    async def pages(self, operation: str, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        assert operation == "job_list"
        listed = [{"state": state, **({"health": health} if health else {})} for state, health in self._workloads]
        managed = {"managed_by": "d", "workloads": [{"state": "running", "health": "degraded"}]}
        yield {"items": [{"managed_by": None, "workloads": listed}, managed]}

    async def trouble(self) -> str:
        return ""


async def told(*workloads: tuple[str, str]) -> str:
    return await deployments._besides(cast(connect.Client, Client(*workloads)))


async def test_single_jobs_that_are_not_healthy_are_told() -> None:
    unwell = await told(("completed", "warning"), ("running", "healthy"), ("running", "warning"), ("failed", "down"))
    assert unwell == (
        "Workloads of single jobs: 1 completed, 1 failed, 2 running; 1 down, 2 warning (sluice job list)."
    )
    assert (
        await told(("running", "healthy"), ("running", "")) == "Workloads of single jobs: 2 running (sluice job list)."
    )
    assert await told() == ""
