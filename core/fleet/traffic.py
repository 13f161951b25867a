"""What workers send: messages and settlements, taken together per tick, committed, and only then acted upon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import structlog

from core import clock, errors
from core.bus.base import Bus, Delivery
from core.bus.told import Told
from core.contexts.variables import Variables
from core.fleet.connection import Worker
from core.model import frames
from core.model.message import Kind, Message, Source, Type
from core.model.workload import WorkloadRow
from core.spans import Spans
from core.store import dispatches, invocations, job_runs, messages, run_commits
from core.store.database import Database
from core.store.dispatches import DispatchRow
from core.store.run_commits import Decided
from core.store.variables import VariableRow
from core.triggers import responses
from core.triggers.pending import Pending

log = structlog.get_logger("core.fleet")
RETRY_SECONDS = 0.5  # between tries to record a batch while the disk cannot be written


class Traffic:
    """Collects the notices of one tick and absorbs them in one transaction."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        ids: clock.Ids,
        pending: Pending,
        announce: Callable[[str, dict[str, Any]], None],
        told: Told,
        variables: Variables,
        spans: Spans | None = None,
    ) -> None:
        self._database = database
        database.collectors.append(self.flush)
        self._told = told
        self._bus = bus
        self.ids = ids
        self._pending = pending
        self._announce = announce
        self._variables = variables
        self._spans = spans
        self._batch = run_commits.Absorbed()
        self._deliveries: list[Delivery] = []
        self._confirm: dict[Worker, int] = {}

    def publish(self, worker: Worker, tenant: str, job: str, outgoing: frames.Publish) -> None:
        """A job wants to publish a message, which is confirmed to its worker after the commit."""
        data = frames.value(outgoing.data)
        self._confirm[worker] = max(outgoing.sequence, self._confirm.get(worker, 0))
        if outgoing.variable and data is not None:
            self.set_variable(tenant, outgoing.variable, data["value"], f"job {job}", source=Source.JOB, job=job)
            return
        message = self.message(
            tenant,
            kind=outgoing.kind,
            source=Source.JOB,
            type=outgoing.type,
            tag=outgoing.tag,
            job=job,
            worker=worker.name,
            data=data,
        )
        body = data.get("job_event") if isinstance(data, dict) else None
        if isinstance(body, dict):
            self._consider(body, message, alone=len(data) == 1)

    def _consider(self, body: dict[str, Any], message: Message, *, alone: bool) -> None:
        """Take a payload that may be meant for an invocation; `alone`: its message says nothing else."""
        decision: invocations.Finish | invocations.Capture | invocations.Late | invocations.Note | None = None
        if responses.is_response(body):
            if message.type == Type.USER_GENERATED:
                says_it = message.id if alone else None
                decision = self._pending.consider(body, message.tenant, message.at_ns, says_it)
        elif responses.is_proxy_response(body):
            from_sink = message.type == Type.TRIGGER_PROXY_RESPONSE
            decision = self._pending.consider_proxy(body, message.tenant, message.at_ns, from_sink=from_sink)
        match decision:
            case invocations.Finish():
                self._batch.finishes.append(decision)
            case invocations.Capture():
                self._batch.captures.append(decision)
            case invocations.Late():
                self._batch.late.append(decision)
            case invocations.Note():
                self._batch.notes.append(decision)

    def set_variable(
        self, tenant: str, name: str, value: str, by: str, *, source: str = Source.SERVER, job: str = ""
    ) -> None:
        """Set a dynamic variable in this tick; after the commit every worker is told. Its message has no value."""
        self._batch.variables.append(VariableRow(tenant, name, value, clock.now_ns(), by))
        self.message(tenant, source=source, type=Type.VARIABLE_SET, job=job, data={"name": name})

    def message(
        self,
        tenant: str,
        *,
        kind: str = Kind.SYSTEM,
        source: str = Source.SERVER,
        type: str,
        tag: str = "",
        job: str = "",
        worker: str = "",
        data: dict[str, Any] | None = None,
    ) -> Message:
        """Add a message to this tick, with the deliveries that it owes to the jobs that listen."""
        message = Message(
            self.ids.next(), tenant, str(kind), str(source), str(type), tag, job, worker, clock.now_ns(), data
        )
        encoded = message.encode()
        self._batch.messages.append(messages.row(message, encoded))
        for group in self._bus.matching(message):
            delivery = Delivery(self.ids.next(), group, encoded)
            self._deliveries.append(delivery)
            self._batch.dispatches.append(DispatchRow(delivery.id, message.id, tenant, group[1], None, 1))
        return message

    def tell(self, tenant: str, **message: Any) -> None:
        """A message (the arguments of `message`) that nothing else of this tick brings along."""
        self.message(tenant, **message)
        asyncio.get_running_loop().call_soon(self.flush)

    def record(self, change: job_runs.Change) -> None:
        """Have a change of the runs of jobs be written in this tick."""
        self._batch.job_runs.append(change)
        asyncio.get_running_loop().call_soon(self.flush)

    def run_ended(self, worker: Worker, tenant: str, job: str, run: frames.Run, run_id: str = "") -> None:
        """Tell of a run that ended, or of many short ones of a message-triggered job together.

        That it began is told to jobs that listen, and to nobody else; so is the end of one that found nothing to do and
        failed in nothing, which most ends of polls are: the metrics of the job count them.
        """
        started: dict[str, Any] = {"job": job, "workload": run.workload, "trigger": run.trigger, "runs": run.runs}
        started["started_at_ns"] = run.started_ns
        ended = {
            **started,
            "ended_at_ns": run.ended_ns,
            "events_in": run.events_in,
            "events_out": run.events_out,
            "errors": run.errors,
            "ok": run.ok,
        }
        if run.reason:
            ended["reason"] = run.reason
        if run_id:
            ended["run_id"] = run_id
        worth_a_line = not run.ok or run.events_in or run.events_out or run.errors
        for type, data, kept in ((Type.JOB_RUN_STARTED, started, False), (Type.JOB_RUN_ENDED, ended, worth_a_line)):
            if kept or any(self._bus.matching(Message(0, tenant, Kind.SYSTEM, Source.JOB, type, "", job, worker.name))):
                self.message(tenant, source=Source.JOB, type=type, job=job, worker=worker.name, data=data)

    def workload_state(self, row: WorkloadRow, state: str, reason: str) -> None:
        """Announce that a workload, given by its row in the store, has another state."""
        told = {"tenant": row.tenant, "job": row.job, "worker": row.worker, "deployment": row.deployment}
        told |= {"workload": row.id, "state": state, "reason": reason}
        self._announce("job", {**told, "at_ns": clock.now_ns()})

    def settle(self, delivery: Delivery, reason: str | None, told: Sequence[frames.Span] = ()) -> None:
        """A replica is done with a delivery; with a reason, its run failed. `told` are the spans of the run."""
        if told and self._spans is not None:
            self._spans.of_run(orjson.loads(delivery.body).get("traceparent", ""), delivery.group[1], told)
        id = delivery.invocation_id
        if not delivery.of_open_run:
            self._batch.settled.append(delivery.id)
        elif id is not None and self._pending.goes_on(id):
            self._batch.settled_runs.append(id)
        if reason is not None and id is not None:
            note = self._pending.run_failed(id, reason)
            if note is not None:
                self._batch.notes.append(note)

    def retried(self, delivery: Delivery) -> None:
        """A worker died: the delivery goes out again, and the store counts it."""
        if delivery.invocation_id is not None:
            self._pending.retried(delivery.invocation_id, delivery.attempt)
        if not delivery.of_open_run:
            self._database.submit(_log_failure, dispatches.attempted, delivery.id, delivery.attempt)

    def give_up(self, delivery: Delivery, reason: str) -> None:
        """Nobody will take the delivery any more: forget it, and end the run that waits for it."""
        if not delivery.of_open_run:
            self._batch.settled.append(delivery.id)
        if delivery.invocation_id is not None:
            self._pending.give_up(delivery.invocation_id, errors.TargetUnavailable.code, f"Given up: {reason}.")
        asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Commit what the tick has collected."""
        if not self._batch and not self._confirm:
            return
        batch, deliveries, confirm = self._batch, self._deliveries, self._confirm
        self._batch, self._deliveries, self._confirm = run_commits.Absorbed(), [], {}

        def absorbed(decided: Decided | None, error: BaseException | None) -> None:
            if error is not None or decided is None:
                # Nothing of this batch is recorded. Workers are not confirmed, so what they have not seen confirmed
                # is still theirs; settlements are owed, and the runs they stand for may be run again.
                log.error("traffic_not_recorded", error=str(error), messages=len(batch.messages))
                self._retry(batch, deliveries, confirm)
                return
            for capture, recorded in zip(batch.captures, decided.captures, strict=True):
                self._pending.captured(capture, recorded)
            for finish, first in zip(batch.finishes, decided.finishes, strict=True):
                self._pending.ended(finish, first)
            for tenant, name, value, _, _ in batch.variables:
                self._variables.committed(tenant, name, value)
            for row in batch.messages:
                self._told.committed(row.id, row.tenant, row.body)
            for delivery in deliveries:
                self._bus.release(delivery)
            for worker, sequence in confirm.items():
                if worker.channel is not None:
                    worker.channel.send(frames.encode(frames.Published(sequence)))

        self._database.submit(absorbed, run_commits.absorb, batch)

    def _retry(self, batch: run_commits.Absorbed, deliveries: list[Delivery], confirm: dict[Worker, int]) -> None:
        def again() -> None:
            again = batch.renumbered(self.ids)
            bodies = {row.id: row.body for row in again.messages}
            for delivery, row in zip(deliveries, again.dispatches, strict=True):
                delivery.body = bodies[row.message_id]
            self._batch = again.then(self._batch)
            self._deliveries[:0] = deliveries
            for worker, sequence in confirm.items():
                self._confirm[worker] = max(sequence, self._confirm.get(worker, 0))
            self.flush()

        asyncio.get_running_loop().call_later(RETRY_SECONDS, again)


def _log_failure(result: Any, error: BaseException | None) -> None:
    if error is not None:  # the count in memory is what decides; the stored one only matters after a crash
        log.error("attempt_not_recorded", error=str(error))
