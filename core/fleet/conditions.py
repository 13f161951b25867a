"""The condition of every workload, deployment and worker, in memory and on record: since when each is as it is.

It is also kept what is so by type (core.model.typed_condition); what is up and has a type that is false is a warning.
What changes in one tick is written together, and no run is written: only a change of health is, at once; a failure of
what is failing already, and another reason, are folded. An engine that begins finds what an earlier one kept: what was
failing still is until it comes through, and what was up is down since the last sign of that engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import orjson
import structlog

from core import clock, errors
from core.fleet import verdicts
from core.fleet.connection import Observed
from core.fleet.failing import Failure
from core.fleet.health import UP, of_workload
from core.fleet.health_changes import HealthChanges
from core.model import condition, typed_condition
from core.model.condition import Condition, Health, Kind, Outage, Subject, after
from core.model.states import WorkloadState
from core.model.typed_condition import Status, Type, Typed
from core.model.workload import WorkloadRow, parse
from core.store import conditions as table
from core.store.conditions import Changes, ConditionRow, OutageRow, Sign, TransitionRow
from core.store.database import Database

log = structlog.get_logger("core.fleet")

FOLD_SECONDS = 5.0  # between two writes of what is no change of health
RESTING = (WorkloadState.COMPLETED, WorkloadState.QUARANTINED)  # not taken down by the end of a process


def subject_of(row: WorkloadRow) -> Subject:
    return Subject(Kind.WORKLOAD, row.tenant, parse(row.id).name)


class Conditions:
    """Of one engine. Until it is begun, nothing is written, and what changes counts from the last sign of an engine."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[Subject, ConditionRow] = {}
        self._typed: dict[Subject, Typed] = {}
        self.changes: HealthChanges | None = None  # hears of each other health, and of what goes
        self._outages: dict[Subject, OutageRow] = {}  # that last
        self._changes = Changes()
        self._due = False  # it is written at the end of this tick
        self._timer: asyncio.TimerHandle | None = None  # and what is folded, then
        self._before: Sign | None = None
        self.alive_ns = 0  # when the engine before was alive for the last time, as its lock tells (0: not at all)
        self._recording = False

    # -- life ----------------------------------------------------------------------------------------------

    async def load(self, rows: Iterable[WorkloadRow]) -> None:
        """Read what an earlier engine kept of these and of everything else; it is not there any more."""
        self._kept = {row.subject: row for row in await self._database.read(table.all_rows)}
        self._typed = {
            s: typed_condition.from_row(orjson.loads(row.typed)) for s, row in self._kept.items() if row.typed
        }
        if self.changes is not None:
            for subject, row in self._kept.items():
                self.changes.begin(subject, Health(row.health))
        open_outages = await self._database.read(table.open_outages)
        self._outages = {Subject(Kind.WORKLOAD, one.tenant, one.workload): one for one in open_outages}
        self._before = await self._database.read(table.last_sign)
        if self._before is not None:
            if not self._before.ended:
                self._before = self._before._replace(at_ns=max(self._before.at_ns, self.alive_ns))
            self._engine_was_gone(rows, self._before)

    def _engine_was_gone(self, rows: Iterable[WorkloadRow], sign: Sign) -> None:
        cause = Outage.ENGINE_STOPPED if sign.ended else Outage.ENGINE_LOST
        reason = f"the engine {'was stopped' if sign.ended else 'was gone'}"
        affected = {(row.tenant, row.deployment) for row in rows if self._down(row, cause, reason, sign.at_ns)}
        for subject, kept in tuple(self._kept.items()):
            if kept.health not in condition.UP:
                continue
            if subject.kind is Kind.WORKER:
                self._put(subject, after(kept.condition, Health.DOWN, reason, sign.at_ns))
            elif subject.kind is Kind.DEPLOYMENT and subject[1:] in affected:
                self._put(subject, after(kept.condition, Health.DEGRADED, reason, sign.at_ns))

    async def begin(self) -> None:
        """From now on everything is written."""
        changes, self._changes = self._changes, Changes()
        self._recording = True
        await self._database.write(table.resume, changes, clock.now_ns())

    async def end(self) -> None:
        """The engine ends: what happens from now on happens because of that."""
        if not self._recording:
            return
        self._recording = False
        changes, self._changes = self._changes, Changes()
        if self._timer is not None:
            self._timer.cancel()

        def last(db: Any) -> None:
            table.record(db, changes)
            table.sign(db, clock.now_ns(), ended=True)

        try:
            await self._database.write(last)
        except errors.SluiceError as error:  # the next engine counts from the last sign
            log.warning("conditions_not_recorded", error=error.message, count=len(changes.conditions))

    # -- what is known -------------------------------------------------------------------------------------

    def of(self, subject: Subject) -> Condition | None:
        """The condition of a thing; None when nothing was seen of it yet."""
        kept = self._kept.get(subject)
        return None if kept is None else kept.condition

    def typed(self, subject: Subject) -> Typed:
        """What is so of a thing by type; nothing when that was never decided."""
        return self._typed.get(subject, ())

    def names(self, kind: Kind) -> list[tuple[str, str]]:
        """What has a condition, by tenant and name."""
        return [subject[1:] for subject in self._kept if subject.kind is kind]

    def suffers(self, row: WorkloadRow) -> set[Type]:
        """What was false of a version of a workload when that was decided."""
        kept = self._kept.get(subject_of(row))
        if kept is None or kept.version != row.version:
            return set()
        return {one.type for one in self.typed(kept.subject) if one.status is Status.FALSE}

    def lacks_room(self, row: WorkloadRow) -> bool:
        """Whether there was no room for the letters of a workload, when that was decided."""
        typed = self.typed(subject_of(row))
        return any(one.type is Type.ROOM_FOR_LETTERS and one.status is Status.FALSE for one in typed)

    def failure(self, row: WorkloadRow) -> Failure | None:
        """The failure that an earlier engine saw of a version of a workload, and that it has not come through."""
        kept = self._kept.get(subject_of(row))
        if kept is None or kept.health != Health.FAILING or kept.version != row.version:
            return None
        return Failure(kept.reason, bool(kept.of_run))

    # -- what is seen --------------------------------------------------------------------------------------

    def saw(
        self,
        row: WorkloadRow,
        seen: Observed,
        about: verdicts.About,
        *,
        failed: bool = False,
    ) -> None:
        """A workload is seen in a state; `failed`: that is a failure which was not told before."""
        subject = subject_of(row)
        kept = self._kept.get(subject)
        before = None if kept is None else kept.condition
        stands = None
        if seen.failure is not None and seen.failure.stands(clock.monotonic()):
            stands = seen.failure.reason or "it did not say why"
        health, reason = of_workload(before, row.version, seen.state, seen.reason, stands, row.worker)
        of_run = seen.failure is not None and seen.failure.of_run
        if stands is None and health is Health.FAILING and kept is not None:
            of_run = bool(kept.of_run)
        now_ns, known = self._now_ns(), self.typed(subject)
        facts = verdicts.Facts(seen.state, seen.reason, row.worker, stands, about)
        if before is not None and before.version != row.version:
            known = typed_condition.of_another_version(known)
        decided = verdicts.decide(facts, known, clock.monotonic())
        typed = typed_condition.after(known, decided, now_ns, row.revision or _number(row.version))
        if health is Health.HEALTHY and (why := typed_condition.warning(typed)):
            health, reason = Health.WARNING, why
        found = after(before, health, reason, now_ns, version=row.version, failed=failed)
        if seen.state in (*UP, WorkloadState.FAILED, WorkloadState.QUARANTINED):
            self._up(subject)
        self._put(subject, found, row, of_run=of_run, typed=typed)

    def worker_gone(self, row: WorkloadRow, cause: Outage) -> None:
        """A workload is down with its worker."""
        self._begin_outage(row, cause, self._now_ns())

    def saw_worker(self, name: str, health: Health, reason: str) -> None:
        """A worker is seen."""
        subject = Subject(Kind.WORKER, "", name)
        self._put(subject, after(self.of(subject), health, reason, self._now_ns()))

    def saw_deployment(
        self, tenant: str, name: str, health: Health, reason: str, revision: int, decided: verdicts.Findings
    ) -> Condition:
        """A deployment is seen, and what is so of it by type; its condition."""
        subject, now_ns = Subject(Kind.DEPLOYMENT, tenant, name), self._now_ns()
        typed = typed_condition.after(self.typed(subject), decided, now_ns, revision)
        if health is Health.HEALTHY and (why := typed_condition.warning(typed)):
            health, reason = Health.WARNING, why
        found = after(self.of(subject), health, reason, now_ns)
        self._put(subject, found, typed=typed)
        return found

    def forget(self, subject: Subject) -> None:
        """A thing is not there any more."""
        if self._kept.pop(subject, None) is None:
            return
        self._typed.pop(subject, None)
        if self.changes is not None:
            self.changes.forget(subject)
        self._outages.pop(subject, None)
        self._changes.conditions.pop(subject, None)
        self._changes.transitions = [one for one in self._changes.transitions if one[:3] != subject]
        self._changes.outages = {key: one for key, one in self._changes.outages.items() if key[:2] != subject[1:]}
        self._changes.forgotten.add(subject)
        self._write_soon()

    # -- on record -----------------------------------------------------------------------------------------

    def _now_ns(self) -> int:
        return clock.now_ns() if self._recording or self._before is None else self._before.at_ns

    def _down(self, row: WorkloadRow, cause: Outage, reason: str, at_ns: int) -> bool:
        """A workload may have run when the engine went; tells whether it ran."""
        subject = subject_of(row)
        kept = self._kept.get(subject)
        if kept is None or row.state in RESTING or kept.health == Health.DOWN:
            return False
        self._begin_outage(row, cause, max(at_ns, kept.since_ns))  # it was seen later than the engine's last sign
        if kept.health in condition.UP:
            self._put(subject, after(kept.condition, Health.DOWN, reason, at_ns, version=kept.version), row)
        return True

    def _begin_outage(self, row: WorkloadRow, cause: Outage, at_ns: int) -> None:
        subject = subject_of(row)
        if subject not in self._outages:
            self._note(subject, OutageRow(row.tenant, subject.name, at_ns, row.deployment, row.worker, cause.value))

    def _up(self, subject: Subject) -> None:
        outage = self._outages.pop(subject, None)
        if outage is not None:
            self._note(subject, outage._replace(ended_at_ns=max(self._now_ns(), outage.began_at_ns + 1)))

    def _note(self, subject: Subject, outage: OutageRow) -> None:
        if not outage.ended_at_ns:
            self._outages[subject] = outage
        self._changes.outages[outage[:3]] = outage
        self._write_soon()

    def _put(
        self,
        subject: Subject,
        found: Condition,
        row: WorkloadRow | None = None,
        *,
        of_run: bool = False,
        typed: Typed | None = None,
    ) -> None:
        old, known = self._kept.get(subject), self._typed.get(subject, ())
        text = old.typed if old is not None else ""
        if typed is not None and typed != known:
            self._typed[subject] = typed
            text = orjson.dumps(typed_condition.to_row(typed)).decode()
        new = _as_row(subject, found, row, of_run, text)
        if old == new:
            return
        self._kept[subject] = self._changes.conditions[subject] = new
        if old is not None and old.health == new.health:
            self._write_later()
            return
        before = "" if old is None else old.health
        moved = TransitionRow(*subject, found.since_ns, before, found.health.value, found.reason)
        self._changes.transitions.append(moved)
        self._write_soon()
        if self._recording and self.changes is not None:
            self.changes.moved(subject, new.deployment, found, self.typed(subject))

    def _write_soon(self) -> None:
        """Write at the end of this tick."""
        if self._recording and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write_later(self) -> None:
        if self._recording and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FOLD_SECONDS, self._write)

    def _write(self) -> None:
        self._due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._changes or not self._recording:
            return
        changes, self._changes = self._changes, Changes()

        def done(result: Any, error: BaseException | None) -> None:
            if error is not None:
                log.error("conditions_not_recorded", error=str(error), count=len(changes.conditions))
                self._changes = changes.then(self._changes)
                self._write_later()

        self._database.submit(done, table.record, changes)


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0


def _as_row(subject: Subject, found: Condition, row: WorkloadRow | None, of_run: bool, typed: str) -> ConditionRow:
    return ConditionRow(
        subject.kind.value,
        subject.tenant,
        subject.name,
        row.deployment if row is not None else "",
        row.job if row is not None else "",
        row.step if row is not None else "",
        row.replica if row is not None else 0,
        found.version,
        found.health.value,
        found.since_ns,
        found.reason,
        found.failures,
        found.first_failed_at_ns,
        found.last_failed_at_ns,
        int(of_run),
        typed,
    )
