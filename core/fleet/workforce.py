"""Workers and their groups as admins change them: made, renamed, labelled, forgotten, and what must not be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core import clock, errors
from core.fleet.connection import EXTERNAL, LOCAL, Worker
from core.fleet.fleet import Fleet
from core.model.principal import Caller
from core.model.worker_group import DEFAULT_GROUP, WorkerGroup
from core.store import audit, external_workers
from core.store import worker_groups as table
from core.store.database import Database

if TYPE_CHECKING:
    from core.model.results import workers


class Workforce:
    """Of one engine. A group is there for a caller whose tenant it admits, or who administers all of them."""

    def __init__(self, database: Database, ids: clock.Ids, fleet: Fleet) -> None:
        self._database = database
        self._ids = ids
        self._fleet = fleet

    # -- groups --------------------------------------------------------------------------------------------

    def visible(self, caller: Caller) -> list[WorkerGroup]:
        """The groups that are there for a caller, by name."""
        return sorted((one for one in self._fleet.groups if _visible(caller, one)), key=lambda group: group.name)

    def group(self, caller: Caller, name: str) -> WorkerGroup:
        """One of them. Raises NotFound."""
        group = self._fleet.groups.get(name)
        if group is None or not _visible(caller, group):
            raise table.missing(name)
        return group

    def members(self, group: str) -> list[str]:
        """The names of the workers of a group."""
        return [worker.name for worker in self._members(group)]

    def _members(self, group: str) -> list[Worker]:
        return [worker for worker in self._fleet.workers.values() if worker.group == group]

    async def create_group(
        self, caller: Caller, name: str, slots: int, labels: Iterable[str], tenants: Iterable[str]
    ) -> WorkerGroup:
        """Make a group. Raises AlreadyExists."""
        group = WorkerGroup(name, slots or None, _unique(labels), _sorted(tenants))
        await self._write("worker_group_create", name, caller, table.create, group, clock.now_ns(), caller.username)
        return group

    async def update_group(
        self,
        caller: Caller,
        name: str,
        new_name: str | None,
        slots: int | None,
        labels: Iterable[str] | None,
        tenants: Iterable[str] | None,
    ) -> WorkerGroup:
        """Change or rename a group; what is None stays. Raises NotFound, InvalidParams, and what the store refuses."""
        before = self.group(caller, name)
        after = WorkerGroup(
            new_name or before.name,
            before.slots if slots is None else slots or None,
            before.labels if labels is None else _unique(labels),
            before.tenants if tenants is None else _sorted(tenants),
        )
        if before.name == DEFAULT_GROUP and after.name != DEFAULT_GROUP:
            raise _default("renamed")
        _refuse_external(after, self._members(before.name))
        if after != before:
            target, members = f"{before.name} {after.name}", self.members(before.name)
            more = (before.name, after, members, clock.now_ns(), caller.username)
            await self._write("worker_group_update", target, caller, table.update, *more)
        return after

    def removable(self, group: WorkerGroup) -> bool:
        """Whether nothing here keeps a group from being deleted; that nothing is placed in it, the store looks at."""
        return group.name != DEFAULT_GROUP and not self.members(group.name)

    async def delete_group(self, caller: Caller, name: str) -> WorkerGroup:
        """Delete a group that is not used. Raises NotFound, InvalidParams, and what the store refuses."""
        group = self.group(caller, name)
        if group.name == DEFAULT_GROUP:
            raise _default("deleted")
        if members := self.members(group.name):
            raise table.has_workers(group.name, members)
        await self._write("worker_group_delete", group.name, caller, table.delete, group.name)
        return group

    # -- workers -------------------------------------------------------------------------------------------

    def worker(self, caller: Caller, name: str) -> workers.Worker:
        """The row of a worker whose group is there for the caller. Raises NotFound."""
        row = next((row for row in self._fleet.worker_rows() if row["name"] == name), None)
        group = self._fleet.groups.get(row["group"]) if row is not None else None
        if row is None or group is None or not _visible(caller, group):
            raise errors.NotFound(
                f"There is no worker {errors.shorten(name, 64)}.", hint="worker_list shows what there is."
            )
        return row

    async def update_worker(
        self,
        caller: Caller,
        operation: str,
        name: str,
        *,
        group: str | None = None,
        labels: Iterable[str] | None = None,
        drained: bool | None = None,
    ) -> None:
        """Keep what is said about a worker, over restarts too; what is None stays as it was.

        Raises NotFound, and InvalidParams for a worker of another machine in a group that admits every tenant.
        """
        self.worker(caller, name)
        before = self._fleet.groups.setting(name)
        after = replace(
            before,
            group=group or before.group,
            labels=before.labels if labels is None else _unique(labels),
            drained=before.drained if drained is None else drained,
        )
        joined = self._fleet.groups.get(after.group or "")
        if joined is not None:
            _refuse_external(joined, [self._fleet.workers[name]])
        if after != before:
            await self._write(operation, name, caller, table.set_worker, after, clock.now_ns(), caller.username)

    def forgettable(self, caller: Caller, name: str) -> bool:
        """Whether a worker is of another machine and not connected. Raises NotFound."""
        return self.worker(caller, name)["kind"] != LOCAL and not self._fleet.workers[name].connected

    def refuse_present(self, caller: Caller, name: str) -> None:
        """Raises NotFound, AlreadyExists for a worker that the engine starts, Busy for one that is connected."""
        if self.worker(caller, name)["kind"] == LOCAL:
            raise errors.AlreadyExists(
                f"The engine starts worker {name} itself.", hint="Start the engine with fewer --workers."
            )
        if self._fleet.workers[name].connected:
            raise errors.Busy(f"Worker {name} is connected.", hint="Stop 'sluice worker' on its machine first.")

    async def forget(self, caller: Caller, name: str) -> None:
        """Forget a worker that has gone, with its labels and its drain."""
        note = audit.row(self._ids.next(), caller, "worker_remove", name)
        await self._database.write(external_workers.forget, name, note)
        self._fleet.forget(name)
        await self._fleet.regroup()

    async def _write(self, operation: str, target: str, caller: Caller, change: Any, *values: Any) -> None:
        await self._database.write(change, *values, audit.row(self._ids.next(), caller, operation, target))
        await self._fleet.regroup()


def _visible(caller: Caller, group: WorkerGroup) -> bool:
    return group.admits(caller.tenant) or caller.administers_all


def _refuse_external(group: WorkerGroup, workers: Iterable[Worker]) -> None:
    """Raises InvalidParams when a group that admits every tenant would have one of these that is of another machine."""
    names = [worker.name for worker in workers if worker.kind == EXTERNAL]
    if names and group.open:
        raise errors.InvalidParams(
            f"Worker group {group.name} would admit every tenant, with workers of other machines in it: "
            f"{', '.join(names[:3])}.",
            hint="Such a group names its tenants: --admit TENANT, once for each.",
        )


def _default(what: str) -> errors.InvalidParams:
    return errors.InvalidParams(
        f"The worker group {DEFAULT_GROUP} cannot be {what}: it is where workers and steps begin.",
        hint="Make another group and put the workers in it.",
    )


def _unique(labels: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(labels))


def _sorted(tenants: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(tenants)))
