"""A run: the changes of a scope carried out one after the other, each recorded before and after.

Every step is one that can be repeated, so a run that ended half-way is finished by applying again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from core import clock, errors
from core.documents import dump
from core.engine import Engine
from core.gitops import compare, desired
from core.gitops.compare import Action, Change
from core.gitops.desired import VERSIONED, Item
from core.model.catalog import LibraryJob
from core.model.gitops import Kind
from core.model.principal import Caller
from core.model.states import GitopsRunState
from core.operations.gitops_present import Look, names_of, owned
from core.store import audit
from core.store import gitops as table
from core.store import workflows as workflow_table
from core.workflows import authoring

log = structlog.get_logger("core.gitops")

HEALTH_SECONDS = 60  # for the workloads of one deployment to come up
MOST_HEALTH_SECONDS = 270


@dataclass(frozen=True, slots=True)
class How:
    """How the changes of a run are made."""

    health_seconds: int = HEALTH_SECONDS
    rollback_on_failure: bool = False
    complete: bool = True  # the items are all that the files name; otherwise what is not among them stays noted


class Unhealthy(errors.TargetUnavailable):
    """A deployment did not come up."""


async def start(
    engine: Engine,
    caller: Caller,
    found: Look,
    action: str,
    *,
    source: Mapping[str, Any],
    approval: Mapping[str, Any] | None = None,
    body: list[dict[str, Any]],
    how: How,
) -> str:
    """Record a run and begin to carry it out; it goes on when the caller is gone. Returns its id.

    `body` is the whole desired state that the run leaves behind, for a rollback to it. Raises Busy when the scope has
    a run already, PlanBlocked when something stands in the way.
    """
    if found.blockers:
        raise errors.PlanBlocked(
            f"Nothing was changed; blockers: {len(found.blockers)}. The first: {found.blockers[0].message}",
            hint=found.blockers[0].hint,
            errors=[errors.Problem("", f"{one.code}: {one.message} {one.hint}".strip()) for one in found.blockers[:50]],
        )
    run_id = f"run_{clock.encode(engine.ids.next())}"
    label = found.label
    row = {
        "id": run_id,
        "tenant": label.tenant,
        "environment": label.environment,
        "manifest": label.manifest,
        "action": action,
        "state": GitopsRunState.RUNNING.value,
        "commit_sha": (approval or {}).get("commit") or source.get("commit_sha", ""),
        "source": dict(source),
        "approval": dict(approval or {}),
        "username": caller.username,
        "surface": caller.surface.value,
        "started_at_ns": engine.now_ns(),
        "finished_at_ns": None,
        "summary": compare.summary(found.changes),
        "reason": "",
    }
    note = audit.row(engine.ids.next(), caller, f"gitops_{action}", f"{label.tenant}/{label.environment}: {run_id}")
    alive = frozenset(engine.runs)
    await engine.database.write(table.begin, row, body, alive, note)
    run = _Run(engine, caller, found, run_id, how)
    task = asyncio.create_task(run.carry_out())
    engine.runs[run_id] = task
    task.add_done_callback(lambda _: engine.runs.pop(run_id, None))
    return run_id


async def wait(engine: Engine, run_id: str, seconds: float) -> None:
    """Wait until a run has ended, or the time is over."""
    task = engine.runs.get(run_id)
    if task is not None and seconds > 0:
        await asyncio.wait({task}, timeout=seconds)


class _Run:
    def __init__(self, engine: Engine, caller: Caller, found: Look, run_id: str, how: How) -> None:
        self._engine = engine
        self._caller = caller
        self._look = found
        self._id = run_id
        self._how = how

    async def carry_out(self) -> None:
        """Make every change; the end is recorded, whatever it is."""
        state, reason = GitopsRunState.SUCCEEDED, ""
        try:
            reason = await self._changes()
            state = GitopsRunState.FAILED if reason else state
        except errors.SluiceError as error:
            state, reason = GitopsRunState.FAILED, f"{error.code}: {error.message}"
        except Exception:  # the boundary of a task that nobody waits for: logged with its cause, told without it
            log.exception("gitops_run_failed", run=self._id)
            state, reason = GitopsRunState.FAILED, "internal: it failed inside Sluice; the log of the engine says why"
        summary = compare.summary(self._look.changes)
        try:
            await self._engine.database.write(table.finish, self._id, state, clock.now_ns(), summary, reason)
        except errors.StorageUnavailable as error:  # it is put down as interrupted when the next one begins
            log.error("gitops_run_not_recorded", run=self._id, error=str(error))

    async def _changes(self) -> str:
        """Make the changes in their order; returns which deployments did not come up."""
        unhealthy = []
        for change in self._look.changes:
            if change.action is Action.UNCHANGED:
                continue
            try:
                await self._begin(change)
                message = await self._make(change)
            except Unhealthy as error:  # what was asked for is in place; the others go on
                unhealthy.append(error.message)
                await self._event(change, "failed", error.message)
            except errors.SluiceError as error:
                await self._event(change, "failed", f"{error.code}: {error.message}")
                raise
            else:
                await self._event(change, "done", message)
        await self._settle_ownership()
        return "; ".join(unhealthy)

    async def _begin(self, change: Change) -> None:
        """Whose a new thing is stands written before it is there: what is not known to be ours is never pruned."""
        if change.item is not None and (change.action is Action.CREATE or change.kind in VERSIONED):
            things = [(kind.value, name) for kind, name in compare.keys_of([change])]
            await self._engine.database.write(
                lambda db: table.own(db, self._look.label.key, things, created=True, run_id=self._id)
            )

    async def _settle_ownership(self) -> None:
        """Note what the files name, and forget what they do not name any more and what is gone."""
        wanted = {change.item.key for change in self._look.changes if change.item is not None}
        gone = {(change.kind, change.name) for change in self._look.changes if change.action is Action.PRUNE}
        named = [(kind.value, name) for kind, name in compare.keys_of(self._look.changes)]
        holds = await owned(self._engine, self._look.label)
        left = [
            (kind.value, name)
            for kind, name in holds.named
            if (kind, names_of(kind, name)) not in wanted
            and ((kind, names_of(kind, name)) in gone or self._lets_go(kind, name, holds))
        ]
        key = self._look.label.key
        await self._engine.database.write(lambda db: table.own(db, key, named, created=False, run_id=self._id))
        await self._engine.database.write(table.disown, key, left)

    def _lets_go(self, kind: Kind, name: str, holds: compare.Owned) -> bool:
        """Whether a manifest forgets a thing that no file of it names: not what it created and has not pruned."""
        return self._how.complete and ((kind, name) not in holds.created or (kind, name) in holds.others)

    async def _event(self, change: Change, state: str, message: str) -> None:
        said = {
            "action": change.action.value,
            "kind": change.kind.value,
            "name": change.name,
            "state": state,
            "message": message[:1000],
        }
        await self._engine.database.write(table.event, self._id, clock.now_ns(), said)

    # -- the steps -----------------------------------------------------------------------------------------

    async def _make(self, change: Change) -> str:
        if change.item is None:
            return await self._prune(change)
        match change.kind:
            case Kind.BLUEPRINT | Kind.PERSPECTIVE | Kind.WORKFLOW:
                return await self._publish(change.item)
            case Kind.CONTEXT:
                return await self._context(change.item)
            case Kind.JOB:
                return await self._job(change.item)
            case Kind.TRIGGER:
                return await self._trigger(change.item)
            case Kind.DEPLOYMENT:
                return await self._deploy(change.item)

    async def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return await self._engine.call(operation, arguments, self._caller)

    async def _publish(self, item: Item) -> str:
        engine, now = self._engine, clock.now_ns()
        known = next(e for e in self._look.wanted.every if _is(e, item))
        model = known.model
        assert not isinstance(model, LibraryJob)  # no kind of file is one
        text, digest = authoring.published_form(model, item.version)
        row = {
            "tenant": self._caller.tenant,
            "kind": item.kind.value,
            "slug": item.name,
            "version": item.version,
            "title": model.title,
            "text": item.text,
            "document": text,
            "digest": digest,
            "updated_at_ns": now,
            "updated_by": self._caller.username,
            "published_at_ns": now,
        }
        target = f"{self._caller.tenant}/{item.kind.value}:{item.name}@{item.version}"
        note = audit.row(engine.ids.next(), self._caller, "workflow_publish", target)
        await engine.database.write(workflow_table.add, row, note)
        engine.library.forget(self._caller.tenant)
        return f"version {item.version} is published"

    async def _context(self, item: Item) -> str:
        level, target, key = desired.context_place(item.name)
        place = {level: target} if target else {}
        await self._call("context_set", values={key: item.data["value"]}, **place)
        return ""

    async def _job(self, item: Item) -> str:
        put = await self._call("job_put", document=item.text or dump.to_yaml(item.data))
        running = self._engine.fleet.workload_rows(tenant=self._caller.tenant, job=item.name)
        told = f"version {put['version']} is staged"
        if any(row["version"] != str(put["version"]) for row in running):
            told += f"; version {running[0]['version']} runs until it is deployed again (sluice job deploy {item.name})"
        return told

    async def _trigger(self, item: Item) -> str:
        there = self._engine.triggers.get(self._caller.tenant, item.name)
        made = await self._call("trigger_publish" if there is None else "trigger_revise", **item.data)
        return f"revision {made['revision']}"

    async def _deploy(self, item: Item) -> str:
        planned = await self._call("deployment_plan", name=item.name, exact=True, **item.data)
        reached = await self._call(
            "deployment_apply",
            plan_id=planned["plan_id"],
            wait_seconds=self._how.health_seconds + 30,
            health_seconds=self._how.health_seconds,
            rollback_on_failure=self._how.rollback_on_failure,
        )
        told = f"revision {reached['revision']} is {reached['state']}"
        if reached["rolled_back"] or reached["came_up"] is False:
            back = "; the version before was taken back" if reached["rolled_back"] else ""
            raise Unhealthy(f"deployment {item.name}: {reached['reason'] or told}{back}")
        return told

    async def _prune(self, change: Change) -> str:
        """Take away what this manifest created; what somebody else has taken away already is fine too."""
        name = change.name
        with contextlib.suppress(errors.NotFound):
            match change.kind:
                case Kind.BLUEPRINT | Kind.PERSPECTIVE | Kind.WORKFLOW:
                    for version in change.versions:
                        await self._call("workflow_retire", slug=name, type=change.kind.value, version=version)
                case Kind.CONTEXT:
                    level, target, key = desired.context_place(name)
                    await self._call("context_delete", keys=[key], **({level: target} if target else {}))
                case Kind.JOB:
                    await self._call("job_undeploy", name=name)
                    await self._call("job_delete", name=name)
                case Kind.TRIGGER:
                    await self._call("trigger_deactivate", slug=name)
                case Kind.DEPLOYMENT:
                    planned = await self._call("deployment_plan", name=name, remove=True)
                    await self._call("deployment_apply", plan_id=planned["plan_id"])
        return ""


def _is(entry: Any, item: Item) -> bool:
    return bool((entry.type.value, entry.slug, str(entry.version)) == (item.kind.value, item.name, item.version))
