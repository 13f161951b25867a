"""Who is calling over HTTP: a bearer token that the engine knows, or the OS user when authentication is off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from core import clock, errors
from core.model import principal
from mcp_server import session

CACHE_SECONDS = 2.0
CACHE_SIZE = 1024
MAX_TENANT = 64
VERIFY = "token_verify"
_HINT = "Send 'Authorization: Bearer TOKEN'; 'sluice token create' makes a token."


class Authenticator(Protocol):
    """Turns the Authorization header (or its absence) into a principal."""

    async def principal(self, authorization: str | None) -> principal.Principal:
        """Return the identity.

        Raises Unauthenticated, with the same text whether the token is missing, unknown, revoked or expired.
        """


class NoAuth:
    """Everybody is one given principal; only for a server that listens on loopback."""

    def __init__(self, identity: principal.Principal) -> None:
        self._identity = identity

    async def principal(self, authorization: str | None) -> principal.Principal:
        return self._identity


class TokenAuth:
    """Bearer tokens, checked by the engine and remembered for a moment.

    Tokens are remembered by their hash, so that a memory dump of this table holds no credential. The engine's notice
    of a revocation empties the table; should it be lost, a revoked token works for at most CACHE_SECONDS.
    """

    def __init__(self, engine: session.EngineSession, now: Callable[[], float] = clock.monotonic) -> None:
        self._engine = engine
        self._now = now
        self._known: dict[bytes, tuple[float, principal.Principal]] = {}
        engine.subscribe(lambda kind, _: self._known.clear() if kind == "tokens" else None)

    async def principal(self, authorization: str | None) -> principal.Principal:
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > 4096:
            raise _refusal()
        key = hashlib.sha256(token.encode("latin-1", "replace")).digest()
        known = self._known.get(key)
        if known is not None and known[0] > self._now():
            return known[1]
        try:
            found = await self._engine.call(VERIFY, {"token": token}, principal.SYSTEM)
        except (errors.Unauthenticated, errors.NotFound, errors.InvalidParams):
            self._known.pop(key, None)
            raise _refusal() from None
        identity = principal.Principal(
            str(found["username"]),
            principal.Role(found["role"]),
            tuple(found.get("tenants", ())),
            bool(found.get("platform", False)),
        )
        if len(self._known) >= CACHE_SIZE:
            self._known.clear()
        self._known[key] = (self._now() + CACHE_SECONDS, identity)
        return identity


def _refusal() -> errors.Unauthenticated:
    return errors.Unauthenticated(hint=_HINT)


def caller(identity: principal.Principal, tenant: str | None) -> principal.Caller:
    """The caller of one HTTP request; `tenant` is what the request asked for.

    Without a wish it is the identity's only tenant, or `default` when it is a member of that (among others).
    Raises InvalidParams when the identity has several tenants and the request names none, NotFound for a tenant that
    it is no member of.
    """
    if tenant is None or tenant == "":
        if "default" in identity.tenants or principal.EVERY_TENANT in identity.tenants:
            tenant = "default"
        elif len(identity.tenants) == 1:
            tenant = identity.tenants[0]
        elif identity.platform:
            tenant = principal.PLATFORM
        else:
            raise errors.InvalidParams(
                "This identity has several tenants, and the request names none.",
                hint=f"Send the header X-Sluice-Tenant: one of {', '.join(identity.tenants) or 'none'}.",
                errors=[errors.Problem("/tenant_id", "is required")],
            )
    made = principal.Caller(identity, tenant, principal.Surface.HTTP)
    if len(tenant) > MAX_TENANT or not made.member_of(tenant):
        raise errors.NotFound(
            f"There is no tenant {errors.shorten(tenant, 64)} for {identity.username}.",
            hint=f"Your tenants: {', '.join(identity.tenants) or 'none'}.",
        )
    return made
