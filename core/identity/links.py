"""One-time links into the console: whoever opens one in time is signed in as the one who made it.

A link is kept in memory by its hash, so that nothing that is read later opens anything; it is used once, or ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from core import clock, errors
from core.model.principal import Caller
from core.store import audit
from core.store.database import Database

CREATE = "console_link_create"

SECONDS = 600
MOST = 100  # kept at once; who makes one more ends the oldest


class _Kept(NamedTuple):
    maker: Caller
    ends_at: float


class Links:
    """Those of one engine; `now` is the monotonic clock."""

    def __init__(self, database: Database, ids: clock.Ids, now: Callable[[], float] = clock.monotonic) -> None:
        self._database = database
        self._ids = ids
        self._now = now
        self._kept: dict[bytes, _Kept] = {}

    async def create(self, maker: Caller) -> str:
        """A code that stands for `maker`, once and for SECONDS. That it was made is on record, the code is not."""
        await self._database.write(audit.insert, audit.row(self._ids.next(), maker, CREATE, maker.username))
        code = clock.token(64)
        while len(self._kept) >= MOST:
            self._kept.pop(next(iter(self._kept)))
        self._kept[_hash(code)] = _Kept(maker, self._now() + SECONDS)
        return code

    def knows(self, code: str) -> bool:
        """Whether a text opens something now."""
        return _hash(code) in self._kept

    def redeem(self, code: str) -> Caller:
        """Who made it; it is gone then. Raises Unauthenticated, with one text for what was used, is over or unknown."""
        kept = self._kept.pop(_hash(code), None)
        if kept is None or kept.ends_at <= self._now():
            raise errors.Unauthenticated(
                "This link was used, or is over: it opens the console once, and for ten minutes.",
                hint="Make another one: sluice console",
            )
        return kept.maker


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
