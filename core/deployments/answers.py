"""Deployments as answers show them: in a list, and one of them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core import clock, errors
from core.catalog import items
from core.deployments import observed, reconcile, status
from core.documents import differences
from core.fleet.fleet import Fleet
from core.model.condition import Health
from core.model.deployment import DeploymentRow
from core.model.states import DeploymentState
from core.workflows.library import Library

if TYPE_CHECKING:
    from core.model.results.deployments import DeploymentBrief, DeploymentItem


def listed(fleet: Fleet, tenant: str, row: DeploymentRow, now_ns: int) -> DeploymentItem:
    """A row of the list; its state is `removed` of one that is not there any more."""
    found, drift = summary(fleet, tenant, row, now_ns)
    return {
        **found,
        "workloads": up(fleet, tenant, row),
        "drift": sum(not one.muted for one in drift),
        "reconcile": row.reconcile,
        "updated_at": clock.iso(row.updated_at_ns),
        "updated_by": row.updated_by,
    }


def fits(item: DeploymentItem, query: str, state: str | None, removed: bool) -> bool:
    """Whether a row of the list has every word of a query in its name or source, and a state, which may be the word
    for its health; `removed`: whether one that is not there any more fits at all."""
    if item["state"] == DeploymentState.REMOVED and not removed:
        return False
    text = f"{item['name']} {item['source']}".casefold()
    return state in (None, item["state"], item["health"]) and all(word in text for word in query.casefold().split())


def summary(
    fleet: Fleet, tenant: str, row: DeploymentRow, now_ns: int
) -> tuple[DeploymentBrief, Sequence[reconcile.Drift]]:
    """How a deployment is now, and since when; and its drift."""
    state, reason, drift = observed.observe(fleet, tenant, row, now_ns)
    condition = observed.condition(fleet, tenant, row)
    warns = state is DeploymentState.RUNNING and condition.health is Health.WARNING
    found: DeploymentBrief = {
        "name": row.name,
        "state": state,
        "reason": reason or (condition.reason if warns else ""),
        "health": condition.health if warns else status.health(state),
        "since": clock.iso(condition.since_ns),
        "revision": row.revision,
        "source": row.source,
    }
    return found, drift


def up(fleet: Fleet, tenant: str, row: DeploymentRow) -> str:
    """How many of its workloads are up, of how many: 2/3."""
    there = observed.views(fleet, tenant, row.name)
    return f"{sum(map(status.up, there))}/{len(there)}"


async def values(
    library: Library, row: DeploymentRow, given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was asked for, and what holds for each field that was left out, as long as the source is in the catalog.
    Credentials are masked."""
    source = source_of(await library.visible(row.tenant), row.source)
    fields = items.wizard(source) if source is not None else []
    defaults = {one["field"]: one["default"] for one in fields if one["field"] not in given}
    set_ones = {name: value for name, value in defaults.items() if value is not None}
    return differences.masked(dict(given)), differences.masked(set_ones)


def source_of(catalog: Sequence[items.Entry], source: str) -> items.Entry | None:
    """What a deployment was made of, KIND:SLUG@VERSION; None when it is not in the catalog now."""
    kind, _, rest = source.partition(":")
    slug, _, version = rest.partition("@")
    try:
        return items.pick(catalog, slug, kind, version or None)
    except errors.SluiceError:
        return None
