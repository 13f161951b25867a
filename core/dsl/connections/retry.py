"""The `retry` block that inputs and outputs share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import Field

from core import backoff, clock
from core.dsl.component import Config, Env
from core.dsl.language.duration import Duration
from core.errors import JobFailed

T = TypeVar("T")
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0


class Retry(Config):
    """What to do when a try fails. Between tries is a pause that doubles; the job fails when all tries have failed."""

    timeout: Duration = 30.0
    """Give up when this time has passed since the first try."""
    retries: int = Field(default=5, ge=0, le=100)
    """Give up after this many more tries."""


class Temporary(JobFailed):
    """A fault that may be gone at the next try."""

    def __init__(
        self, message: str, *, hint: str = "", after_seconds: float = 0.0, undone: bool = False, status: int = 0
    ) -> None:
        super().__init__(message, hint=hint)
        self.after_seconds = after_seconds  # not before this, as the other side asked
        self.undone = undone  # the other side has done nothing for certain
        self.status = status  # of an answer over HTTP


async def attempt(retry: Retry | None, env: Env, what: str, action: Callable[[], Awaitable[T]]) -> T:
    """Do `action`, again while it raises Temporary and `retry` allows it; `env` is that of the component which tries.

    Raises the last fault.
    """
    contact = env.contact
    retries, deadline = (0, 0.0) if retry is None else (retry.retries, clock.monotonic() + retry.timeout)
    tries = 0
    while True:
        tries += 1
        try:
            done = await action()
        except Temporary as fault:
            contact.failed(fault.message)
            pause = backoff.pause(tries, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, jitter=0.5)
            wait = max(pause, fault.after_seconds)
            if tries > retries or clock.monotonic() + wait > deadline:
                raise
            env.log("warning", f"{what}: {fault.message}; trying again in {wait:.1f} s")
        else:
            if contact.failing:  # nothing is written down of what always comes through
                contact.reached()
            return done
        await asyncio.sleep(wait)
