"""Idempotency keys of writes over HTTP: a request is done once, and a repeat gets the answer that the first one had.

The key of a run of a trigger is another one, which its run keeps, whatever door it came through (core.triggers.invoke).

A key belongs to one credential, so that nobody gets what another key of the same user was told.
"""

from __future__ import annotations

from typing import Any

import orjson
import structlog

from core import clock, errors
from core.contexts.envelopes import Envelopes
from core.contexts.secrets import Vault
from core.model.operation import Operation
from core.store import replays as table
from core.store.database import Database

KEEP_HOURS = 24
MOST_KEYS = 10_000  # of one user in KEEP_HOURS
MOST_BYTES = 64 * 1024 * 1024  # of their answers
MAX_BYTES = 16 * 1024 * 1024  # of one answer
_PURPOSE = "replays"
log = structlog.get_logger("core.replays")


class Replays:
    """The keys of one life of an engine, which its start names (`life`, in ns). Use from its loop."""

    def __init__(self, database: Database, vault: Vault, ids: clock.Ids, age: clock.Age, life: int) -> None:
        self._database = database
        self._vault = vault
        self._ids = ids
        self._age = age
        self._life = life

    async def begin(self, who: table.Who, declared: Operation, digest: bytes) -> dict[str, Any] | None:
        """What a request was answered before; None when it is ours to do now.

        Raises IdempotencyMismatch when the key is of a request for something else, AlreadyExists when the request was
        done and its answer held a credential, Unconfirmed when it is under way or was cut off (what may be done twice
        is then done again), RateLimited when the user holds too many keys.
        """
        now = self._ids.next()  # a time that only grows
        oldest = self._age.now_ns() - KEEP_HOURS * 3600 * clock.NANOSECONDS
        most = (MOST_KEYS, MOST_BYTES)
        try:
            held = await self._database.write(table.begin, who, digest, self._life, now, oldest, most)
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
            told: dict[str, Any] = orjson.loads(Envelopes(self._vault, _PURPOSE).open(held.answer, _bound(who)))
            if declared.told_once and "result" in told:
                raise errors.AlreadyExists(
                    "This request was done before, and its answer is told once: it held "
                    f"{', '.join(declared.told_once)}.",
                    hint="If you did not get it, withdraw what it made (see details), and ask again with a new key.",
                    details=told["result"],
                )
            return told
        if held.life == self._life:
            raise errors.Unconfirmed("A request with this idempotency key is under way.", hint="Ask again in a moment.")
        if declared.idempotent:
            await self._database.write(table.take_over, who, self._life)
            return None
        raise errors.Unconfirmed(
            "A request with this idempotency key was cut off, and it may or may not have been done.",
            hint="Look at the present state; if it was not done, send the request with a new key.",
        )

    async def end(self, who: table.Who, told: dict[str, Any] | None) -> None:
        """Keep what a request was answered, encrypted; or free its key with None. The answer stands if that fails."""
        try:
            if told is None:
                await self._database.write(table.forget, who)
                return
            text = orjson.dumps(told, option=orjson.OPT_NON_STR_KEYS).decode()
            if len(text) > MAX_BYTES:
                log.warning("answer_too_large_to_keep", operation=who.operation, bytes=len(text))
                await self._database.write(table.cut_off, who)
                return
            sealed = await Envelopes(self._vault, _PURPOSE).seal(text, _bound(who), self._ids.next())
            await self._database.write(table.end, who, sealed)
        except errors.SluiceError as error:
            # A repeat is told that the outcome is open, which is safe.
            log.error("answer_not_kept", operation=who.operation, error=error.message)

    def cut_off(self, who: table.Who) -> None:
        """Nobody knows how far the request came. It counts as under way until that is noted, or the next start."""
        self._database.submit(_nobody_waits, table.cut_off, who)


def _bound(who: table.Who) -> str:
    return "\n".join(who)


def _nobody_waits(result: Any, error: BaseException | None) -> None:
    """If it fails, the key says until the next start that its request is under way."""
