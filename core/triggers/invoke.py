"""The invocation of a trigger, from the call to the terminal record.

The way of one run: check (policy, defaults, schema, rate) -> ONE transaction writes the record, its audit row, its
message and the delivery it owes -> the bus sends the message to one replica of the target job -> its response, or the
deadline, wins the compare-and-set to the terminal state -> the waiting caller is woken, once.

Crash stories follow from that order: nothing is sent before its commit, nobody is told before the commit, and what is
still owed is released again at the next start.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from core import clock, errors
from core.bus.base import Bus, Delivery
from core.documents import canonical
from core.model import invocation
from core.model.message import Filter, Kind, Message, Source, Type
from core.model.operation import schema_problems
from core.model.principal import Caller
from core.model.states import INVOCATION, InvocationState
from core.model.trigger import MAX_WAIT_SECONDS, Definition
from core.store import audit, invocations
from core.store.database import Database
from core.store.traffic import Finish
from core.triggers import responses
from core.triggers.deadlines import Deadlines
from core.triggers.registry import Trigger

ALLOWED_PROXY_HEADERS = "content-type content-length date etag last-modified location retry-after x-request-id".split()
MAX_PROXY_BODY_BYTES = 64 * 1024
MAX_RESPONSE_BYTES = 256 * 1024

DISPATCH_ONLY = orjson.dumps(
    {"status": "accepted_for_dispatch", "mode": "dispatch_only", "state": "succeeded"}
).decode()
DISPATCHED = orjson.dumps({"status": "accepted_for_dispatch", "mode": "response_slot", "state": "dispatched"}).decode()


@dataclass(slots=True, eq=False)
class Open:
    """An invocation that waits for its response."""

    row: dict[str, Any]
    text_id: str
    slot: str
    trigger: Trigger | None
    group: tuple[str, str]
    delivery_id: int = 0
    attempts: int = 1
    bucket: int = 0
    notes: int = 0
    waiters: dict[asyncio.Future[dict[str, Any]], int] = field(default_factory=dict)  # with their deadline's bucket


class Invoker:
    """Runs triggers. Use from the engine's loop."""

    def __init__(
        self, database: Database, bus: Bus, ids: clock.Ids, announce: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self._database = database
        self._bus = bus
        self.ids = ids
        self._announce = announce
        self._open: dict[int, Open] = {}
        self._deadlines = Deadlines()
        self._recent: dict[tuple[str, str, str], deque[float]] = {}

    # -- the call ------------------------------------------------------------------------------------------

    async def invoke(
        self,
        trigger: Trigger,
        params: dict[str, Any],
        caller: Caller,
        *,
        idempotency_key: str | None = None,
        wait_seconds: float = 15.0,
    ) -> dict[str, Any]:
        """Run a trigger and return its record: terminal, or as it is after `wait_seconds`.

        Raises Forbidden (policy), InvalidParams (with every fault), RateLimited, IdempotencyMismatch,
        StorageUnavailable. Nothing is recorded for a call that raises.
        """
        definition = trigger.definition
        if not trigger.active:
            raise errors.NotFound(
                f"Trigger {trigger.slug} is not active.", hint="An admin can revise it to make it active again."
            )
        if not trigger.invokable_by(caller):
            raise errors.Forbidden(
                f"The policy of trigger {trigger.slug} does not let a {caller.principal.role.value} invoke it.",
                hint="Ask an admin to revise its invoke_policy.",
            )
        merged = {**definition.default_params, **params} if definition.default_params else params
        if not trigger.validator.is_valid(merged):
            raise errors.InvalidParams(
                f"The parameters do not fit the schema of trigger {trigger.slug}.",
                hint=f"trigger_get shows the schema. Parameters: {_names(definition)}.",
                errors=schema_problems(trigger.validator, merged),
            )
        key = None if idempotency_key is None else _key(trigger, caller, idempotency_key, params)
        self._check_rate(trigger, caller)
        done: asyncio.Future[dict[str, Any] | tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._record(trigger, merged, caller, idempotency_key, key, wait_seconds, done)
        outcome = await done
        if isinstance(outcome, tuple):
            return await self._replay(outcome, key, wait_seconds)
        return outcome

    def _record(
        self,
        trigger: Trigger,
        params: dict[str, Any],
        caller: Caller,
        idempotency_key: str | None,
        key: tuple[bytes, bytes] | None,
        wait_seconds: float,
        done: asyncio.Future[Any],
    ) -> None:
        definition = trigger.definition
        tenant = trigger.tenant
        now = clock.now_ns()
        id = self.ids.next()
        nonce = clock.token(invocation.NONCE_CHARACTERS)
        text_id = invocation.text_id(id, nonce)
        group = (tenant, definition.target_job_name)
        waits = bool(definition.response_slot)
        message = Message(
            id=self.ids.next(),
            tenant=tenant,
            kind=Kind.USER.value,
            source=Source.SERVER.value,
            type=Type.USER_GENERATED.value,
            tag=definition.target_message_tag,
            at_ns=now,
            data={"job_event": _payload(trigger, text_id, params, caller, now)},
        )
        refusal = _refusal(self._bus.filter_of(group), message, definition)
        delivery = None
        accepted = invocations.encode_event(now, "accepted", surface=caller.surface.value)
        if refusal is not None:
            state, result = InvocationState.FAILED, orjson.dumps(refusal).decode()
            events = f"[{accepted},{invocations.encode_event(now, 'failed', reason=refusal['error_code'])}]"
        else:
            state, result = (
                (InvocationState.DISPATCHED, DISPATCHED) if waits else (InvocationState.SUCCEEDED, DISPATCH_ONLY)
            )
            events = f"[{accepted},{invocations.encode_event(now, 'dispatched', job=definition.target_job_name)}]"
            delivery = Delivery(self.ids.next(), group, message.encode(), invocation_id=id)
        deadline = now + definition.response_timeout_seconds * clock.NANOSECONDS if waits else None
        row = (
            id,
            nonce,
            tenant,
            trigger.slug,
            trigger.revision,
            state.value,
            caller.surface.value,
            caller.username,
            caller.principal.role.value,
            orjson.dumps(params).decode(),
            idempotency_key,
            now,
            deadline,
            None if state is InvocationState.DISPATCHED else now,
            None,
            1,
            result,
            events,
        )
        message_row = dispatch_row = None
        if delivery is not None:
            message_row = message_values(message, delivery.body)
            dispatch_row = (delivery.id, message.id, tenant, group[1], id, 1)

        def recorded(taken: tuple[int, bytes] | None, error: BaseException | None) -> None:
            if error is not None or taken is not None:
                if not done.done():
                    done.set_exception(error) if error is not None else done.set_result(taken)
                return
            values = dict(zip(invocations.COLUMNS, row, strict=True))
            if state is InvocationState.DISPATCHED and delivery is not None:
                entry = Open(values, text_id, definition.response_slot, trigger, group, delivery.id)
                self._watch(entry, definition.response_timeout_seconds)
                self._bus.release(delivery)
                self._wait(entry, wait_seconds, done)
            else:
                if delivery is not None:
                    self._bus.release(delivery)
                if not done.done():
                    done.set_result(invocation.record(values))
            self._announce("invocation", {"invocation_id": text_id, "tenant": tenant, "state": state.value})

        self._database.submit(
            recorded,
            invocations.record,
            row,
            audit.row(self.ids.next(), caller, "trigger_invoke", f"{tenant}/{trigger.slug}"),
            key,
            message_row,
            dispatch_row,
        )

    async def _replay(
        self, taken: tuple[int, bytes], key: tuple[bytes, bytes] | None, wait_seconds: float
    ) -> dict[str, Any]:
        id, digest = taken
        if key is None or digest != key[1]:
            raise errors.IdempotencyMismatch(
                "This idempotency key was used before with other parameters.",
                hint="Use a new key for a new run; repeat the same parameters to get the first run's record.",
            )
        found = await self.get(id, wait_seconds)
        if found is None:
            raise errors.NotFound("The run of this idempotency key is beyond the retention.", hint="Use a new key.")
        return {**found, "deduplicated": True}

    def _check_rate(self, trigger: Trigger, caller: Caller) -> None:
        limit = trigger.definition.invoke_policy.rate_limit
        if limit is None:
            return
        now = clock.monotonic()
        recent = self._recent.setdefault((trigger.tenant, trigger.slug, caller.username), deque())
        while recent and recent[0] <= now - limit.per_seconds:
            recent.popleft()
        if len(recent) >= limit.per_user:
            retry = max(1, round(recent[0] + limit.per_seconds - now + 0.5))
            raise errors.RateLimited(
                f"Trigger {trigger.slug} allows {limit.per_user} runs per user in {limit.per_seconds} s.",
                hint=f"Try again in {retry} s.",
                details={"retry_after_seconds": retry},
            )
        recent.append(now)

    # -- waiting -------------------------------------------------------------------------------------------

    async def get(self, id: int, wait_seconds: float = 0.0) -> dict[str, Any] | None:
        """The record of an invocation by row id, after waiting up to `wait_seconds` for its end."""
        entry = self._open.get(id)
        if entry is not None:
            if wait_seconds <= 0:
                return self._present(entry)
            done: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            self._wait(entry, wait_seconds, done)
            return await done
        row = await self._database.read(invocations.get, id)
        return invocation.record(row) if row is not None else None

    def _present(self, entry: Open) -> dict[str, Any]:
        return invocation.record({**entry.row, "attempts": entry.attempts})

    def _wait(self, entry: Open, wait_seconds: float, done: asyncio.Future[Any]) -> None:
        if wait_seconds <= 0:
            if not done.done():
                done.set_result(self._present(entry))
            return

        def give_up() -> None:
            del entry.waiters[done]
            if not done.done():
                done.set_result(self._present(entry))

        entry.waiters[done] = self._deadlines.add(
            done, clock.monotonic() + min(wait_seconds, MAX_WAIT_SECONDS), give_up
        )

    def _watch(self, entry: Open, seconds: float) -> None:
        self._open[entry.row["id"]] = entry
        entry.bucket = self._deadlines.add(entry, clock.monotonic() + seconds, lambda: self._time_out(entry))

    # -- the end -------------------------------------------------------------------------------------------

    def consider(self, envelope: dict[str, Any], sender_tenant: str, now: int) -> Finish | tuple[int, str] | None:
        """What a job's trigger_response asks for: an end, an event of the record (id, text), or nothing.

        A response that is late, malformed or for another slot changes nothing but the history; one from another
        tenant not even that.
        """
        text_id = envelope.get("invocation_id")
        parsed = invocation.parse_id(text_id) if isinstance(text_id, str) else None
        if parsed is None:
            return None
        entry = self._open.get(parsed[0])
        if entry is None or entry.row["nonce"] != parsed[1] or entry.row["tenant"] != sender_tenant:
            return None
        expected = responses.Expected(entry.text_id, entry.row["tenant"], entry.slot)
        reason = responses.fault(envelope, expected, sender_tenant)
        if reason is None and entry.trigger is not None and envelope["outcome"] == "succeeded":
            validator = entry.trigger.result_validator
            if validator is not None and not validator.is_valid(envelope.get("result", {})):
                reason = "result does not fit the result_schema of the trigger"
        encoded = orjson.dumps(envelope)
        if reason is None and len(encoded) > MAX_RESPONSE_BYTES:
            reason = f"the response is larger than {MAX_RESPONSE_BYTES} bytes"
        if reason is not None:
            return self._note(entry, invocations.encode_event(now, "response_refused", reason=reason))
        state = responses.outcome(envelope)
        result = {
            "status": "completed",
            "mode": "response_slot",
            "state": state.value,
            "trigger_response": orjson.Fragment(encoded),
        }
        return self._finish(entry, state, now, result, invocations.encode_event(now, state.value, by="response"))

    def ended(self, finish: Finish, won: bool) -> None:
        """The store has decided about a finish; only the one that won ends the run."""
        if not won:
            return
        entry = self._open.pop(finish.id, None)
        if entry is None:
            return
        self._deadlines.forget(entry, entry.bucket)
        row = entry.row
        row["state"] = finish.state
        row["finished_at_ns"] = finish.at_ns
        row["result"] = finish.result
        row["attempts"] = finish.attempts
        row["events"] = f"{row['events'][:-1]},{finish.event}]"
        if entry.waiters:
            record = invocation.record(row)
            for waiter, bucket in entry.waiters.items():
                self._deadlines.forget(waiter, bucket)
                if not waiter.done():
                    waiter.set_result(record)
        self._announce("invocation", {"invocation_id": entry.text_id, "tenant": row["tenant"], "state": finish.state})

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

    def retried(self, id: int, attempt: int) -> None:
        """The message goes out again because its worker died."""
        entry = self._open.get(id)
        now = clock.now_ns()
        event = invocations.encode_event(now, "redelivered", attempt=attempt)
        if entry is not None:
            entry.attempts = attempt
            entry.row["events"] = f"{entry.row['events'][:-1]},{event}]"
        self._database.submit(_ignore_result, invocations.attempted, id, attempt, event)

    def run_failed(self, id: int, reason: str) -> tuple[int, str] | None:
        """The job's run ended with an error; the record says so and goes on waiting (the seed's rule)."""
        entry = self._open.get(id)
        if entry is None:
            return None
        return self._note(
            entry, invocations.encode_event(clock.now_ns(), "run_failed", reason=errors.shorten(reason, 500))
        )

    def _note(self, entry: Open, event: str) -> tuple[int, str] | None:
        """Add to the history of an open record, here and (by what is returned) in the store; bounded."""
        if entry.notes >= invocations.MAX_EVENTS - 5:
            return None
        entry.notes += 1
        entry.row["events"] = f"{entry.row['events'][:-1]},{event}]"
        return entry.row["id"], event

    def _time_out(self, entry: Open) -> None:
        now = clock.now_ns()
        deadline = entry.row["deadline_ns"]
        result = {
            "status": "accepted_for_dispatch",
            "mode": "response_slot",
            "state": "timed_out",
            "deadline_ns": deadline,
            "deadline": clock.iso(deadline),
        }
        event = invocations.encode_event(now, "timed_out")
        self._bus.cancel(entry.delivery_id, entry.group)  # what no replica has taken is not run after its end
        self._submit(self._finish(entry, InvocationState.TIMED_OUT, now, result, event))

    def _finish(self, entry: Open, state: InvocationState, now: int, result: dict[str, Any], event: str) -> Finish:
        INVOCATION.advance(InvocationState(entry.row["state"]), state)
        return Finish(entry.row["id"], state.value, now, orjson.dumps(result).decode(), event, entry.attempts)

    def _submit(self, finish: Finish) -> None:
        def done(won: bool | None, error: BaseException | None) -> None:
            if error is not None:  # the disk is full or gone: the record must still end once it is back
                entry = self._open.get(finish.id)
                if entry is not None:
                    self._deadlines.add(entry, clock.monotonic() + 1.0, lambda: self._submit(finish))
                return
            self.ended(finish, bool(won))

        self._database.submit(
            done,
            invocations.finish,
            finish.id,
            finish.state,
            finish.at_ns,
            finish.result,
            finish.event,
            finish.attempts,
        )

    # -- life ----------------------------------------------------------------------------------------------

    def resume(self, row: dict[str, Any], trigger: Trigger | None) -> None:
        """Take up an open record that an earlier owner left, with the revision of its trigger."""
        definition = trigger.definition if trigger is not None else None
        slot, job = (definition.response_slot, definition.target_job_name) if definition is not None else ("", "")
        text_id = invocation.text_id(row["id"], row["nonce"])
        entry = Open(row, text_id, slot, trigger, (row["tenant"], job), attempts=row["attempts"])
        left = (row["deadline_ns"] - clock.now_ns()) / clock.NANOSECONDS
        self._watch(entry, max(0.0, left))

    @property
    def open_count(self) -> int:
        return len(self._open)

    def close(self) -> None:
        """Stop all timers; callers that still wait are told that the engine goes away."""
        self._deadlines.close()
        for entry in self._open.values():
            for waiter in entry.waiters:
                if not waiter.done():
                    waiter.set_exception(errors.Busy("The engine is shutting down.", hint="Poll the invocation by id."))
        self._open.clear()


def message_values(message: Message, body: bytes) -> tuple[int, str, str, str, str, str, str, str, bytes]:
    """A message as a row of the log, in column order."""
    return (
        message.id,
        message.tenant,
        message.kind,
        message.source,
        message.type,
        message.tag,
        message.job,
        message.worker,
        body,
    )


def _payload(trigger: Trigger, text_id: str, params: dict[str, Any], caller: Caller, now: int) -> dict[str, Any]:
    """The job_event of the dispatch message (seed: Trigger Dispatch Payload)."""
    definition = trigger.definition
    payload = {
        "type": "trigger_invoke",
        "version": 1,
        "invocation_id": text_id,
        "trigger": {
            "id": trigger.text_id,
            "slug": trigger.slug,
            "revision": trigger.revision,
            "tenant_id": trigger.tenant,
        },
        "caller": {"username": caller.username, "role": caller.principal.role.value},
        "params": params,
        "requested_at_ns": now,
    }
    if definition.proxy_policy.mode != "off":
        payload["trigger_proxy"] = {
            "tenant_id": trigger.tenant,
            "invocation_id": text_id,
            "response_slot": definition.response_slot,
            "nonce": clock.token(20),
            "mode": definition.proxy_policy.mode,
            "timeout_seconds": definition.proxy_policy.timeout_seconds,
            "max_body_bytes": MAX_PROXY_BODY_BYTES,
            "allowed_headers": list(ALLOWED_PROXY_HEADERS),
        }
    return payload


def _refusal(filter: Filter | None, message: Message, definition: Definition) -> dict[str, Any] | None:
    """Why the target job cannot take the message: the `result` of a failed invocation, or None."""
    job = definition.target_job_name
    if filter is None:
        why = f"No deployed job {job} listens to messages in tenant {message.tenant}."
        hint = f"Deploy it with job_deploy, in tenant {message.tenant}, with a message trigger as its input."
    elif not filter.matches(message):
        why = f"Job {job} is deployed, but its filter does not match a user-generated message with tag {message.tag!r}."
        hint = "Make target_message_tag of the trigger and filter-tag of the job the same."
    else:
        return None
    return {
        "status": "rejected",
        "mode": "response_slot" if definition.response_slot else "dispatch_only",
        "state": "failed",
        "error_code": errors.TargetUnavailable.code,
        "error_message": why,
        "hint": hint,
    }


def _key(trigger: Trigger, caller: Caller, key: str, params: dict[str, Any]) -> tuple[bytes, bytes]:
    if not 1 <= len(key) <= 255 or not key.isprintable():
        raise errors.InvalidParams(
            "An idempotency key has 1 to 255 printable characters.",
            errors=[errors.Problem("/idempotency_key", f"has {len(key)} characters or control characters")],
        )
    scope = "\0".join((trigger.tenant, trigger.slug, caller.username, key))
    return hashlib.blake2b(scope.encode(), digest_size=16).digest(), canonical.params_digest(params)


def _names(definition: Definition) -> str:
    return ", ".join(definition.parameter_schema.get("properties", {})) or "any"


def _ignore_result(result: Any, error: BaseException | None) -> None:
    """A note in the history is worth no retry: the attempt count of the delivery itself is what counts."""
