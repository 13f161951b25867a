"""Dead letters go back into their jobs: the oldest first, at a bounded rate, as long as the job runs.

That a letter is to be replayed is in its file, so a new engine goes on with it. What the worker answers settles it; an
answer that is lost leaves it to be replayed, so an output may get an event twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from core import clock, errors
from core.fleet.fleet import Fleet
from core.jobs import registry
from core.model.letter import MOST_REASON_CHARACTERS, Letter
from core.model.principal import Caller
from core.model.states import WorkloadState
from core.model.workload import WorkloadRow
from core.store import audit, jobs, letter_rows
from core.store.database import Database
from core.store.letter_rows import Connection, Wanted
from core.store.letterbox import Letterbox, Owner

log = structlog.get_logger("core.letters")

RATE = 100  # letters a second of one job
TOGETHER = 20
ANSWER_SECONDS = 60.0
AGAIN_SECONDS = 1.0  # between two looks for a job that does not run now
PATIENCE_SECONDS = 60.0  # then its letters wait as before
_ACCEPTED, _REFUSED = "accepted", "refused"


@dataclass(slots=True)
class Tally:
    """How far some letters have come."""

    left: set[int]
    replayed: int = 0
    refused: int = 0
    not_now: int = 0
    not_replayable: int = 0
    """Others that wait and have no whole event."""
    reason: str = ""
    """Why the first of those that were not accepted was not."""
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, id: int, state: str, reason: str) -> None:
        if id not in self.left:
            return
        self.left.discard(id)
        self.replayed += state == _ACCEPTED
        self.refused += state == _REFUSED
        self.not_now += state not in (_ACCEPTED, _REFUSED)
        self.reason = self.reason or reason
        if not self.left:
            self.done.set()


class Replays:
    """Of one engine."""

    def __init__(self, database: Database, ids: clock.Ids, box: Letterbox, fleet: Fleet) -> None:
        self._database = database
        self._ids = ids
        self._box = box
        self._fleet = fleet
        self._tasks: dict[Owner, asyncio.Task[None]] = {}
        self._more: set[Owner] = set()
        self._tallies: list[Tally] = []

    async def recover(self) -> None:
        """Go on with what an earlier engine had begun."""
        try:
            owners = await self._box.read(letter_rows.replaying)
        except errors.StorageUnavailable:
            return  # which the log has told already
        for owner in owners:
            self._begin(owner)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    async def refuse_unknown(self, tenant: str, job: str) -> None:
        """Raises NotFound for a job that is not there and has left no letters."""
        if (tenant, job) in self._box.boxes or self._fleet.workload_views(tenant=tenant, job=job):
            return
        if await self._database.read(jobs.newest, tenant, job) is None:
            raise registry.unknown(job, tenant)

    def reads(self, tenant: str, job: str) -> bool:
        """Whether the input of a job looks again at what it has skipped, by itself."""
        states = {view.state for view in self._fleet.workload_views(tenant=tenant, job=job)}
        return bool(states - {WorkloadState.COMPLETED, WorkloadState.QUARANTINED})

    async def replay(self, caller: Caller, wanted: Wanted, step: str, limit: int, wait_seconds: float) -> Tally:
        """Replay the oldest of some letters from their step (or from `step`), and wait for a while for their end.

        Raises TargetUnavailable when the job of one is not deployed.
        """
        tenant = caller.tenant
        found = await self._box.read(letter_rows.oldest, wanted, limit)
        jobs = sorted({one.job for one in found})
        for job in jobs:
            if not self._rows((tenant, job)):
                raise errors.TargetUnavailable(
                    f"Job {errors.shorten(job, 100)} is not deployed.",
                    hint="A letter is replayed by the job that runs.",
                )
        target = f"{len(found)} of {', '.join(jobs[:5])}"
        row = audit.row(self._ids.next(), caller, "dead_letter_replay", target)
        await self._database.write(audit.insert, row)
        owners = [(tenant, job) for job in jobs]
        ids, fixed = await self._box.change(lambda db, _: letter_rows.begin_replay(db, wanted, step, limit), *owners)
        tally = Tally({*ids}, not_replayable=fixed)
        for owner in owners:
            self._begin(owner)
        if ids and wait_seconds:
            self._tallies.append(tally)
            try:
                async with asyncio.timeout(wait_seconds):
                    await tally.done.wait()
            except TimeoutError:
                pass  # they go on; the answer says how many are left
            finally:
                self._tallies.remove(tally)
        return tally

    def _rows(self, owner: Owner) -> list[WorkloadRow]:
        """The replicas of a job, those that run first."""
        tenant, job = owner
        views = self._fleet.workload_views(tenant=tenant, job=job)
        rank = {WorkloadState.RUNNING: 0, WorkloadState.COMPLETED: 1}
        views.sort(key=lambda view: rank.get(WorkloadState(view.state), 2))
        rows = [self._fleet.row(view.id) for view in views]
        return [row for row in rows if row is not None]

    def _begin(self, owner: Owner) -> None:
        self._more.add(owner)  # also for a task that has just looked for the last time
        task = self._tasks.get(owner)
        if task is None or task.done():
            self._tasks[owner] = asyncio.create_task(self._work(owner))

    async def _work(self, owner: Owner) -> None:
        try:
            while owner in self._more:
                self._more.discard(owner)
                await self._work_off(owner)
        except errors.StorageUnavailable as error:  # the next replay, or the next engine, goes on
            log.error("replay_cut_short", tenant=owner[0], job=owner[1], reason=error.message)

    async def _work_off(self, owner: Owner) -> None:
        since = clock.monotonic()
        while letters := await self._box.read(letter_rows.next_replays, *owner, TOGETHER):
            began = clock.monotonic()
            try:
                outcomes = await self._ask(owner, letters)
                since = clock.monotonic()
            except (errors.Busy, errors.TargetUnavailable) as error:
                if clock.monotonic() - since < PATIENCE_SECONDS and self._rows(owner):
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                outcomes = [("", "", error.message)] * len(letters)
            except errors.SluiceError as error:  # what the job or its worker says to it
                outcomes = [("", "", error.message)] * len(letters)
            await self._settle(owner, letters, outcomes)
            await asyncio.sleep(max(0.0, len(outcomes) / RATE - (clock.monotonic() - began)))

    async def _ask(self, owner: Owner, letters: list[Letter]) -> list[tuple[str, str, str]]:
        """(state, code, reason) of each letter, or of the first ones. Raises SluiceError when nobody can tell now."""
        rows = self._rows(owner)
        if not rows:
            raise errors.TargetUnavailable("The job is not deployed any more.")
        given = [[one.replay_step or one.step, one.event, one.message] for one in letters]
        answer: Any = await self._fleet.replay(rows[0], given, ANSWER_SECONDS)
        outcomes = msgspec.convert(answer, list[tuple[str, str, str]])
        if not 0 < len(outcomes) <= len(letters):
            raise errors.TargetUnavailable("The worker did not tell of the letters.")
        return outcomes

    async def _settle(self, owner: Owner, letters: list[Letter], outcomes: list[tuple[str, str, str]]) -> None:
        now = clock.now_ns()
        pairs = list(zip(letters, outcomes, strict=False))

        def settle(db: Connection, _: set[Owner]) -> None:
            for letter, (state, code, reason) in pairs:
                if state == _ACCEPTED:
                    letter_rows.accepted(db, letter.id, now)
                elif state == _REFUSED:
                    letter_rows.refused(db, letter.id, code, reason[:MOST_REASON_CHARACTERS], now)
                else:
                    letter_rows.wait_on(db, [letter.id])

        await self._box.change(settle, owner)
        for letter, (state, _, reason) in pairs:
            for tally in self._tallies:
                tally.hear(letter.id, state, reason)
