"""Which workloads a list shows, and how. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.model.workload import WorkloadView, parse

if TYPE_CHECKING:
    from core.model.results import workloads


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list is asked for; None asks for nothing. `health` is that of the condition."""

    step: str | None = None
    group: str | None = None
    state: str | None = None
    health: str | None = None


def kept(views: Iterable[WorkloadView], wanted: Wanted) -> list[WorkloadView]:
    """The workloads that fit, by deployment, job and replica."""
    fits = (
        one
        for one in views
        if wanted.step in (None, one.step)
        and wanted.group in (None, one.group)
        and wanted.state in (None, one.state)
        and (wanted.health is None or (one.condition is not None and one.condition.health == wanted.health))
    )
    return sorted(fits, key=lambda one: (one.deployment, one.job, one.replica))


def to_item(one: WorkloadView) -> workloads.Workload:
    """A row of the list: what it is, where, and how since when."""
    item: workloads.Workload = {
        "workload": parse(one.id).name,
        "deployment": one.deployment or None,
        "step": one.step or None,
        "job": one.job,
        "replica": one.replica,
        "worker": one.worker or None,
        "group": one.group,
        "state": one.state,
        "reason": one.reason,
        "restarts": one.restarts,
        "version": one.version,
    }
    return item if one.condition is None else {**item, **one.condition.to_dict()}


def with_conditions(one: WorkloadView) -> workloads.Workload:
    """The same with what is so of it by type."""
    return {**to_item(one), "conditions": [typed.to_dict() for typed in one.typed]}
