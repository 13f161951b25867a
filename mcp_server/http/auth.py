"""Who is calling over HTTP: a bearer token that the engine knows, or the OS user when authentication is off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from core import clock, errors
from core.model import principal, trace_context
from mcp_server import session

CACHE_SECONDS = 2.0
CACHE_SIZE = 1024
MAX_TOKEN = 4096
MAX_TENANT = 64
VERIFY = "token_verify"
FAILURES = 20  # that a client address may make at once
FAILURE_SECONDS = 3.0  # after which it may make one more
SURFACE_HEADER = "x-sluice-surface"
READ_ONLY_HEADER = "x-sluice-read-only"
LABEL_HEADER = "x-sluice-session-label"
TRACE_HEADER = "traceparent"
_HINT = "Send 'Authorization: Bearer TOKEN'; 'sluice token create' makes a token."
log = structlog.get_logger("mcp_server.http.auth")
_SURFACES = {surface.value: surface for surface in (principal.Surface.MCP, principal.Surface.CLI)}


class Authenticator(Protocol):
    """Turns the Authorization header (or its absence) into a principal."""

    async def principal(self, authorization: str | None, client: str = "") -> principal.Principal:
        """Return the identity; `client` is the network address of who asks.

        Raises Unauthenticated, with the same text whether the token is missing, unknown, revoked or expired, and
        RateLimited for an address that tried too many.
        """


class NoAuth:
    """Everybody is one given principal; only for a server that listens on loopback."""

    def __init__(self, identity: principal.Principal) -> None:
        self._identity = identity

    async def principal(self, authorization: str | None, client: str = "") -> principal.Principal:
        return self._identity


class Failures:
    """How many refused credentials each client address has sent lately: FAILURES at once, then one by one.

    Kept as the time at which an address will have made up for all of them, so that one number is enough.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._clear_at: dict[str, float] = {}

    def note(self, client: str) -> None:
        """Count one refusal."""
        now = self._now()
        if len(self._clear_at) >= CACHE_SIZE:
            self._clear_at = {name: at for name, at in self._clear_at.items() if at > now}
            while len(self._clear_at) >= CACHE_SIZE:
                self._clear_at.pop(next(iter(self._clear_at)))
        self._clear_at[client] = max(now, self._clear_at.get(client, now)) + FAILURE_SECONDS

    def wait_seconds(self, client: str) -> float:
        """How long this address must wait before the next one is looked at; 0 for now."""
        owed = self._clear_at.get(client, 0.0) - self._now()
        return max(0.0, owed - (FAILURES - 1) * FAILURE_SECONDS)


class TokenAuth:
    """Bearer tokens (API keys and JWTs), checked by the engine and remembered for a moment.

    Tokens are remembered by their hash, so that a memory dump of this table holds no credential, and are looked up by
    it, so that the time of an answer tells nothing about a token. After the engine's notice of a revocation each one is
    checked anew; should it be lost, a revoked token works for at most CACHE_SECONDS. A token that was good once is
    looked at however many bad ones come from its address, since others may call from there, too.
    """

    def __init__(self, engine: session.EngineSession, now: Callable[[], float] = clock.monotonic) -> None:
        self._engine = engine
        self._now = now
        self._known: dict[bytes, tuple[float, principal.Principal]] = {}
        self._generation = 0
        self._failures = Failures(now)
        engine.subscribe(self._noticed)

    def _noticed(self, kind: str, data: object) -> None:
        if kind == "tokens":
            self._generation += 1
            for key, (_, identity) in self._known.items():
                self._known[key] = (0.0, identity)

    async def principal(self, authorization: str | None, client: str = "") -> principal.Principal:
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN:
            raise _refusal()
        key = hashlib.sha256(token.encode("latin-1", "replace")).digest()
        known = self._known.get(key)
        if known is not None and known[0] > self._now():
            ends = known[1].ends_at
            if ends is None or ends > self._now():
                return known[1]
        wait = self._failures.wait_seconds(client) if known is None else 0.0
        if wait:
            raise errors.RateLimited(
                "Too many credentials that are not valid came from this address.",
                hint="Yours may be valid: one that this server has not seen lately is looked at when the time is over.",
                details={"retry_after_seconds": int(wait) + 1},
            )
        generation = self._generation
        try:
            found = await self._engine.call(VERIFY, {"token": token}, principal.SYSTEM)
        except (errors.Unauthenticated, errors.NotFound, errors.InvalidParams):
            self._known.pop(key, None)
            self._failures.note(client)
            log.warning("credential_refused", client=client)  # each address comes this far but now and then
            raise _refusal() from None
        left = found.get("ends_in_seconds")
        identity = principal.Principal(
            str(found["username"]),
            principal.Role(found["role"]),
            tuple(found.get("tenants", ())),
            bool(found.get("platform", False)),
            tuple(found.get("scopes", ())),
            principal.roles_of(found.get("roles")),
            str(found.get("credential", "")),
            bool(found.get("minted", False)),
            bool(found.get("mcp_only", False)),
            None if left is None else self._now() + left,
        )
        if generation == self._generation:  # otherwise something was revoked while the engine looked
            while key not in self._known and len(self._known) >= CACHE_SIZE:
                self._known.pop(next(iter(self._known)))
            self._known[key] = (self._now() + CACHE_SECONDS, identity)
        return identity


def _refusal() -> errors.Unauthenticated:
    return errors.Unauthenticated(hint=_HINT)


def caller(
    identity: principal.Principal,
    tenant: str | None,
    headers: Mapping[str, str] | None = None,
    *,
    member: bool = True,
    client: str = "",
) -> principal.Caller:
    """The caller of one HTTP request; `tenant` is what the request asked for.

    Whether it is a member of that one is asked here, unless `member` is false: a call of an operation is refused by
    the engine, which keeps it on record.

    A remote session (mcp_server.remote) says in `headers` which door of its own the call came through, a label for
    records, and whether it is read-only: all of them only take rights away, or none. A call without a label is known in
    records by the address of its `client`.

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
                details={"tenants": list(identity.tenants)},
            )
    said = headers or {}
    made = principal.Caller(
        identity,
        tenant,
        _SURFACES.get(said.get(SURFACE_HEADER, ""), principal.Surface.HTTP),
        READ_ONLY_HEADER not in said,
        errors.shorten(said.get(LABEL_HEADER, "") or client, 100),
        said.get(TRACE_HEADER, "")[: trace_context.MOST_CHARACTERS],
    )
    if member and (len(tenant) > MAX_TENANT or not made.member_of(tenant)):
        log.warning("tenant_refused", username=identity.username, tenant=errors.shorten(tenant, 64))
        raise errors.NotFound(
            f"There is no tenant {errors.shorten(tenant, 64)} for {identity.username}.",
            hint=f"Your tenants: {', '.join(identity.tenants) or 'none'}.",
        )
    return made
