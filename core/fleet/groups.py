"""Which worker is in which group, and what else was said about workers and groups; the store keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core import clock
from core.fleet.connection import Worker
from core.model.worker_group import WorkerGroup, WorkerSetting
from core.store import worker_groups
from core.store.database import Database


class Groups:
    """The groups and the settings of workers, as they were last read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._groups: dict[str, WorkerGroup] = {}
        self._workers: dict[str, WorkerSetting] = {}

    async def load(self, workers: Iterable[Worker]) -> None:
        """Read what was said and make the workers like it. Groups that only the settings name are made."""
        workers = tuple(workers)
        self._workers = {one.name: one for one in await self._database.read(worker_groups.workers)}
        known = {one.name: one for one in await self._database.read(worker_groups.groups)}
        new = {self.group_of(worker) for worker in workers} - known.keys()
        if new:
            await self._database.write(worker_groups.ensure, sorted(new), clock.now_ns(), "settings")
            known |= {name: WorkerGroup(name) for name in new}
        self._groups = known
        for worker in workers:
            setting = self.setting(worker.name)
            worker.group = self.group_of(worker)
            worker.labels = setting.labels
            worker.drained = setting.drained
            worker.slots = known[worker.group].slots or worker.started_slots

    def group_of(self, worker: Worker) -> str:
        """The group that somebody gave a worker, or the one that it was started in."""
        return self.setting(worker.name).group or worker.started_in

    def setting(self, worker: str) -> WorkerSetting:
        """What was said about a worker; nothing, when nobody did."""
        return self._workers.get(worker, WorkerSetting(worker))

    def __iter__(self) -> Iterator[WorkerGroup]:
        return iter(self._groups.values())

    def get(self, name: str) -> WorkerGroup | None:
        return self._groups.get(name)

    def names(self, tenant: str) -> frozenset[str]:
        """The groups that admit a tenant."""
        return frozenset(name for name, group in self._groups.items() if group.admits(tenant))

    def admits_alone(self, name: str, tenant: str) -> bool:
        """Whether workers of a group are given jobs of this tenant and of no other one."""
        group = self._groups.get(name)
        return group is not None and group.tenants == (tenant,)

    def admits(self, name: str, tenant: str) -> bool:
        """Whether workers of a group may be given jobs of a tenant."""
        group = self._groups.get(name)
        return group is not None and group.admits(tenant)
