"""Refused events that a job sends on instead of having them kept: `on-error: {send: …}`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson

from core import clock
from core.dsl.component import Batch, Env, Event, Outgoing
from core.dsl.language.on_error import Send
from core.model.letter import Posted
from core.model.message import Kind, Type

Forward = Callable[[Sequence[Posted]], Awaitable[None]]
"""Sends letters on, and returns when whoever gets them has taken them over."""


def event_of(posted: Posted, job: str) -> Event:
    """What is sent for a letter."""
    event: Any = None
    if posted.event is not None:
        event = posted.event if posted.truncated else orjson.loads(posted.event)
    return {
        "at": clock.iso(posted.at_ns),
        "job": job,
        "version": posted.version,
        "run": posted.run,
        "invocation": posted.invocation,
        "step": posted.step,
        "component": posted.component,
        "code": posted.code,
        "reason": posted.reason,
        "event": event,
        "truncated": posted.truncated,
        "redacted": posted.redacted,
    }


def forwarder(send: Send, env: Env) -> Forward:
    """How letters go where the job says."""
    if send.message is not None:
        return lambda letters: _publish(str(send.message), env, letters)
    channel = env.channel(str(send.channel))

    async def put(letters: Sequence[Posted]) -> None:
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(error: BaseException | None) -> None:
            if taken.done():
                return
            if error is None:
                taken.set_result(None)
            else:
                taken.set_exception(error)

        await channel.put(Batch([event_of(one, env.job) for one in letters], settle, True))
        await taken

    return put


async def _publish(tag: str, env: Env, letters: Sequence[Posted]) -> None:
    await asyncio.gather(
        *(
            env.publish(Outgoing(Kind.USER, Type.USER_GENERATED, tag, {"job_event": event_of(one, env.job)}))
            for one in letters
        )
    )
