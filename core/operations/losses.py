"""What a destructive call would take away, asked before it is made: the question that a user says yes or no to.

Each destructive operation declares it itself (`destroys`); whoever asks users, asks this for all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson
from pydantic import Field

from core import errors
from core.engine import Engine
from core.model import results
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation

SHOWN = 20  # names in a question
MAX_BYTES = 16 * 1024 * 1024


class CallPreview(Params):
    operation: str = Field(max_length=64)
    """The operation that is to be called."""
    arguments: dict[str, Any]
    """Its arguments."""


@operation(
    summary="Tell what a call would destroy, without making it.",
    http="POST /api/calls/preview",
    toolset="administration",
    tool=False,
    max_bytes=MAX_BYTES,
    role=Role.VIEWER,
)
async def call_preview(engine: Engine, caller: Caller, params: CallPreview) -> results.engine.CallPreview:
    """What a user is asked before a call: {effect, refused, loss: {question, text, where, yes, mark, pinned}}.

    `effect` is that of this call with these arguments. `refused` is the error that the call would end with, if that is
    known; `loss` is null when nothing goes. `mark` is the same only for the same loss, and `pinned` are arguments to
    add to the call, so that it does what was shown or nothing.
    """
    answer: results.engine.CallPreview = {"effect": None, "refused": None, "loss": None}
    try:
        called, given, acting = engine.admission.admit(params.operation, params.arguments, caller)
        effect = called.effect_of(given)
        answer["effect"] = effect
        if effect is not Effect.DESTRUCTIVE or called.destroys is None:
            return answer
        loss = await called.destroys(engine, acting, given)
    except (errors.Busy, errors.StorageUnavailable, errors.Internal):
        raise  # about this question, and not about the call
    except errors.SluiceError as error:
        return {**answer, "refused": error.to_dict()}
    if loss is None:
        return answer
    tenant = loss.tenant or acting.tenant
    told: results.engine.LossTold = {
        "question": loss.question or f"{called.summary.rstrip('.')}? Tenant {tenant}.",
        "text": loss.text,
        "where": loss.where,
        "yes": loss.yes or "Yes, do this",
        "pinned": dict(loss.pinned),
    }
    return {**answer, "loss": {**told, "mark": hashlib.sha256(orjson.dumps(told)).hexdigest()[:32]}}


def counted(noun: str, names: Iterable[Any]) -> str:
    """`3 keys: a, b, c`, with at most SHOWN names."""
    every = [errors.shorten(name, 80) for name in names]
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    plural = noun if len(every) == 1 else f"{noun}s"
    return f"{len(every)} {plural}" + (f": {', '.join(every[:SHOWN])}{more}" if every else "")
