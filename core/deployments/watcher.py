"""The watcher: keeps the condition of every deployment, so that it is known since when each is as it is.

It looks at a deployment soon after a workload of it has changed, and at all of them now and then: what time alone
changes, and what the keeper finds.
"""

from __future__ import annotations

import asyncio

from core import clock
from core.deployments import observed
from core.fleet.fleet import Fleet
from core.model.condition import Kind, Subject
from core.model.deployment import State
from core.model.states import DeploymentState
from core.store import deployments as table
from core.store.database import Database
from core.store.deployments import Kept

FOLD_SECONDS = 0.5  # changes of so long are looked at together
ALL_SECONDS = 10.0  # between two looks at all of them
SHARE = 20  # it rests for so many times what a look took: a large deployment must not keep the loop from its work
Key = tuple[str, str]


class Watcher:
    """One for an engine."""

    def __init__(self, database: Database, fleet: Fleet) -> None:
        self._database = database
        self._fleet = fleet
        self._changed: set[Key] = set()
        self._woken = asyncio.Event()
        self._wishes: dict[Key, tuple[int, State]] = {}
        self._all_at = 0.0
        self._spent = 0.0  # seconds, for the last look

    def changed(self, tenant: str, deployment: str) -> None:
        """A workload of a deployment has changed."""
        if deployment:
            self._changed.add((tenant, deployment))
            self._woken.set()

    async def keep(self) -> None:
        """Wait for changes, and look at what has changed."""
        try:
            async with asyncio.timeout(max(0.0, self._all_at - clock.monotonic())):
                await self._woken.wait()
            await asyncio.sleep(max(FOLD_SECONDS, SHARE * self._spent))
        except TimeoutError:
            pass
        await self.compare()

    async def compare(self, *, everything: bool = False) -> None:
        """Look at the deployments that have changed, or at all when it is time for that."""
        self._woken.clear()
        changed, self._changed = self._changed, set()
        everything = everything or clock.monotonic() >= self._all_at
        known = set(self._fleet.conditions.names(Kind.DEPLOYMENT))
        rows = {(row.tenant, row.name): row for row in await self._database.read(table.reconciled)}
        self._wishes = {key: wish for key, wish in self._wishes.items() if key in rows}
        for key in known - rows.keys():
            self._fleet.conditions.forget(Subject(Kind.DEPLOYMENT, *key))
        self._spent = 0.0
        for key, row in rows.items():
            if everything or key in changed:
                wish = await self._wish(row)
                overtaken = any(one.revision > row.revision for one in self._fleet.stored(*key))
                if wish is not None and not overtaken:  # else its workloads will tell
                    began = clock.monotonic()
                    stored, now_ns = DeploymentState(row.state), clock.now_ns()
                    observed.judge(
                        self._fleet, *key, wish, row.ignored, stored, row.revision, row.updated_at_ns, now_ns
                    )
                    self._spent += clock.monotonic() - began
                    await asyncio.sleep(0)
        if everything:
            self._all_at = clock.monotonic() + max(ALL_SECONDS, SHARE * self._spent)

    async def _wish(self, row: Kept) -> State | None:
        key = (row.tenant, row.name)
        known = self._wishes.get(key)
        if known is None or known[0] != row.revision:
            found = await self._database.read(table.get, *key)
            if found is None or found.revision != row.revision:
                return None  # it has moved since
            wish = await asyncio.to_thread(State.from_dict, found.desired)
            known = self._wishes[key] = (row.revision, wish)
        return known[1]
