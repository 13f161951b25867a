"""Runs: the changes of a diff carried out one after the other, each recorded before and after.

Every step is one that can be repeated, so a run that ended half-way is finished by applying again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import structlog

from core import clock, errors
from core.catalog.items import Entry
from core.gitops import compare
from core.gitops.compare import Action, Change
from core.gitops.desired import VERSIONED, Item
from core.gitops.diff import Diff
from core.gitops.present import names_of, owned
from core.gitops.steps import How, Steps, Unhealthy
from core.model.gitops import Kind
from core.model.principal import Caller
from core.model.states import GitopsRunState
from core.store import audit
from core.store import gitops as table
from core.store.database import Database

if TYPE_CHECKING:
    from core.model.results import gitops as shown

log = structlog.get_logger("core.gitops")

SHOWN_EVENTS = 1000


class Runs:
    """The runs that this engine has under way. Use from its loop."""

    def __init__(
        self, database: Database, ids: clock.Ids, steps: Callable[[Caller, Sequence[Entry], How], Steps]
    ) -> None:
        """`steps` makes the steps of a run: for whom, with which catalog afterwards, and how."""
        self._database = database
        self._ids = ids
        self._steps = steps
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(
        self,
        caller: Caller,
        diff: Diff,
        action: str,
        *,
        source: Mapping[str, Any],
        left: Iterable[Item],
        how: How,
        approval: Mapping[str, Any] | None = None,
    ) -> str:
        """Record a run and begin to carry it out; it goes on when the caller is gone. Returns its id.

        `left` is the whole desired state that the run leaves behind, for a rollback to it. Raises Busy when the scope
        has a run already, PlanBlocked when something stands in the way.
        """
        if diff.blockers:
            raise errors.PlanBlocked(
                f"Nothing was changed; blockers: {len(diff.blockers)}. The first: {diff.blockers[0].message}",
                hint=diff.blockers[0].hint,
                errors=[
                    errors.Problem("", f"{one.code}: {one.message} {one.hint}".strip()) for one in diff.blockers[:50]
                ],
            )
        run_id = f"run_{clock.encode(self._ids.next())}"
        label = diff.label
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
            "started_at_ns": clock.now_ns(),
            "finished_at_ns": None,
            "summary": compare.summary(diff.changes),
            "reason": "",
        }
        note = audit.row(self._ids.next(), caller, f"gitops_{action}", f"{label.tenant}/{label.environment}: {run_id}")
        # Published versions are there for good and need no copy.
        body = [item.to_dict() for item in left if item.kind not in VERSIONED]
        await self._database.write(table.begin, row, body, frozenset(self._tasks), note)
        commit = f" of commit {row['commit_sha']}" if row["commit_sha"] else ""
        how = replace(how, reason=f"GitOps {action} {run_id}{commit}")
        steps = self._steps(caller, diff.wanted.every, how)
        run = _Run(self._database, run_id, diff, steps, how.complete)
        task = self._tasks[run_id] = asyncio.create_task(run.carry_out())
        task.add_done_callback(lambda _: self._tasks.pop(run_id, None))
        return run_id

    async def wait(self, run_id: str, seconds: float) -> None:
        """Wait until a run has ended, or the time is over."""
        task = self._tasks.get(run_id)
        if task is not None and seconds > 0:
            await asyncio.wait({task}, timeout=seconds)

    async def close(self) -> None:
        """End all that are under way; the next owner puts them down as interrupted."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def show(self, tenant: str, run_id: str) -> shown.FilesRun:
        """One run with its events, as every door shows it. Raises NotFound."""
        row = await self._database.read(table.run, run_id)
        if row is None or row["tenant"] != tenant:
            raise errors.NotFound(
                f"There is no run {errors.shorten(run_id, 64)} in tenant {tenant}.",
                hint="sluice gitops runs lists them.",
            )
        events = await self._database.read(table.events, run_id)
        return {
            **to_answer(row),
            "events": [
                {
                    "at": clock.iso(event["at_ns"]),
                    "action": event["action"],
                    "kind": event["kind"],
                    "id": event["name"],
                    "state": event["state"],
                    "message": event["message"],
                }
                for event in events[:SHOWN_EVENTS]
            ],
            "events_left_out": max(0, len(events) - SHOWN_EVENTS),
        }


def to_answer(row: Mapping[str, Any]) -> shown.FilesRun:
    """One run as a list shows it."""
    return {
        "run_id": row["id"],
        "action": row["action"],
        "environment": row["environment"],
        "manifest": row["manifest"],
        "state": row["state"],
        "reason": row["reason"],
        "commit_sha": row["commit_sha"] or None,
        "summary": row["summary"],
        "by": row["username"],
        "surface": row["surface"],
        "approval": row["approval"] or None,
        "source": cast("shown.FileSource", {key: value for key, value in row["source"].items() if value}),
        "started_at": clock.iso(row["started_at_ns"]),
        "finished_at": clock.iso(row["finished_at_ns"]) if row["finished_at_ns"] is not None else None,
    }


class _Run:
    def __init__(self, database: Database, run_id: str, diff: Diff, steps: Steps, complete: bool) -> None:
        self._database = database
        self._id = run_id
        self._diff = diff
        self._steps = steps
        self._complete = complete

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
        summary = compare.summary(self._diff.changes)
        try:
            await self._database.write(table.finish, self._id, state, clock.now_ns(), summary, reason)
        except errors.StorageUnavailable as error:  # it is put down as interrupted when the next one begins
            log.error("gitops_run_not_recorded", run=self._id, error=str(error))

    async def _changes(self) -> str:
        """Make the changes in their order; returns which deployments did not come up."""
        unhealthy = []
        for change in self._diff.changes:
            if change.action is Action.UNCHANGED:
                continue
            try:
                await self._begin(change)
                message = await self._steps.make(change)
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
            await self._database.write(
                lambda db: table.own(db, self._diff.label.key, things, created=True, run_id=self._id)
            )

    async def _settle_ownership(self) -> None:
        """Note what the files name, and forget what they do not name any more and what is gone."""
        wanted = {change.item.key for change in self._diff.changes if change.item is not None}
        gone = {(change.kind, change.name) for change in self._diff.changes if change.action is Action.PRUNE}
        named = [(kind.value, name) for kind, name in compare.keys_of(self._diff.changes)]
        holds = await owned(self._database, self._diff.label)
        left = [
            (kind.value, name)
            for kind, name in holds.named
            if (kind, names_of(kind, name)) not in wanted
            and ((kind, names_of(kind, name)) in gone or self._lets_go(kind, name, holds))
        ]
        key = self._diff.label.key
        await self._database.write(lambda db: table.own(db, key, named, created=False, run_id=self._id))
        await self._database.write(table.disown, key, left)

    def _lets_go(self, kind: Kind, name: str, holds: compare.Owned) -> bool:
        """Whether a manifest forgets a thing that no file of it names: not what it created and has not pruned."""
        return self._complete and ((kind, name) not in holds.created or (kind, name) in holds.others)

    async def _event(self, change: Change, state: str, message: str) -> None:
        said = {
            "action": change.action.value,
            "kind": change.kind.value,
            "name": change.name,
            "state": state,
            "message": message[:1000],
        }
        await self._database.write(table.event, self._id, clock.now_ns(), said)
