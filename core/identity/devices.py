"""Signing in where there is no browser: a program shows a code, and somebody who is signed in approves it.

The shape is that of RFC 8628, and both ends of it are this engine, so that it works with every provider, and with keys.
What waits is kept in memory: the code of a program by its hash, and nothing that is read later opens anything.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from core import clock, errors
from core.identity.tokens import Tokens
from core.model.principal import Caller
from core.store import audit
from core.store.database import Database

SECONDS = 300
POLL_SECONDS = 5
MOST = 500  # that wait at once; who begins one more ends the oldest
SESSION_SECONDS = 12 * 3600
TRIES = 10  # wrong codes of one user within SECONDS
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so no words; 20^8 codes
HALF = 4  # characters before the dash, and behind it

State = Literal["pending", "slow_down", "done"]
Decision = Literal["look", "approve", "deny"]


class Begun(NamedTuple):
    """What a program keeps, and what it shows."""

    device_code: str
    user_code: str


class Polled(NamedTuple):
    """How it stands; when it is done, the token and whose it is."""

    state: State
    token: str = ""
    username: str = ""
    ends_at_ns: int = 0


@dataclass(slots=True)
class _Waiting:
    user_code: str
    ends_at: float
    name: str
    poll_at: float = 0.0
    approved: Caller | None = None
    denied: bool = False


class Devices:
    """Those of one engine; `now` is the monotonic clock."""

    def __init__(
        self, database: Database, ids: clock.Ids, credentials: Tokens, now: Callable[[], float] = clock.monotonic
    ) -> None:
        self._database = database
        self._ids = ids
        self._tokens = credentials
        self._now = now
        self._waiting: dict[bytes, _Waiting] = {}
        self._wrong: dict[str, tuple[int, float]] = {}

    def begin(self, name: str) -> Begun:
        """Codes for a program that calls itself `name`."""
        self._forget()
        while len(self._waiting) >= MOST:
            self._waiting.pop(next(iter(self._waiting)))
        device_code = clock.token(64)
        half = ["".join(secrets.choice(LETTERS) for _ in range(HALF)) for _ in range(2)]
        user_code = "-".join(half)
        shown = "".join(
            letter for letter in name if letter.isprintable()
        )  # one line, in the order in which it is written
        self._waiting[_hash(device_code)] = _Waiting(user_code, self._now() + SECONDS, shown)
        return Begun(device_code, user_code)

    def find(self, caller: Caller, user_code: str) -> str:
        """What the program with a code calls itself. Raises NotFound, and RateLimited for who tries too many."""
        return self._of(caller, user_code).name

    async def settle(self, caller: Caller, user_code: str, *, approve: bool) -> str:
        """Let the program with a code act as the caller, or not; what it calls itself. Raises like `find`, and
        Forbidden for a JWT, which the session of the program would outlive."""
        if caller.principal.minted:
            raise errors.Forbidden(
                "A JWT lets no program in: it would outlive the JWT.", hint="Use the API key, or the console."
            )
        found = self._of(caller, user_code)
        note = audit.row(
            self._ids.next(), caller, "login_device_approve", found.name, "allowed" if approve else "denied"
        )
        await self._database.write(audit.insert, note)
        if approve:
            found.approved = caller
        else:
            found.denied = True
        return found.name

    async def poll(self, device_code: str) -> Polled:
        """How it stands with a program; a token comes once.

        Raises Unauthenticated when the code is over or unknown, Forbidden when somebody said no.
        """
        self._forget()
        key = _hash(device_code)
        found = self._waiting.get(key)
        if found is None:
            raise errors.Unauthenticated(
                "This sign-in was used, or is over: it waits for five minutes.", hint="Begin again: sluice login URL"
            )
        if found.denied:
            del self._waiting[key]
            raise errors.Forbidden("Somebody refused this sign-in.", hint="Begin again: sluice login URL")
        early, found.poll_at = found.poll_at > self._now(), self._now() + POLL_SECONDS - 1
        if found.approved is None:
            return Polled("slow_down" if early else "pending")
        del self._waiting[key]
        maker = found.approved
        seconds = await self._tokens.left_seconds(maker, SESSION_SECONDS)
        secret, row = await self._tokens.derive(
            maker, "command line", seconds, "login_device_poll", outlives_browser=True
        )
        return Polled("done", secret, row["username"], row["expires_at_ns"])

    def _of(self, caller: Caller, user_code: str) -> _Waiting:
        self._forget()
        who, now = caller.username, self._now()
        count, until = self._wrong.get(who, (0, now + SECONDS))
        if count >= TRIES and until > now:
            raise errors.RateLimited(
                "You have tried too many codes that are none.", details={"retry_after_seconds": int(until - now) + 1}
            )
        wanted = "".join(one for one in user_code.upper() if one.isalnum())
        for one in self._waiting.values():
            if one.approved is None and not one.denied and one.user_code.replace("-", "") == wanted:
                return one
        self._wrong[who] = (count + 1, until) if until > now else (1, now + SECONDS)
        raise errors.NotFound(
            "No program waits with this code; it may be over.", hint="Compare it, or begin again: sluice login URL"
        )

    def _forget(self) -> None:
        now = self._now()
        for key in [key for key, one in self._waiting.items() if one.ends_at <= now]:
            del self._waiting[key]
        for who in [who for who, (_, until) in self._wrong.items() if until <= now]:
            del self._wrong[who]


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
