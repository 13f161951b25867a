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
from typing import Any

import orjson

from core import clock, errors
from core.bus.base import Bus, Delivery
from core.model import invocation
from core.model.message import Kind, Message, Source, Type
from core.model.operation import schema_problems
from core.model.principal import Caller
from core.model.trigger import Definition
from core.store import audit, invocations, messages
from core.store.database import Database
from core.triggers import dispatch
from core.triggers.callbacks import Callback
from core.triggers.deliveries import Deliveries
from core.triggers.limits import Limits
from core.triggers.pending import Open, Pending, notice
from core.triggers.quota import Quota
from core.triggers.registry import Trigger

PROXY_NONCE_CHARACTERS = 32
_USER, _SERVER, _USER_GENERATED = Kind.USER.value, Source.SERVER.value, Type.USER_GENERATED.value


@dataclass(slots=True)
class _Options:
    """What one call wants beside its parameters."""

    wait_seconds: float
    idempotency_key: str | None = None
    key: tuple[bytes, bytes] | None = None
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
        deliveries: Deliveries,
        quota: Quota,
    ) -> None:
        self._database = database
        self._bus = bus
        self._pending = pending
        self.ids = ids
        self._announce = announce
        self._deliveries = deliveries
        self._quota = quota
        self._limits = Limits(database)

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
    ) -> dict[str, Any]:
        """Run a trigger and return its record: terminal, or as it is after `wait_seconds`.

        `rerun_of` is the id of an invocation that this one repeats. Raises Forbidden (policy), InvalidParams (with
        every fault), RateLimited, QuotaExceeded, IdempotencyMismatch, StorageUnavailable. Nothing is recorded for a
        call that raises.
        """
        definition = trigger.definition
        if not trigger.active:
            raise errors.NotFound(
                f"Trigger {trigger.slug} is not active.", hint="An admin can revise it to make it active again."
            )
        if not trigger.invokable_by(caller):
            raise errors.Forbidden(
                f"The policy of trigger {trigger.slug} does not let the role {caller.principal.role.value} invoke it.",
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
        done: asyncio.Future[dict[str, Any] | tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        try:
            self._record(trigger, merged, caller, options, done)
            outcome = await done
        except errors.QuotaExceeded as refused:
            give_back()
            return await self._ran_already(refused, key, wait_seconds)
        except errors.SluiceError:
            give_back()
            raise
        if isinstance(outcome, tuple):
            give_back()
            return await self._replay(outcome, key, wait_seconds)
        return outcome

    async def _ran_already(
        self, refused: errors.SluiceError, key: tuple[bytes, bytes] | None, wait_seconds: float
    ) -> dict[str, Any]:
        """The run of this key, which no limit for new ones keeps from whoever asks for it; else the refusal."""
        taken = None if key is None else await self._database.read(invocations.holder, key[0])
        if taken is None:
            raise refused
        return await self._replay(taken, key, wait_seconds)

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
        surface, username, role = caller.surface.value, caller.username, caller.principal.role.value
        now = clock.now_ns()
        id = self.ids.next()
        random = clock.token(invocation.NONCE_CHARACTERS + PROXY_NONCE_CHARACTERS)
        nonce = random[: invocation.NONCE_CHARACTERS]
        text_id = invocation.text_id(id, nonce)
        proxy_nonce = random[invocation.NONCE_CHARACTERS :] if definition.proxy_policy.mode != "off" else None
        group = (tenant, definition.target_job_name)
        payload = dispatch.payload(trigger, text_id, params, username, role, now, proxy_nonce)
        message = Message(
            id=self.ids.next(),
            tenant=tenant,
            kind=_USER,
            source=_SERVER,
            type=_USER_GENERATED,
            tag=definition.target_message_tag,
            at_ns=now,
            data={"job_event": payload},
        )
        refused = dispatch.refusal(self._bus.filter_of(group), message, definition)
        state, result, events = dispatch.beginning(trigger, refused, now, surface)
        waits = state == dispatch.DISPATCHED
        delivery = None
        if refused is None:
            delivery = Delivery(self.ids.next(), group, message.encode(), invocation_id=id)
        text = orjson.dumps(params)
        size = len(text) + (0 if delivery is None else len(delivery.body))
        self._quota.take(tenant, username, size)
        row = (
            id,
            nonce,
            tenant,
            definition.slug,
            trigger.revision,
            state,
            surface,
            username,
            role,
            text.decode(),
            options.idempotency_key,
            now,
            now + definition.response_timeout_seconds * clock.NANOSECONDS if definition.response_slot else None,
            None if waits else now,
            None,
            1,
            result,
            events,
            proxy_nonce,
            options.receiver,
            options.rerun_of,
        )
        update = target = None
        if options.sealed is not None:
            values = dict(zip(invocations.COLUMNS, row, strict=True))
            update = self._deliveries.update(self.ids.next(), values, state, result, now)
            target = (id, options.sealed)
        message_row = dispatch_row = None
        if delivery is not None:
            message_row = messages.row(message, delivery.body)
            dispatch_row = (delivery.id, message.id, tenant, group[1], id, 1)

        operation = "trigger_invoke" if options.rerun_of is None else "trigger_invocation_rerun"

        def recorded(taken: tuple[int, bytes] | None, error: BaseException | None) -> None:
            if error is not None or taken is not None:
                self._quota.give_back(tenant, username, size)
                if not done.done():
                    done.set_exception(error) if error is not None else done.set_result(taken)
                return
            values = dict(zip(invocations.COLUMNS, row, strict=True))
            if waits and delivery is not None:
                entry = Open(values, text_id, definition.response_slot, trigger, group, delivery.id, params)
                self._pending.watch(entry, definition.response_timeout_seconds)
                self._bus.release(delivery)
                self._pending.wait(entry, options.wait_seconds, done)
            else:
                if delivery is not None:
                    self._bus.release(delivery)
                if not done.done():
                    done.set_result(invocation.record(values))
            self._announce("invocation", notice(text_id, tenant, definition.slug, state))
            if update is not None:
                self._deliveries.added(update)

        self._database.submit(
            recorded,
            invocations.record,
            row,
            audit.row(self.ids.next(), caller, operation, f"{tenant}/{trigger.slug}"),
            options.key,
            message_row,
            dispatch_row,
            target,
            update,
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
        found = await self._pending.get(id, wait_seconds)
        if found is None:
            raise errors.NotFound("The run of this idempotency key is beyond the retention.", hint="Use a new key.")
        return {**found, "deduplicated": True}


def _nothing() -> None:
    """What is given back when nothing was taken."""


def _names(definition: Definition) -> str:
    return ", ".join(definition.parameter_schema.get("properties", {})) or "any"
