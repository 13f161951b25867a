"""Deployments and saved plans as the store has them, and what is said of one that it has not."""

from __future__ import annotations

from typing import Any

from core import errors
from core.store import deployments as table
from core.store import saved_plans as plan_table
from core.store.database import Database


async def deployment(database: Database, tenant: str, name: str) -> dict[str, Any]:
    """The row of a deployment, also of a removed one. Raises NotFound."""
    row = await database.read(table.get, tenant, name)
    if row is None:
        raise unknown(tenant, name)
    return row


def unknown(tenant: str, name: str) -> errors.NotFound:
    return errors.NotFound(
        f"There is no deployment {errors.shorten(name, 64)} in tenant {tenant}.",
        hint="deployment_list shows what there is; deployment_plan makes a new one.",
    )


async def saved_plan(database: Database, tenant: str, plan_id: str, now_ns: int) -> dict[str, Any]:
    """A saved plan with its `standing` now. Raises NotFound, also for one of another tenant."""
    saved = await database.read(plan_table.get, tenant, plan_id, now_ns)
    if saved is None:
        raise unknown_plan(tenant, plan_id)
    return saved


def unknown_plan(tenant: str, plan_id: str) -> errors.NotFound:
    return errors.NotFound(
        f"There is no plan {errors.shorten(plan_id, 64)} in tenant {tenant}.",
        hint="Make one with deployment_plan; a plan of a read-only session is not saved.",
    )
