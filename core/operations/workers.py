"""Workers: who is there to run jobs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from core.engine import Engine
from core.model.principal import Caller
from core.operations.registry import Page, items_schema, offset_page, operation


class WorkerList(Page):
    group: str | None = Field(default=None, max_length=64)
    """Only workers of this group."""
    state: Literal["online", "draining", "offline", "lost"] | None = None
    """Only workers in this state."""


@operation(summary="List the workers.", http="GET /api/workers", toolset="workers", result=items_schema())
async def worker_list(engine: Engine, caller: Caller, params: WorkerList) -> dict[str, Any]:
    """List the workers with group, state, process id, slots, and how many jobs each holds."""
    rows = [
        row
        for row in engine.fleet.worker_rows()
        if (params.group is None or row["group"] == params.group)
        and (params.state is None or row["state"] == params.state)
    ]
    return offset_page(rows, params)
