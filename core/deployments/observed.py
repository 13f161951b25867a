"""What the fleet shows of a deployment: its workloads, its workers, its drift, its state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from core import clock
from core.deployments import edits, reconcile, status
from core.fleet.connection import EXTERNAL
from core.fleet.fleet import Fleet
from core.fleet.holdings import Holdings
from core.model import typed_condition
from core.model.condition import Condition, Health, Kind, Subject
from core.model.deployment import DeploymentRow, State, Worker
from core.model.states import DeploymentState
from core.model.typed_condition import Finding, Status, Type, Typed
from core.model.workload import WorkloadView, parse

if TYPE_CHECKING:
    from core.model.results.workloads import DeployedWorkload

WORKER_START_SECONDS = 5.0  # for workers of a fresh engine to come up before a plan is made
FRESH_SECONDS = 1.0
SHOWN_WORKLOADS = 60
SHOWN_DRIFT = 50


def observe(
    fleet: Fleet, tenant: str, row: DeploymentRow, now_ns: int
) -> tuple[DeploymentState, str, list[reconcile.Drift]]:
    """State, reason and drift of a deployment as the fleet shows it now."""
    wish, stored = State.from_dict(row.desired), DeploymentState(row.state)
    return judge(fleet, tenant, row.name, wish, row.ignored, stored, row.revision, row.updated_at_ns, now_ns)


def judge(
    fleet: Fleet,
    tenant: str,
    name: str,
    wish: State,
    ignored: Sequence[str],
    stored: DeploymentState,
    revision: int,
    updated_at_ns: int,
    now_ns: int,
) -> tuple[DeploymentState, str, list[reconcile.Drift]]:
    """The same with the parts of its row, whose wish is parsed; its condition is kept."""
    of_it = views(fleet, tenant, name)
    seen, there = seen_of(fleet, of_it), presence(fleet, tenant, name)
    drift = reconcile.drift(tenant, wish, seen, there, edits.Ignored(ignored))
    since = (now_ns - updated_at_ns) / clock.NANOSECONDS
    loud = [one for one in drift if not one.muted]
    state, reason = status.live_state(stored, loud, since)
    if state is DeploymentState.REMOVED:
        fleet.conditions.forget(Subject(Kind.DEPLOYMENT, tenant, name))
    else:
        # Right after a commit the fleet has not read it yet, and shows as drift what is only on its way.
        fresh = stored is DeploymentState.APPLYING and since < FRESH_SECONDS and state is DeploymentState.DEGRADED
        health = Health.PROGRESSING if fresh else status.health(state)
        decided = typed_condition.of_all((parse(one.id).name, one.typed) for one in of_it)
        missing = next((one for one in loud if one.kind is reconcile.DriftKind.MISSING), None)
        if missing is not None:
            decided[Type.PLACED] = Finding(Status.FALSE, "Missing", f"{parse(missing.id).name} is not there")
        fleet.conditions.saw_deployment(tenant, name, health, reason, revision, decided)
    return state, reason, loud + [one for one in drift if one.muted]


def condition(fleet: Fleet, tenant: str, row: DeploymentRow) -> Condition:
    """The condition of a deployment, once it was observed; of a removed one, since it was."""
    kept = fleet.conditions.of(Subject(Kind.DEPLOYMENT, tenant, row.name))
    return kept or Condition(status.health(DeploymentState(row.state)), row.updated_at_ns)


def typed(fleet: Fleet, tenant: str, name: str) -> Typed:
    """What is so of a deployment by type, as it was decided last."""
    return fleet.conditions.typed(Subject(Kind.DEPLOYMENT, tenant, name))


def views(fleet: Fleet, tenant: str, name: str) -> list[WorkloadView]:
    return fleet.workload_views(tenant=tenant, deployment=name)


def alive(fleet: Fleet, *, tenant: str, deployment: str | None = None, job: str | None = None) -> list[WorkloadView]:
    """Workloads with the truth about those whose worker is not there: they do not run, whatever was said last."""
    online = {row["name"] for row in fleet.worker_rows() if row["state"] in ("online", "draining")}
    return [
        one
        if one.state in ("completed", "quarantined") or one.worker in online
        else replace(one, state="assigned", reason=f"worker {one.worker} is not there", failing="")
        for one in fleet.workload_views(tenant=tenant, deployment=deployment, job=job)
    ]


def workloads(fleet: Fleet, tenant: str, name: str, held: Holdings | None = None) -> dict[str, reconcile.Seen]:
    """What is known of the workloads of a deployment; `held` is what the workers said when they were asked."""
    held = held or Holdings()
    found = seen_of(fleet, views(fleet, tenant, name), held)
    for id, worker in held.stray.items():
        if id.startswith(f"{tenant}/{name}--") and id not in found and not fleet.wants(id):
            found[id] = reconcile.Seen(id, worker, "", "running")
    return found


def seen_of(fleet: Fleet, of: Iterable[WorkloadView], held: Holdings | None = None) -> dict[str, reconcile.Seen]:
    """The same of these workloads, without strays."""
    held = held or Holdings()
    found = {}
    for one in of:
        id = one.id
        answer = reconcile.Held.AS_TOLD
        if id in held.nothing:
            answer = reconcile.Held.NOTHING
        elif id in held.another:
            answer = reconcile.Held.ANOTHER
        found[id] = reconcile.Seen(
            id, one.worker, one.version, one.state, one.reason, fleet.document(id), answer, one.failing
        )
    return found


def presence(fleet: Fleet, tenant: str, name: str) -> dict[str, reconcile.Presence]:
    now = clock.monotonic()
    return {
        worker.name: reconcile.Presence(worker, 0.0 if worker.online else now - fleet.workers[worker.name].away_since)
        for worker in workers(fleet, tenant, name)
    }


def workers(fleet: Fleet, tenant: str, name: str | None) -> list[Worker]:
    """The workers that admit a tenant, with the load that is not of this deployment; with all of it for None."""
    ours: dict[str, int] = {}
    for one in views(fleet, tenant, name) if name is not None else ():
        ours[one.worker] = ours.get(one.worker, 0) + (one.state not in ("completed", "quarantined"))
    return [
        Worker(
            row["name"],
            row["group"],
            fleet.workers[row["name"]].online,
            row["slots"],
            max(0, row["jobs"] - ours.get(row["name"], 0)),
            row["drained"],
        )
        for row in fleet.worker_rows(tenant)
    ]


async def workers_started(fleet: Fleet) -> None:
    """Give workers that have never reported yet a moment to come up, so that a fresh engine does not plan on none.

    Those of other machines may be gone for good: they are waited for only while the engine is fresh.
    """
    fresh_until = fleet.started + WORKER_START_SECONDS
    await fleet.wait(
        lambda: all(
            (row["last_heartbeat_at"] and row["state"] != "offline")
            or (row["kind"] == EXTERNAL and clock.monotonic() > fresh_until)
            for row in fleet.worker_rows()
        ),
        WORKER_START_SECONDS,
    )


def answers(fleet: Fleet, tenant: str, name: str, detailed: bool = False) -> list[DeployedWorkload]:
    """The workloads of a deployment as an answer shows them; the unwell ones first when there are too many."""
    found = views(fleet, tenant, name)
    if len(found) > SHOWN_WORKLOADS:  # what is not well is what someone looks for
        found = sorted(found, key=status.well)[:SHOWN_WORKLOADS]
    return [_detailed(fleet, tenant, one) if detailed else _answer(one) for one in found]


def _answer(one: WorkloadView) -> DeployedWorkload:
    shown: DeployedWorkload = {
        "id": one.id,
        "step": one.step,
        "job": one.job,
        "replica": one.replica,
        "worker": one.worker,
        "state": one.state,
        "reason": one.reason,
        "restarts": one.restarts,
        "version": one.version,
    }
    return shown if one.condition is None else {**shown, **one.condition.to_dict()}


def _detailed(fleet: Fleet, tenant: str, one: WorkloadView) -> DeployedWorkload:
    shown: DeployedWorkload = {**_answer(one), "group": one.group, "metrics": one.metrics}
    if false := one.false():
        shown["conditions"] = false
    if (schedule := fleet.timetables.brief(tenant, one.job)) is not None:
        shown["schedule"] = schedule
    return shown
