"""Idempotency keys of writes over HTTP: begin a request under a key, and keep its answer for repeats."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from core import clock, errors
from core.contexts.envelopes import Envelopes
from core.engine import Engine
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation
from core.store import replays as table

KEEP_HOURS = 24
MOST_KEYS = 10_000  # of one user in KEEP_HOURS
MOST_BYTES = 64 * 1024 * 1024  # of their answers
MAX_ANSWER_BYTES = 16 * 1024 * 1024
_PURPOSE = "replays"


class ReplayKey(Params):
    operation: str = Field(max_length=64)
    key: str = Field(min_length=1, max_length=255)

    def who(self, caller: Caller) -> table.Who:
        return table.Who(caller.tenant, caller.username, self.operation, self.key)


class ReplayBegin(ReplayKey):
    digest: str = Field(pattern="^[0-9a-f]{32}$")
    """What the request asks for."""


@operation(
    summary="Begin a write under an idempotency key.",
    http="",
    toolset="administration",
    effect=Effect.WRITE,
    tool=False,
    role=Role.USER,
)
async def replay_begin(engine: Engine, caller: Caller, params: ReplayBegin) -> dict[str, Any]:
    """Whether a request may go on: {state: new, done, running or interrupted, status, answer}; for the HTTP door only.

    `interrupted` tells of a request that an earlier engine died in: whether it was done is not known. What may be
    done twice is then new again. Raises IdempotencyMismatch when the key is of a request for something else,
    RateLimited when the user holds too many keys.
    """
    who, now = params.who(caller), engine.ids.next()  # a time that only grows
    oldest = engine.age.now_ns() - KEEP_HOURS * 3600 * clock.NANOSECONDS
    digest = bytes.fromhex(params.digest)
    most = MOST_KEYS, MOST_BYTES
    held = await engine.database.write(table.begin, who, digest, engine.started_at_ns, now, oldest, most)
    if held is None:
        return {"state": "new"}
    known, life, status, answer = held
    if known is None:
        raise errors.RateLimited(
            f"{caller.username} holds as many idempotency keys as one user may ({MOST_KEYS} in {KEEP_HOURS} hours).",
            hint="Send the request without one, or later.",
            details={"retry_after_seconds": 3600},
        )
    if known != digest:
        raise errors.IdempotencyMismatch(
            "This idempotency key was used before for another request.",
            hint="Use a new key for a new request; repeat the same request to get the same answer.",
        )
    if status is not None:
        return {"state": "done", "status": status, "answer": _envelopes(engine).open(answer, _bound(who))}
    if life == engine.started_at_ns:
        return {"state": "running"}
    declared = engine.operations.get(params.operation)
    if declared is not None and declared.idempotent:
        await engine.database.write(table.take_over, who, engine.started_at_ns)
        return {"state": "new"}
    return {"state": "interrupted"}


class ReplayEnd(ReplayKey):
    status: int = Field(ge=0, le=599)
    """The status of the answer; 0 when nothing was done, so that the key is free again."""
    answer: str = ""
    """Its body."""


@operation(
    summary="Keep the answer of a write under its idempotency key.",
    http="",
    toolset="administration",
    effect=Effect.WRITE,
    tool=False,
    max_bytes=MAX_ANSWER_BYTES,
    role=Role.USER,
)
async def replay_end(engine: Engine, caller: Caller, params: ReplayEnd) -> dict[str, Any]:
    """End the request that holds a key; for the HTTP door only. The answer is kept encrypted: it may hold a token."""
    who = params.who(caller)
    if params.status == 0:
        await engine.database.write(table.forget, who)
    else:
        sealed = await _envelopes(engine).seal(params.answer, _bound(who), engine.ids.next())
        await engine.database.write(table.end, who, params.status, sealed)
    return {}


def _envelopes(engine: Engine) -> Envelopes:
    return Envelopes(engine.vault, _PURPOSE)


def _bound(who: table.Who) -> str:
    return "\n".join(who)
