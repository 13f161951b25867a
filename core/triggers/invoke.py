"""The invocation of a trigger, from the call to the terminal record.

The way of one run: check (policy, defaults, schema, rate) -> ONE transaction writes the record, its audit row, its
message and the delivery it owes -> the bus sends the message to one replica of the target job -> its response, or the
deadline, wins the compare-and-set to the terminal state -> the waiting caller is woken, once.

Crash stories follow from that order: nothing is sent before its commit, nobody is told before the commit, and what is
still owed is released again at the next start.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from core import clock, errors
from core.bus.base import Bus, Delivery
from core.bus.told import Told
from core.measures import Ends
from core.model import invocation, trace_context
from core.model.invocation import Invocation
from core.model.message import Kind, Message, Source, Type, renumbered
from core.model.operation import schema_problems
from core.model.principal import Caller
from core.model.trigger import Definition
from core.spans import Spans
from core.store import audit, messages, run_commits
from core.store.callbacks import TargetRow
from core.store.database import Database
from core.store.dispatches import DispatchRow
from core.store.run_commits import Accepted, Holder, Key
from core.triggers import dispatch
from core.triggers.callbacks import Callback
from core.triggers.deliveries import Deliveries
from core.triggers.limits import Limits
from core.triggers.pending import Open, Pending, notice
from core.triggers.quota import Quota
from core.triggers.recording import Recorder
from core.triggers.registry import Trigger

if TYPE_CHECKING:
    from core.model.results import triggers

PROXY_NONCE_CHARACTERS = 32
_USER, _SERVER, _USER_GENERATED = Kind.USER.value, Source.SERVER.value, Type.USER_GENERATED.value


@dataclass(slots=True)
class _Options:
    """What one call wants beside its parameters."""

    wait_seconds: float
    idempotency_key: str | None = None
    key: Key | None = None
    rerun_of: str | None = None
    receiver: str | None = None
    sealed: bytes | None = None  # the target of a callback


class Invoker:
    """Runs triggers. Use from the engine's loop."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        ids: clock.Ids,
        pending: Pending,
        announce: Callable[[str, dict[str, Any]], None],
        told: Told,
        deliveries: Deliveries,
        quota: Quota,
        ends: Ends,
        spans: Spans | None = None,
    ) -> None:
        self._database = database
        self._bus = bus
        self._pending = pending
        self.ids = ids
        self._announce = announce
        self._told = told
        self._deliveries = deliveries
        self._quota = quota
        self._ends = ends
        self._spans = spans
        self._limits = Limits(database)
        self._recorder = Recorder(database, ids)

    async def invoke(
        self,
        trigger: Trigger,
        params: dict[str, Any],
        caller: Caller,
        *,
        idempotency_key: str | None = None,
        wait_seconds: float = 15.0,
        callback: Callback | None = None,
        rerun_of: str | None = None,
    ) -> triggers.Invocation:
        """Run a trigger and return its record: terminal, or as it is after `wait_seconds`.

        `rerun_of` is the id of an invocation that this one repeats. Raises Forbidden (policy), InvalidParams (with
        every fault), RateLimited, QuotaExceeded, IdempotencyMismatch, StorageUnavailable. Nothing is recorded for a
        call that raises.
        """
        definition = trigger.definition
        if not trigger.active:
            raise errors.NotFound(trigger.inactivity, hint="An admin can make it active again with trigger_revise.")
        if not trigger.invokable_by(caller):
            raise errors.Forbidden(
                f"The policy of trigger {trigger.slug} does not let the role {caller.role.value} invoke it.",
                hint="Ask an admin to revise its invoke_policy.",
            )
        merged = {**definition.default_params, **params} if definition.default_params else params
        if not trigger.validator.is_valid(merged):
            raise errors.InvalidParams(
                f"The parameters do not fit the schema of trigger {trigger.slug}.",
                hint=f"trigger_get shows the schema. Parameters: {_names(definition)}.",
                errors=schema_problems(trigger.validator, merged),
            )
        key = None if idempotency_key is None else dispatch.idempotency(trigger, caller, idempotency_key, params)
        options = _Options(wait_seconds, idempotency_key, key, rerun_of)
        if callback is not None:
            options = await self._with_callback(options, callback, trigger.tenant)
        give_back = _nothing
        limit = definition.invoke_policy.rate_limit
        if limit is not None:
            try:
                give_back = await self._limits.take(trigger, limit, caller)
            except errors.RateLimited as refused:
                return await self._ran_already(refused, key, wait_seconds)
        done: asyncio.Future[triggers.Invocation | Holder] = asyncio.get_running_loop().create_future()
        span = None if self._spans is None else self._spans.within(caller.traceparent)
        if span is not None:
            caller = dataclasses.replace(caller, traceparent=str(span.context))
        try:
            self._record(trigger, merged, caller, options, done)
            outcome = await done
        except errors.QuotaExceeded as refused:
            give_back()
            return await self._ran_already(refused, key, wait_seconds)
        except errors.SluiceError:
            give_back()
            raise
        finally:
            if self._spans is not None and span is not None:
                about = {"sluice.trigger": definition.slug, "sluice.tenant": trigger.tenant}
                self._spans.end(span, "sluice.invoke", "internal", about)
        if isinstance(outcome, Holder):
            give_back()
            return await self._replay(outcome, key, wait_seconds)
        return outcome

    async def _ran_already(
        self, refused: errors.SluiceError, key: Key | None, wait_seconds: float
    ) -> triggers.Invocation:
        """The run of this key, which no limit for new ones keeps from whoever asks for it; else the refusal."""
        holder = None if key is None else await self._database.read(run_commits.holder, key.key)
        if holder is None:
            raise refused
        return await self._replay(holder, key, wait_seconds)

    async def _with_callback(self, options: _Options, wish: Callback, tenant: str) -> _Options:
        """The options of a call that wants updates, with their target checked and sealed."""
        target = self._deliveries.check(wish, tenant)
        sealed = await self._deliveries.seal(target, tenant, self.ids.next())
        return dataclasses.replace(options, receiver=target.receiver, sealed=sealed)

    def _record(
        self,
        trigger: Trigger,
        params: dict[str, Any],
        caller: Caller,
        options: _Options,
        done: asyncio.Future[Any],
    ) -> None:
        definition = trigger.definition
        tenant = trigger.tenant
        surface = caller.surface.value
        now = clock.now_ns()
        random = clock.token(invocation.NONCE_CHARACTERS + PROXY_NONCE_CHARACTERS)
        text = orjson.dumps(params)
        run = Invocation(
            id=self.ids.next(),
            nonce=random[: invocation.NONCE_CHARACTERS],
            tenant=tenant,
            slug=definition.slug,
            revision=trigger.revision,
            state="",
            surface=surface,
            username=caller.username,
            role=caller.role.value,
            params=text.decode(),
            idempotency_key=options.idempotency_key,
            requested_at_ns=now,
            deadline_ns=None,
            finished_at_ns=None,
            proxy_recorded_at_ns=None,
            attempts=1,
            result="",
            events="",
            proxy_nonce=random[invocation.NONCE_CHARACTERS :] if definition.proxy_policy.mode != "off" else None,
            callback=options.receiver,
            rerun_of=options.rerun_of,
        )
        context = trace_context.parse(caller.traceparent) if caller.traceparent else None
        span = None if self._spans is None else self._spans.within(caller.traceparent)
        if context is not None:
            run.trace_id = context.trace_id
            context = context._replace(sampled=False) if span is None else span.context
        if definition.response_slot:
            run.deadline_ns = now + definition.response_timeout_seconds * clock.NANOSECONDS
        job_event = invocation.job_event(run, trigger.text_id, definition, orjson.Fragment(text))
        message = Message(
            id=self.ids.next(),
            tenant=tenant,
            kind=_USER,
            source=_SERVER,
            type=_USER_GENERATED,
            tag=definition.target_message_tag,
            at_ns=now,
            data={"job_event": job_event},
            traceparent="" if context is None else str(context),
        )
        group = (tenant, definition.target_job_name)
        refused = dispatch.refusal(self._bus.filter_of(group), message, definition)
        run.state, run.result, run.events = dispatch.beginning(trigger, refused, now, surface)
        waits = run.state == dispatch.DISPATCHED
        operation = "trigger_invoke" if options.rerun_of is None else "trigger_invocation_rerun"
        accepted = Accepted(run, audit.row(self.ids.next(), caller, operation, f"{tenant}/{run.slug}"), options.key)
        body = b""
        if not waits:
            run.finished_at_ns = now
        if refused is None:
            body = message.encode()
            run.message_id = message.id
            accepted.message = messages.row(message, b"", run.id)
            if not waits:
                accepted.dispatch = DispatchRow(message.id, message.id, tenant, group[1], run.id, 1)
        size = len(text) + len(body)
        if options.sealed is not None:
            accepted.update = self._deliveries.update(self.ids.next(), run, run.state, run.result, now)
            accepted.target = TargetRow(run.id, options.sealed)
        self._quota.take(tenant, run.username, size)

        def recorded(holder: Holder | None, error: BaseException | None) -> None:
            if error is not None or holder is not None:
                self._quota.give_back(tenant, run.username, size)
                if not done.done():
                    done.set_exception(error) if error is not None else done.set_result(holder)
                return
            delivery = None
            if accepted.message is not None:
                id = accepted.message.id  # another one than at first when another run of its tick failed the commit
                event = body if id == message.id else renumbered(body, id)
                delivery = Delivery(id, group, event, invocation_id=run.id, of_open_run=waits)
                self._told.committed(id, tenant, event)
            if waits and delivery is not None:
                entry = Open(run, run.text_id, definition.response_slot, trigger, group, params)
                self._pending.watch(entry, definition.response_timeout_seconds)
                self._bus.release(delivery)
                self._pending.wait(entry, options.wait_seconds, done)
            else:
                self._ends.add(tenant, run.state, run.requested_at_ns, run.finished_at_ns)
                if delivery is not None:
                    self._bus.release(delivery)
                if not done.done():
                    done.set_result(invocation.record(run))
            if self._spans is not None and span is not None and delivery is not None:
                self._spans.end(span, f"send {definition.target_message_tag}", "producer")
            self._announce("invocation", notice(run.text_id, tenant, run.slug, run.state))
            if accepted.update is not None:
                self._deliveries.added(accepted.update)

        self._recorder.add(accepted, recorded)

    async def _replay(self, holder: Holder, key: Key | None, wait_seconds: float) -> triggers.Invocation:
        if key is None or holder.params != key.params:
            first = await self._pending.get(holder.id, 0)
            id = None if first is None else first["invocation_id"]
            raise errors.IdempotencyMismatch(
                f"This idempotency key was used before with other parameters{f', for {id}' if id else ''}.",
                hint="Use a new key for a new run; repeat the same parameters to get the first run's record.",
                details=None if id is None else {"invocation_id": id},
            )
        found = await self._pending.get(holder.id, wait_seconds)
        if found is None:
            raise errors.NotFound("The run of this idempotency key is beyond the retention.", hint="Use a new key.")
        return {**found, "deduplicated": True}


def _nothing() -> None:
    """What is given back when nothing was taken."""


def _names(definition: Definition) -> str:
    return ", ".join(definition.parameter_schema.get("properties", {})) or "any"
