"""A write under an idempotency key: it is done once, and a repeat gets the answer that the first one had.

Before a key is looked at, the request is admitted as a call of its operation, so a refusal does not tell whether the
key was ever used; and a key belongs to one credential, so that nobody gets what another key of the same user was told.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import structlog
from pydantic import Field

from core import clock, errors
from core.contexts.envelopes import Envelopes
from core.documents import canonical
from core.engine import Engine
from core.model.operation import Effect, Operation, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation
from core.store import replays as table

KEEP_HOURS = 24
MOST_KEYS = 10_000  # of one user in KEEP_HOURS
MOST_BYTES = 64 * 1024 * 1024  # of their answers
MAX_BYTES = 16 * 1024 * 1024  # of one call, and of one answer
_PURPOSE = "replays"
_NOTHING_DONE = (
    *(errors.InvalidParams, errors.InvalidDocument, errors.NotFound, errors.IdempotencyMismatch, errors.Forbidden),
    *(errors.WriteDisabled, errors.NotLicensed, errors.Unauthenticated, errors.RateLimited, errors.QuotaExceeded),
    *(errors.Busy, errors.StorageUnavailable),
)
log = structlog.get_logger("core.operations.replays")


class CallOnce(Params):
    operation: str = Field(max_length=64)
    key: str = Field(min_length=1, max_length=255)
    arguments: dict[str, Any]


@operation(
    summary="Do a write under an idempotency key.",
    http="",
    toolset="administration",
    effect=Effect.WRITE,
    tool=False,
    max_bytes=MAX_BYTES,
    offline=True,
    role=Role.USER,
    idempotent=True,
    gated=False,
)
async def call_once(engine: Engine, caller: Caller, params: CallOnce) -> dict[str, Any]:
    """Do a write, or tell what it was answered before: {replayed, result or error}; for the HTTP door only.

    What was refused before anything was done is not kept: the key is free again. Raises IdempotencyMismatch when the
    key is of a request for something else, AlreadyExists when the request was done and its answer held a credential,
    Unconfirmed when it is under way or was cut off (what may be done twice is then done again), RateLimited when the
    user holds too many keys.
    """
    refusal = await engine.refusal(params.operation, params.arguments, caller)
    if refusal is not None:
        return {"replayed": False, "error": refusal.to_dict()}
    declared = engine.operations[params.operation]
    who = table.Who(caller.tenant, caller.username, caller.principal.credential, declared.name, params.key)
    before = await _before(engine, who, declared, canonical.params_digest(params.arguments))
    if before is not None:
        return {"replayed": True, **before}
    try:
        result = await engine.call(declared.name, params.arguments, caller)
    except (errors.Unconfirmed, errors.CommitUnconfirmed, asyncio.CancelledError):  # nobody knows how far it came
        engine.database.submit(_nobody_waits, table.cut_off, who)
        raise
    except errors.SluiceError as error:
        told = {"error": error.to_dict()}
        await _end(engine, who, None if isinstance(error, _NOTHING_DONE) else told)
        return {"replayed": False, **told}
    await _end(engine, who, {"result": {key: result[key] for key in result if key not in declared.told_once}})
    return {"replayed": False, "result": result}


async def _before(engine: Engine, who: table.Who, declared: Operation, digest: bytes) -> dict[str, Any] | None:
    """What a request was answered before; None when it is ours to do now."""
    now = engine.ids.next()  # a time that only grows
    oldest = engine.age.now_ns() - KEEP_HOURS * 3600 * clock.NANOSECONDS
    most = (MOST_KEYS, MOST_BYTES)
    try:
        held = await engine.database.write(table.begin, who, digest, engine.started_at_ns, now, oldest, most)
    except errors.CommitUnconfirmed as error:  # about the key alone
        raise errors.StorageUnavailable(
            "The disk failed before this request began; nothing of it was done.", hint=error.hint
        ) from error
    if held is None:
        return None
    if isinstance(held, table.Full):
        raise errors.RateLimited(
            f"{who.username} holds as many idempotency keys as one user may ({MOST_KEYS} in {KEEP_HOURS} hours).",
            hint="Send the request without one, or later.",
            details={"retry_after_seconds": 3600},
        )
    if held.digest != digest:
        raise errors.IdempotencyMismatch(
            "This idempotency key was used before for another request.",
            hint="Use a new key for a new request; repeat the same request to get the same answer.",
        )
    if held.answer is not None:
        told: dict[str, Any] = orjson.loads(Envelopes(engine.vault, _PURPOSE).open(held.answer, _bound(who)))
        if declared.told_once and "result" in told:
            raise errors.AlreadyExists(
                f"This request was done before, and its answer is told once: it held {', '.join(declared.told_once)}.",
                hint="If you did not get it, withdraw what it made (see details), and ask again with a new key.",
                details=told["result"],
            )
        return told
    if held.life == engine.started_at_ns:
        raise errors.Unconfirmed("A request with this idempotency key is under way.", hint="Ask again in a moment.")
    if declared.idempotent:
        await engine.database.write(table.take_over, who, engine.started_at_ns)
        return None
    raise errors.Unconfirmed(
        "A request with this idempotency key was cut off, and it may or may not have been done.",
        hint="Look at the present state; if it was not done, send the request with a new key.",
    )


async def _end(engine: Engine, who: table.Who, told: dict[str, Any] | None) -> None:
    """Keep what a request was answered, encrypted; or free its key with None. The answer stands if that fails."""
    try:
        if told is None:
            await engine.database.write(table.forget, who)
            return
        text = orjson.dumps(told, option=orjson.OPT_NON_STR_KEYS).decode()
        if len(text) > MAX_BYTES:
            log.warning("answer_too_large_to_keep", operation=who.operation, bytes=len(text))
            await engine.database.write(table.cut_off, who)
            return
        sealed = await Envelopes(engine.vault, _PURPOSE).seal(text, _bound(who), engine.ids.next())
        await engine.database.write(table.end, who, sealed)
    except errors.SluiceError as error:
        # A repeat is told that the outcome is open, which is safe.
        log.error("answer_not_kept", operation=who.operation, error=error.message)


def _bound(who: table.Who) -> str:
    return "\n".join(who)


def _nobody_waits(result: Any, error: BaseException | None) -> None:
    """If it fails, the key says until the next start that its request is under way."""
