"""Deployments and saved plans as the store has them, and what is said of one that it has not."""

from __future__ import annotations

from typing import NamedTuple

from core import clock, errors
from core.model.deployment import DeploymentRow
from core.model.plan import SavedPlan
from core.model.principal import Caller
from core.model.states import DeploymentState
from core.store import audit
from core.store import deployments as table
from core.store import saved_plans as plan_table
from core.store.database import Database


async def deployment(database: Database, tenant: str, name: str) -> DeploymentRow:
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


class Keeping(NamedTuple):
    """How a deployment is kept: auto or manual, how often it is compared (None: as the engine is set to), which drift
    is left alone; `changed` tells whether that is new."""

    mode: str
    interval_seconds: int | None
    ignored: list[str]
    changed: bool


async def set_keeping(
    database: Database,
    ids: clock.Ids,
    caller: Caller,
    name: str,
    mode: str | None,
    interval_seconds: int | None,
    ignored: list[str] | None,
) -> Keeping:
    """Say how a deployment is kept; what is None stays, and an interval of 0 is that of the engine.

    Raises NotFound, also for one that was removed.
    """
    row = await deployment(database, caller.tenant, name)
    if row.state == DeploymentState.REMOVED:
        raise unknown(caller.tenant, name)
    mode = mode or row.reconcile
    interval = row.reconcile_interval_seconds if interval_seconds is None else interval_seconds or None
    ignored = row.ignored if ignored is None else list(dict.fromkeys(ignored))
    note = audit.row(ids.next(), caller, "deployment_set", f"{caller.tenant}/{name}")
    changed = await database.write(table.set_reconcile, caller.tenant, name, mode, interval, ignored, note)
    return Keeping(mode, interval, ignored, changed)


async def saved_plan(database: Database, tenant: str, plan_id: str, now_ns: int) -> SavedPlan:
    """A saved plan as it stands now. Raises NotFound, also for one of another tenant."""
    saved = await database.read(plan_table.get, tenant, plan_id, now_ns)
    if saved is None:
        raise unknown_plan(tenant, plan_id)
    return saved


def unknown_plan(tenant: str, plan_id: str) -> errors.NotFound:
    return errors.NotFound(
        f"There is no plan {errors.shorten(plan_id, 64)} in tenant {tenant}.",
        hint="Make one with deployment_plan; a plan of a read-only session is not saved.",
    )
