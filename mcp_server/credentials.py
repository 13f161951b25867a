"""What a remote session shows as its bearer token: a JWT that was given, one from an API key, or a cached login."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from core import clock, errors
from mcp_server import logins

Mint = Callable[[str, int | None], Awaitable[dict[str, Any]]]
"""Exchanges an API key (and a wanted lifetime) for what POST /api/auth/token answers."""

EARLY_SHARE = 0.2
"""A minted token is replaced when this share of its life is left."""


class Credential(Protocol):
    """Where the bearer token of each request comes from."""

    async def bearer(self) -> str:
        """The token to send now. Raises Unauthenticated when there is none."""
        ...

    async def refused(self, token: str) -> bool:
        """Hear that the engine refused a token; true when it is worth asking for another one."""
        ...

    def explain(self) -> errors.Unauthenticated:
        """The error to tell when the engine refuses what this credential has."""
        ...


class Given:
    """A JWT (or any bearer token) that the user gave; it is used as it is, until it ends."""

    def __init__(self, token: str) -> None:
        self._token = token.strip()

    async def bearer(self) -> str:
        return self._token

    async def refused(self, token: str) -> bool:
        return False

    def explain(self) -> errors.Unauthenticated:
        return errors.Unauthenticated(
            "The engine refuses the token of --jwt: it has expired, was revoked, or is of another engine.",
            hint="Give a new one, or --api-key, from which new ones are minted.",
        )


class Minted:
    """JWTs minted from an API key, in this process only; a new one before the old one ends."""

    def __init__(
        self, api_key: str, ttl_seconds: int | None, mint: Mint, now: Callable[[], float] = clock.monotonic
    ) -> None:
        self._api_key = api_key.strip()
        self._ttl = ttl_seconds
        self._mint = mint
        self._now = now
        self._token = ""
        self._replace_at = 0.0
        self._lock = asyncio.Lock()

    async def bearer(self) -> str:
        if self._now() < self._replace_at:
            return self._token
        async with self._lock:  # the first one mints, the others wait for what it gets
            if self._now() >= self._replace_at:
                started = self._now()
                made = await self._mint(self._api_key, self._ttl)
                self._token = str(made["access_token"])
                self._replace_at = started + float(made["expires_in"]) * (1 - EARLY_SHARE)
            return self._token

    async def refused(self, token: str) -> bool:
        if token == self._token:
            self._replace_at = 0.0  # minting tells whether the API key still counts
        return True

    def explain(self) -> errors.Unauthenticated:
        return errors.Unauthenticated(
            "The engine refuses the API key: it was revoked, has expired, or is of another engine.",
            hint="Ask an admin for a new one: sluice token create --username NAME",
        )


class Cached:
    """The login that `sluice login` left for this address and profile; read anew whenever the engine refuses it."""

    def __init__(self, url: str, profile: str, now_ns: Callable[[], int] = clock.now_ns) -> None:
        self._url = url
        self._profile = profile
        self._now_ns = now_ns
        self._login: logins.Login | None = None

    async def bearer(self) -> str:
        if self._login is None or self._login.expires_at_ns <= self._now_ns():
            self._login = logins.find(self._url, self._profile, self._now_ns())
        return self._login.token

    async def refused(self, token: str) -> bool:
        self._login = logins.find(self._url, self._profile, self._now_ns())
        return self._login.token != token

    def explain(self) -> errors.Unauthenticated:
        return logins.logged_out("The engine refuses the cached token: its key was revoked or has expired.", self._url)
