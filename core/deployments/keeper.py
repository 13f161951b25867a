"""The keeper: compares every deployment with what runs, again and again, and heals those that are kept automatically.

Level-triggered: each round looks at the present state and remembers nothing that matters, so a round that fails, or
an engine that dies, is made up for by the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

import structlog

from core import backoff, clock, errors
from core.deployments import edits
from core.deployments.healing import Healer
from core.deployments.reconcile import Drift
from core.fleet.holdings import Holdings
from core.license import Feature
from core.licensing import Licensing
from core.model.deployment import EMPTY, State
from core.model.principal import EVERY_TENANT, Caller, Principal, Role, Surface
from core.settings import Settings
from core.store import deployments as table
from core.store.database import Database
from core.store.deployments import Kept

log = structlog.get_logger("core.deployments")

AUTO = "auto"
MANUAL = "manual"
LONGEST_BACKOFF = 64  # intervals
KEEPER = Principal("reconcile", Role.ADMIN, (EVERY_TENANT,))
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Turn:
    """When a deployment is looked at next (monotonic seconds), and what was healed last and how often in a row."""

    due: float
    healed: frozenset[tuple[str, str]] = frozenset()
    times: int = 0


def next_turn(before: Turn, acted_on: Iterable[Drift] | None, now: float, interval: float) -> Turn:
    """The turn after one that healed some drift, or (None) had nothing to do.

    Drift that comes again right after it was healed is healed less and less often: something else makes it, and
    fighting it would only write. Quiet turns make up for that.
    """
    if acted_on is None:
        return Turn(now + interval, before.healed if before.times > 1 else frozenset(), max(0, before.times - 1))
    healed = frozenset((one.kind.value, one.id) for one in acted_on if not one.muted)
    times = before.times + 1 if healed <= before.healed else 1
    return Turn(now + backoff.pause(times, interval, interval * LONGEST_BACKOFF), healed, times)


class Keeper:
    """One for an engine. Nothing is reconciled where deployments are not licensed."""

    def __init__(self, settings: Settings, database: Database, healer: Healer, licensing: Licensing) -> None:
        self._settings = settings
        self._database = database
        self._healer = healer
        self._licensing = licensing
        self._turns: dict[Key, Turn] = {}
        self._wishes: dict[Key, tuple[int, State]] = {}

    async def keep(self) -> None:
        """One round, and the wait for the next one, which sees the same state when this one fails."""
        await asyncio.sleep(await self.round())

    async def round(self) -> float:
        """Look at every deployment whose turn it is; returns the seconds until the next round."""
        usual = self._settings.reconcile_interval_seconds
        if not self._licensing.allows(Feature.DEPLOYMENTS):
            return usual
        rows = await self._database.read(table.reconciled)
        keys = {(row.tenant, row.name) for row in rows}
        self._turns = {key: turn for key, turn in self._turns.items() if key in keys}
        self._wishes = {key: wish for key, wish in self._wishes.items() if key in keys}
        now = clock.monotonic()
        due = []
        for row in rows:
            key = (row.tenant, row.name)
            interval = self._interval(row)
            turn = self._turns.setdefault(key, Turn(now + interval))
            if turn.due > now + interval * LONGEST_BACKOFF:  # the interval was shortened meanwhile
                turn = self._turns[key] = replace(turn, due=now)
            if turn.due <= now:
                due.append(row)
        if due:
            wishes = [await self._wish(row) if row.reconcile == AUTO else EMPTY for row in due]
            held = await self._healer.refresh()
            for row, wish in zip(due, wishes, strict=True):
                await self._keep(row, wish, held)
            self._healer.deliver()
        now = clock.monotonic()
        return max(0.01, min([usual, *(turn.due - now for turn in self._turns.values())]))

    def _interval(self, row: Kept) -> float:
        return float(row.reconcile_interval_seconds or self._settings.reconcile_interval_seconds)

    async def _wish(self, row: Kept) -> State:
        key = (row.tenant, row.name)
        known = self._wishes.get(key)
        if known is None or known[0] != row.revision:
            found = await self._database.read(table.get, *key)
            wish = await asyncio.to_thread(State.from_dict, found.desired) if found is not None else State()
            known = self._wishes[key] = (found.revision if found is not None else 0, wish)
        return known[1]

    async def _keep(self, row: Kept, wish: State, held: Holdings) -> None:
        """Look at one deployment, and heal it if it is kept automatically."""
        key = tenant, name = row.tenant, row.name
        ignored = edits.Ignored(row.ignored)
        acted_on: tuple[Drift, ...] | None = None
        try:
            if row.reconcile == AUTO:
                patience = self._settings.reconcile_patience_seconds
                decided = await self._healer.examine(tenant, name, wish, ignored, patience, held)
                if decided.acts:
                    caller = Caller(KEEPER, tenant, Surface.INTERNAL)
                    revision = self._wishes[key][0]
                    await self._healer.mend(caller, name, revision, wish, ignored, decided)
                    acted_on = decided.drift
                    log.warning("reconciled", tenant=tenant, deployment=name, steps=len(decided.steps))
        except errors.StalePlan:  # it has moved since it was read: the next round sees what it is now
            log.info("reconcile_overtaken", tenant=tenant, deployment=name)
        except errors.SluiceError as error:
            log.error("reconcile_failed", tenant=tenant, deployment=name, error=error.message)
        self._turns[key] = next_turn(self._turns[key], acted_on, clock.monotonic(), self._interval(row))
