"""Invocations that have not ended: their deadlines, the callers that wait, and the one end that each of them gets.

A response, the deadline, a failed delivery and a cancellation may all want to end the same run; the store's
compare-and-set decides, and only the one that won is told to the callers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from core import clock, errors
from core.bus.base import Bus
from core.measures import Ends
from core.model import invocation
from core.model.invocation import Invocation
from core.model.states import INVOCATION, InvocationState
from core.model.trigger import MAX_WAIT_SECONDS, MOST_RESPONSE_BYTES, PROXY_RESPONSE
from core.store import invocations
from core.store.database import Database
from core.store.invocations import Capture, Finish, Late, Note
from core.triggers import responses
from core.triggers.deliveries import Deliveries
from core.triggers.quota import Quota
from core.triggers.registry import Trigger
from core.triggers.timer_wheel import TimerWheel

if TYPE_CHECKING:
    from core.model.results import triggers


@dataclass(slots=True, eq=False)
class Open:
    """An invocation that waits for its response."""

    run: Invocation
    text_id: str
    slot: str
    trigger: Trigger | None
    group: tuple[str, str]
    params: dict[str, Any] | None = None  # of the run as a value; nobody changes it
    ending: bool = False  # its end is under way to the store
    canceling: bool = False  # somebody wants its end, and its message goes to nobody again
    bucket: int = 0
    notes: int = 0
    proxied: str = ""  # the proxy response that its result will have, as JSON text
    waiters: dict[asyncio.Future[triggers.Invocation], int] = field(
        default_factory=dict
    )  # with their deadline's bucket


class Pending:
    """The open invocations of one engine. Use from its loop."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        announce: Callable[[str, dict[str, Any]], None],
        deliveries: Deliveries,
        ids: clock.Ids,
        quota: Quota,
        ends: Ends,
    ) -> None:
        self._database = database
        self._bus = bus
        self._ends = ends
        self._announce = announce
        self._deliveries = deliveries
        self._ids = ids
        self._quota = quota
        self._open: dict[int, Open] = {}
        self._deadlines = TimerWheel()

    # -- waiting -------------------------------------------------------------------------------------------

    async def get(self, id: int, wait_seconds: float = 0.0) -> triggers.Invocation | None:
        """The record of an invocation by row id, after waiting up to `wait_seconds` for its end."""
        entry = self._open.get(id)
        if entry is not None:
            if wait_seconds <= 0:
                return invocation.record(entry.run)
            done: asyncio.Future[triggers.Invocation] = asyncio.get_running_loop().create_future()
            self.wait(entry, wait_seconds, done)
            return await done
        run = await self._database.read(invocations.get, id)
        return invocation.record(run) if run is not None else None

    def wait(self, entry: Open, wait_seconds: float, done: asyncio.Future[Any]) -> None:
        if wait_seconds <= 0:
            if not done.done():
                done.set_result(invocation.record(entry.run))
            return

        def give_up() -> None:
            entry.waiters.pop(done, None)
            if not done.done():
                done.set_result(invocation.record(entry.run))

        entry.waiters[done] = self._deadlines.add(
            done, clock.monotonic() + min(wait_seconds, MAX_WAIT_SECONDS), give_up
        )

    def watch(self, entry: Open, seconds: float) -> None:
        self._open[entry.run.id] = entry
        entry.bucket = self._deadlines.add(entry, clock.monotonic() + seconds, lambda: self._time_out(entry))

    # -- the end -------------------------------------------------------------------------------------------

    def consider(
        self, envelope: dict[str, Any], sender_tenant: str, now: int, message_id: int | None
    ) -> Finish | Late | Note | None:
        """What a job's trigger_response asks for: an end, an event of the record, or nothing.

        A response that is late, malformed or for another slot changes nothing but the history; one from another
        tenant not even that. `message_id`: the message that says this and nothing else.
        """
        entry, late = self._meant(envelope, sender_tenant, now, "response_refused")
        if entry is None:
            return late
        reason = responses.fault(envelope, self._expected(entry), sender_tenant)
        if reason is None and entry.trigger is not None and envelope["outcome"] == "succeeded":
            validator = entry.trigger.result_validator
            if validator is not None and not validator.is_valid(envelope.get("result", {})):
                reason = "result does not fit the result_schema of the trigger"
        encoded = orjson.dumps(envelope)
        if reason is None and len(encoded) > MOST_RESPONSE_BYTES:
            reason = f"the response is larger than {MOST_RESPONSE_BYTES} bytes"
        if reason is not None:
            return self._note(entry, invocations.encode_event(now, "response_refused", reason=reason))
        state = responses.outcome(envelope)
        result: dict[str, Any] = {"status": "completed", "mode": "response_slot", "state": state.value}
        told = None if entry.proxied else {**result, "trigger_response": envelope}
        result["trigger_response"] = orjson.Fragment(encoded)
        event = f'{{"at_ns":{now},"type":"{result["state"]}","by":"response"}}'
        return self._finish(
            entry, state, now, result, event, message_id, late=_late(now, "response_refused"), told=told
        )

    def consider_proxy(
        self, envelope: dict[str, Any], sender_tenant: str, now: int, *, from_sink: bool
    ) -> Capture | Late | Note | None:
        """What a trigger_proxy_response asks for: to be recorded with a pending invocation, which goes on waiting.

        The latest one counts, since a run that is repeated sends its request again. What a job wrote itself, and what
        does not fit the envelope that went out, is an event of the record and nothing else.
        """
        entry, late = self._meant(envelope, sender_tenant, now, "proxy_response_refused")
        if entry is None:
            return late
        reason = responses.proxy_fault(envelope, self._expected(entry), sender_tenant)
        if not from_sink:
            reason = "only an output can report a proxy response"
        if reason is not None:
            return self._note(entry, invocations.encode_event(now, "proxy_response_refused", reason=reason))
        if entry.notes >= invocations.MAX_EVENTS - 5:
            return None
        entry.notes += 1
        entry.proxied = orjson.dumps(envelope).decode()
        result = {**orjson.loads(entry.run.result), PROXY_RESPONSE: orjson.Fragment(entry.proxied)}
        event = invocations.encode_event(now, "proxy_recorded", status=envelope["status"])
        encoded = orjson.dumps(result).decode()
        return Capture(entry.run.id, now, encoded, event, _late(now, "proxy_response_refused"))

    def _meant(
        self, envelope: dict[str, Any], sender_tenant: str, now: int, event: str
    ) -> tuple[Open | None, Late | None]:
        """The pending invocation that an envelope names, or what to note if that one has ended."""
        text_id = envelope.get("invocation_id")
        parsed = invocation.parse_id(text_id) if isinstance(text_id, str) else None
        if parsed is None:
            return None, None
        entry = self._open.get(parsed[0])
        if entry is None:
            return None, Late(*parsed, sender_tenant, _late(now, event))
        if entry.run.nonce != parsed[1] or entry.run.tenant != sender_tenant:
            return None, None
        return entry, None

    def _expected(self, entry: Open) -> responses.Expected:
        return responses.Expected(entry.text_id, entry.run.tenant, entry.slot, entry.run.proxy_nonce)

    def captured(self, capture: Capture, in_time: bool) -> None:
        """The store has decided about a proxy response."""
        entry = self._open.get(capture.id)
        if entry is None or not in_time:
            return
        entry.run.result = capture.result
        entry.run.proxy_recorded_at_ns = capture.at_ns
        entry.run.note(capture.event)
        run = entry.run
        self._announce("invocation", notice(entry.text_id, run.tenant, run.slug, run.state))

    def ended(self, finish: Finish, won: bool) -> None:
        """The store has decided about a finish; only the one that won ends the run."""
        if not won:
            return
        entry = self._open.pop(finish.id, None)
        if entry is None:
            return
        self._deadlines.forget(entry, entry.bucket)
        run = entry.run
        run.state = finish.state
        run.finished_at_ns = finish.at_ns
        run.result = finish.result
        run.attempts = finish.attempts
        run.note(finish.event)
        self._quota.ended(run.tenant, run.username, len(finish.result))
        self._ends.add(run.tenant, finish.state, run.requested_at_ns, finish.at_ns)
        if entry.waiters:
            record = invocation.record(run, params=entry.params, result=finish.told)
            for waiter, bucket in entry.waiters.items():
                self._deadlines.forget(waiter, bucket)
                if not waiter.done():
                    waiter.set_result(record)
        self._announce("invocation", notice(entry.text_id, run.tenant, run.slug, finish.state))
        if finish.update is not None:
            self._deliveries.added(finish.update)

    def give_up(self, id: int, code: str, message: str) -> None:
        """End an open invocation as failed because its message can no longer be delivered."""
        entry = self._open.get(id)
        if entry is None:
            return
        now = clock.now_ns()
        result = {
            "status": "accepted_for_dispatch",
            "mode": "response_slot",
            "state": "failed",
            "error_code": code,
            "error_message": message,
        }
        event = invocations.encode_event(now, "failed", reason=code)
        self._submit(self._finish(entry, InvocationState.FAILED, now, result, event))

    def cancel_requested(self, entry: Open, event: str) -> None:
        """It is recorded that somebody wants the end of a run."""
        entry.canceling = True
        entry.run.note(event)
        run = entry.run
        self._announce("invocation", notice(entry.text_id, run.tenant, run.slug, run.state))

    def canceled(self, entry: Open, result: dict[str, Any], *, confirmed: bool) -> None:
        """End an open run as canceled, unless something else has ended it."""
        now = clock.now_ns()
        event = invocations.encode_event(now, "canceled", confirmed=confirmed)
        self._submit(self._finish(entry, InvocationState.CANCELED, now, result, event))

    def retried(self, id: int, attempt: int) -> None:
        """The message goes out again because its worker died."""
        entry = self._open.get(id)
        now = clock.now_ns()
        event = invocations.encode_event(now, "redelivered", attempt=attempt)
        if entry is not None:
            entry.run.attempts = attempt
            entry.run.note(event)
        self._database.submit(_ignore_result, invocations.attempted, id, attempt, event)

    def run_failed(self, id: int, reason: str) -> Note | None:
        """The job's run ended with an error; the record says so and goes on waiting (docs/triggers.md)."""
        entry = self._open.get(id)
        if entry is None:
            return None
        return self._note(
            entry, invocations.encode_event(clock.now_ns(), "run_failed", reason=errors.shorten(reason, 500))
        )

    def _note(self, entry: Open, event: str) -> Note | None:
        """Add to the history of an open record, here and (by what is returned) in the store; bounded."""
        if entry.notes >= invocations.MAX_EVENTS - 5:
            return None
        entry.notes += 1
        entry.run.note(event)
        return Note(entry.run.id, event)

    def _time_out(self, entry: Open) -> None:
        if entry.run.id not in self._open:
            return  # it ended in the tick in which its time came
        now = clock.now_ns()
        deadline = entry.run.deadline_ns
        assert deadline is not None
        result = {
            "status": "accepted_for_dispatch",
            "mode": "response_slot",
            "state": "timed_out",
            "deadline_ns": deadline,
            "deadline": clock.iso(deadline),
        }
        # What no replica has taken is not run after its end.
        withdrawn = entry.run.message_id is not None and self._bus.cancel(entry.run.message_id, entry.group)
        result["hint"] = (
            "No replica of the job had taken its message, which was withdrawn: nothing was done."
            if withdrawn
            else "No valid answer came; the work may be done, or be done later: explain tells, before you run it again."
        )
        event = invocations.encode_event(now, "timed_out", **({"withdrawn": True} if withdrawn else {}))
        self._submit(self._finish(entry, InvocationState.TIMED_OUT, now, result, event))

    def _finish(
        self,
        entry: Open,
        state: InvocationState,
        now: int,
        result: dict[str, Any],
        event: str,
        message_id: int | None = None,
        *,
        late: str = "",
        told: dict[str, Any] | None = None,
    ) -> Finish:
        run = entry.run
        INVOCATION.advance(InvocationState(run.state), state)
        if entry.proxied:
            result[PROXY_RESPONSE] = orjson.Fragment(entry.proxied)
        encoded = orjson.dumps(result).decode()
        update = None
        if run.callback is not None:
            update = self._deliveries.update(self._ids.next(), run, result["state"], encoded, now)
        entry.ending = True
        return Finish(run.id, result["state"], now, encoded, event, run.attempts, message_id, late, update, told)

    def _submit(self, finish: Finish) -> None:
        def done(won: list[bool] | None, error: BaseException | None) -> None:
            if error is not None or won is None:  # the disk is full or gone: the record must still end once it is back
                entry = self._open.get(finish.id)
                if entry is not None:
                    self._deadlines.add(entry, clock.monotonic() + 1.0, lambda: self._submit(finish))
                return
            self.ended(finish, won[0])

        self._database.submit(done, invocations.finish, [finish])

    # -- life ----------------------------------------------------------------------------------------------

    def find(self, id: int) -> Open | None:
        """An open run, if nothing has come that ends it."""
        entry = self._open.get(id)
        return None if entry is None or entry.ending else entry

    def owes(self, id: int) -> bool:
        """Whether a run still owes its message to its job."""
        entry = self.find(id)
        return entry is not None and not entry.canceling

    def owed(self) -> list[int]:
        """When each open invocation was asked for."""
        return [entry.run.requested_at_ns for entry in self._open.values()]

    def goes_on(self, id: int) -> bool:
        """Whether a run is open and nothing has come that ends it."""
        return self.find(id) is not None

    def resume(self, run: Invocation, trigger: Trigger | None) -> Open:
        """Take up an open record that an earlier owner left, with the revision of its trigger."""
        definition = trigger.definition if trigger is not None else None
        slot, job = (definition.response_slot, definition.target_job_name) if definition is not None else ("", "")
        entry = Open(run, run.text_id, slot, trigger, (run.tenant, job))
        captured = orjson.loads(run.result).get(PROXY_RESPONSE)
        if captured is not None:
            entry.proxied = orjson.dumps(captured).decode()
        assert run.deadline_ns is not None
        # Never more than the whole time that it has: the clock may have been set back since.
        left = min(run.deadline_ns - clock.now_ns(), run.deadline_ns - run.requested_at_ns)
        self.watch(entry, max(0.0, left / clock.NANOSECONDS))
        return entry

    def close(self) -> None:
        """Stop all timers; callers that still wait get the records as they are: what was accepted stays accepted."""
        self._deadlines.close()
        for entry in self._open.values():
            for waiter in entry.waiters:
                if not waiter.done():
                    waiter.set_result(invocation.record(entry.run))
        self._open.clear()


def notice(invocation_id: str, tenant: str, slug: str, state: str) -> dict[str, Any]:
    """What is announced of an invocation, and of which trigger it is a run."""
    return {"invocation_id": invocation_id, "tenant": tenant, "slug": slug, "state": state}


def _late(now: int, event: str) -> str:
    return f'{{"at_ns":{now},"type":"{event}","reason":"it came after the end of the invocation"}}'


def _ignore_result(result: Any, error: BaseException | None) -> None:
    """A note in the history is worth no retry: the attempt count of the delivery itself is what counts."""
