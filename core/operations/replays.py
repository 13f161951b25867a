"""A write under an idempotency key: it is done once, and a repeat gets the answer that the first one had.

Before a key is looked at, the request is admitted as a call of its operation, so a refusal does not tell whether the
key was ever used.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from pydantic import Field

from core import errors
from core.documents import canonical
from core.engine import Engine
from core.model import results
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation
from core.replays import MAX_BYTES
from core.store.replays import Who

_NOTHING_DONE = (
    *(errors.InvalidParams, errors.InvalidDocument, errors.NotFound, errors.IdempotencyMismatch, errors.Forbidden),
    *(errors.WriteDisabled, errors.NotLicensed, errors.Unauthenticated, errors.RateLimited, errors.QuotaExceeded),
    *(errors.Busy, errors.StorageUnavailable),
)


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
    role=Role.VIEWER,
    idempotent=True,
    gated=False,
)
async def call_once(engine: Engine, caller: Caller, params: CallOnce) -> results.engine.CalledOnce:
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
    who = Who(caller.tenant, caller.username, caller.principal.credential, declared.name, params.key)
    before = await engine.replays.begin(who, declared, canonical.params_digest(params.arguments))
    if before is not None:
        return cast("results.engine.CalledOnce", {"replayed": True, **before})
    try:
        result = await engine.call(declared.name, params.arguments, caller)
    except (errors.Unconfirmed, errors.CommitUnconfirmed, asyncio.CancelledError):  # nobody knows how far it came
        engine.replays.cut_off(who)
        raise
    except errors.SluiceError as error:
        told = {"error": error.to_dict()}
        await engine.replays.end(who, None if isinstance(error, _NOTHING_DONE) else told)
        return {"replayed": False, "error": told["error"]}
    await engine.replays.end(who, {"result": {key: result[key] for key in result if key not in declared.told_once}})
    return {"replayed": False, "result": result}
