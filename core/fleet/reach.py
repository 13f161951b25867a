"""Where the jobs of a tenant may read and write files, as far as the engine can know before they run."""

from __future__ import annotations

from core.fleet.connection import EXTERNAL
from core.fleet.fleet import Fleet
from core.guard import filepolicy
from core.guard.openings import Candidate
from core.guard.pathrules import ANYWHERE, AnyOf, FileRules, Locator
from core.settings import Settings


class Reach:
    """What the workers of each group allow. `running` says whether the engine has workers at all."""

    def __init__(self, settings: Settings, fleet: Fleet, running: bool) -> None:
        self._settings = settings
        self._fleet = fleet
        self._running = running

    def directory(self, tenant: str, group: str) -> str:
        """Where relative paths of a tenant start on the workers of a group; empty when it has no directory there."""
        known = self._fleet.file_policies(tenant, group) or [filepolicy.of(self._settings.of_group(group))]
        return FileRules(known[0], tenant).start

    def candidates(self, tenant: str, group: str) -> list[Candidate]:
        """The workers of a group, with what each opens to a tenant; none while no engine runs."""
        return [
            Candidate(
                worker.name,
                worker.kind == EXTERNAL,
                worker.openings,
                None if worker.files is None else FileRules(worker.files, tenant),
                None if worker.grant is None else frozenset(worker.grant.can),
            )
            for worker in (self._fleet.admitting(tenant) if self._running else ())
            if worker.group == group
        ]

    def may_exec(self, tenant: str) -> bool:
        """Whether a worker runs commands of a tenant, as far as it is known."""
        there = [one.openings for one in self._fleet.admitting(tenant) if one.openings is not None]
        return any(one.allow_exec for one in self._settings.each()) or any(openings.exec for openings in there)

    def of(self, tenant: str, group: str = "") -> Locator:
        """What the workers of a group allow to a tenant; without a group, what those of any group do.

        A worker of another machine has rules of its own, which are known once it has joined: one that may yet come is
        believed to allow what every worker does. So is every one while no engine runs.
        """
        known = self._fleet.file_policies(tenant, group)
        if not self._running or (self._settings.nats and not (group and known)):
            return ANYWHERE
        if not known:
            known = [
                filepolicy.of(one) for one in ([self._settings.of_group(group)] if group else self._settings.each())
            ]
        return AnyOf([FileRules(policy, tenant) for policy in known])
