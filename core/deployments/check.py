"""Whether a saved plan may be applied now, and what refuses it. Pure; apply.py carries it out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from core import clock, errors
from core.deployments.records import unknown_plan
from core.documents import canonical
from core.model.deployment import DeploymentRow, HistoryEntry, State, Worker
from core.model.plan import Finding, SavedPlan
from core.model.principal import Caller
from core.model.states import PlanState


def check(
    plan: SavedPlan | None,
    plan_id: str,
    deployment: DeploymentRow | None,
    since: Sequence[HistoryEntry],
    caller: Caller,
    now_ns: int,
) -> State:
    """The wish of a saved plan, if it may be applied now.

    `since` is the history after the plan's base revision, newest first. Raises
    NotFound, Forbidden, PlanUsed, StalePlan (with what moved), PlanExpired, PlanBlocked, or Internal when the stored
    plan is not the one that was made.
    """
    if plan is None:
        raise unknown_plan(caller.tenant, plan_id)
    again = _again(plan)
    if plan.username != caller.username:
        raise errors.Forbidden(f"This plan was made by {plan.username}; only they can apply it.", hint=again)
    moved = deployment.revision if deployment is not None else 0
    match PlanState(plan.state):
        case PlanState.APPLIED:
            raise _used(plan_id, deployment, since, again)
        case PlanState.DISCARDED:
            raise errors.PlanUsed("This plan was discarded.", hint=again)
        case PlanState.EXPIRED:
            raise _expired(plan, again)
        case PlanState.STALE:
            raise stale(plan, moved, since)
        case PlanState.OPEN:
            pass
    if now_ns >= plan.expires_at_ns:
        raise _expired(plan, again)
    if moved != plan.base_revision:
        raise stale(plan, moved, since)
    blockers = plan.body.blockers
    if blockers:
        raise errors.PlanBlocked(
            f"This plan cannot be applied; blockers: {len(blockers)}. The first: {blockers[0].message}",
            hint=blockers[0].hint or again,
            errors=[errors.Problem(one.pointer, f"{one.code}: {one.message}") for one in blockers],
        )
    if canonical.digest(plan.body.desired) != plan.digest:
        raise errors.Internal("The stored plan is not the one that was made; nothing was changed.", hint=again)
    return State.from_dict(plan.body.desired)


def _again(plan: SavedPlan) -> str:
    """The way on: a plan that is made with the name alone would ask for nothing of what this one did."""
    body = plan.body
    if body.remove:
        what = "remove=True"
    elif body.to_revision:
        what = f"to_revision={body.to_revision}"
    else:
        what = f"source={body.desired['source']!r}" + (", values=..." if body.desired["values"] else "")
    return (
        f"Plan again with the values that this plan asked for (plan_get(plan_id={plan.id!r}) shows them), and look at "
        f"the new plan: deployment_plan(name={plan.name!r}, {what})."
    )


def _used(plan_id: str, deployment: DeploymentRow | None, since: Sequence[HistoryEntry], again: str) -> errors.PlanUsed:
    """The refusal of a plan that was applied, with what it has reached: after a crash that is the question."""
    when = next(
        (
            f" as revision {entry.revision} by {entry.username} at {clock.iso(entry.id)}"
            for entry in since
            if entry.plan_id == plan_id
        ),
        "",
    )
    if deployment is None:
        return errors.PlanUsed(f"This plan was applied already{when}.", hint=again)
    now = f"{deployment.name} is at revision {deployment.revision}, {deployment.state}"
    reason = f" ({deployment.reason})" if deployment.reason else ""
    return errors.PlanUsed(
        f"This plan was applied already{when}; {now}{reason}.",
        hint=again,
        details={"revision": deployment.revision, "state": deployment.state, "reason": deployment.reason},
    )


def _expired(plan: SavedPlan, again: str) -> errors.PlanExpired:
    return errors.PlanExpired(f"This plan expired at {clock.iso(plan.expires_at_ns)}.", hint=again)


def stale(plan: SavedPlan, revision: int, since: Sequence[HistoryEntry]) -> errors.StalePlan:
    """The refusal of a plan whose deployment has moved, with what moved, who did it and when."""
    moves: list[dict[str, Any]] = [
        {
            "revision": entry.revision,
            "action": entry.action,
            "by": entry.username,
            "at": clock.iso(entry.id),
            "source": entry.source,
            "summary": {what: n for what, n in entry.summary.items() if n and what != "unchanged"},
        }
        for entry in since
    ]
    told = "; ".join(
        f"revision {m['revision']} ({m['action']} of {m['source']} by {m['by']} at {m['at']}: "
        + (", ".join(f"{n} {what}" for what, n in m["summary"].items()) or "nothing changed")
        + ")"
        for m in reversed(moves[:3])
    )
    return errors.StalePlan(
        f"Deployment {plan.name} has moved since this plan was made on revision {plan.base_revision}; "
        f"it is at revision {revision} now: {told or 'something else'}.",
        hint=_again(plan),
        details={"base_revision": plan.base_revision, "revision": revision, "moved": moves},
    )


def check_secrets(needed: Iterable[str], present: Collection[str], name: str) -> None:
    """Refuse a plan whose secrets have gone since it was made. Raises PlanBlocked, which names them."""
    missing = sorted(set(needed) - set(present))
    if missing:
        raise errors.PlanBlocked(
            f"This plan cannot be applied; missing secret{'s' if len(missing) > 1 else ''} {', '.join(missing)}.",
            hint=f"Set it (sluice secret set {missing[0]}), then plan again: deployment_plan(name={name!r}).",
            errors=[errors.Problem("", f"missing_secret: missing secret {one}") for one in missing],
        )


def check_workers(
    state: State,
    workers: Iterable[Worker],
    warnings: Iterable[Finding],
    held: Collection[tuple[str, str]] = (),
) -> None:
    """Refuse a wish that names workers which are not there, or not for it. Raises TargetUnavailable.

    `held` are the (job, worker) that run already: a drained worker keeps those, and gets nothing new.
    """
    known = {worker.name: worker for worker in workers}
    missing: dict[str, dict[str, None]] = {}  # why -> the jobs, each once
    for job, chosen in state.assignments.items():
        for worker in chosen:
            why = _absent(worker, known.get(worker), state.jobs[job].group, (job, worker) in held)
            if why:
                missing.setdefault(why, {})[job] = None
    if not missing:
        return
    notes = [note for note in warnings if note.code in ("missing_group", "no_workers", "too_few_slots")]
    problems = [
        errors.Problem("", f"{', '.join(list(jobs)[:3])}{' and others' if len(jobs) > 3 else ''}: {why}")
        for why, jobs in missing.items()
    ]
    raise errors.TargetUnavailable(
        notes[0].message if notes else f"The plan needs workers that are not there: {problems[0].message}.",
        hint=notes[0].hint if notes else "Wait until the worker is back, or plan again to place its jobs elsewhere.",
        errors=problems,
    )


def _absent(name: str, worker: Worker | None, group: str, held: bool) -> str:
    """Why a job cannot run on a worker; empty when it can."""
    if not name:
        return "no worker can take it"
    if worker is None or not worker.online:
        return f"worker {name} is not online"
    if worker.group != group:
        return f"worker {name} is in group {worker.group} now, not in {group}"
    return f"worker {name} is drained" if worker.drained and not held else ""
