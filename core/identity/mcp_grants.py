"""Letting MCP hosts in: the authorization server of this engine's own /mcp (OAuth 2.1, RFC 8707, RFC 9207).

Somebody who is signed in here lets a client act as him at /mcp, within scopes. What comes of it is a grant, which is a
row of the tokens: it is listed, ends and is withdrawn like every other one, and follows the bindings of its login. The
host gets an access token for ACCESS_SECONDS and a refresh token that is spent with each use; a spent one that is shown
again ends the grant, since one of the two who had it has no right to.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from core import clock, errors
from core.identity.mcp_clients import Client, Clients
from core.identity.tokens import ACCESS_PREFIX, Tokens, hash_of
from core.model.principal import SYSTEM, Caller
from core.settings import Settings
from core.store import audit
from core.store import mcp_grants as table
from core.store.database import Database
from core.store.mcp_grants import Grant

ACCESS_SECONDS = 900
REFRESH_SECONDS = 30 * 86_400
CODE_SECONDS = 60
MOST_CODES = 1000
SCOPES = {"sluice:read": "read", "sluice:run": "run", "sluice:write": "write"}
"""What a host may ask for, and what its credential is limited to (model/scopes); each includes those before it."""
MEANINGS = {
    "sluice:read": "look at what your rights let you look at",
    "sluice:run": "also run triggers and jobs, cancel, pause and reconcile, as far as your role lets you",
    "sluice:write": "also everything else that your role lets you change: author, plan, apply, secrets",
}
DEFAULT = ("sluice:read", "sluice:run")
MCP = "/mcp"
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}").fullmatch
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}").fullmatch


class Refused(errors.InvalidParams):
    """A request that OAuth answers with a code of its own (RFC 6749, 4.1.2.1 and 5.2), in details.error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, details={"error": code})


class Asked(NamedTuple):
    """What a client asks for, checked: it may be shown to whom it is about."""

    client: Client
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str
    state: str


class _Code(NamedTuple):
    asked: Asked
    maker: Caller
    tenant: str
    ends_at: float


class Issued(NamedTuple):
    """The tokens of a host."""

    access_token: str
    refresh_token: str
    scopes: str


class McpGrants:
    """Of one engine; `now` is the monotonic clock. `announce` tells the doors of grants that end."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        ids: clock.Ids,
        credentials: Tokens,
        announce: Callable[[str, dict[str, Any]], None],
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self.clients = Clients(settings)
        self.issuer = settings.public_url
        self._database = database
        self._ids = ids
        self._tokens = credentials
        self._announce = announce
        self._now = now
        self._codes: dict[str, _Code] = {}
        self._spent: dict[str, tuple[float, str]] = {}  # codes that were used, and the grant that came of each

    @property
    def resource(self) -> str:
        """What tokens are for; never taken from a request."""
        return self.issuer + MCP

    # -- asking --------------------------------------------------------------------------------------------

    async def check(self, query: Mapping[str, str]) -> Asked:
        """What an authorization request asks for.

        Raises mcp_clients.UnknownClient where no answer may be sent to, and Refused with what is to be sent there.
        """
        if not self.issuer:
            raise errors.InvalidParams("MCP hosts are let in where public_url is set.", hint="docs/remote-hosts.md")
        client = await self.clients.find(query.get("client_id", ""), query.get("redirect_uri", ""))
        if query.get("response_type") != "code":
            raise Refused("unsupported_response_type", "response_type has to be code.")
        challenge = query.get("code_challenge", "")
        if query.get("code_challenge_method") != "S256" or not _CHALLENGE(challenge):
            raise Refused("invalid_request", "A code_challenge with the method S256 is needed.")
        self._check_resource(query.get("resource"))
        wanted = tuple(query.get("scope", "").split()) or DEFAULT
        # What is not ours (offline_access, openid) is left out, as RFC 6749, 3.3 has it.
        scopes = tuple(one for one in SCOPES if one in wanted)
        if not scopes:
            raise Refused("invalid_scope", f"Scopes: {', '.join(SCOPES)}.")
        return Asked(client, query["redirect_uri"], scopes, challenge, query.get("state", "")[:1000])

    def _check_resource(self, asked: str | None) -> None:
        if asked is not None and asked.removesuffix("/") != self.resource:
            raise Refused("invalid_target", f"The resource here is {self.resource}.")

    async def approve(self, caller: Caller, asked: Asked, tenant: str = "") -> str:
        """The code for a client that the caller lets in, to one of his tenants where he chose one. Raises NotFound for
        a tenant that is none of his, Forbidden for a JWT or a token of another host."""
        if caller.principal.minted:
            raise errors.Forbidden("Sign in to the console, or with an API key: this credential lets nobody in.")
        if tenant and not caller.member_of(tenant):
            raise errors.NotFound(f"There is no tenant {errors.shorten(tenant, 64)} for {caller.username}.")
        if caller.principal.scopes:
            raise errors.Forbidden(
                "A key that is limited to scopes lets no MCP host in: what the host asks for is another limit.",
                hint="Sign in as yourself, or with a key without scopes.",
            )
        target = f"{asked.client.id} for {' '.join(asked.scopes)}"
        note = audit.row(self._ids.next(), caller, "mcp_grant_approve", target)
        await self._database.write(audit.insert, note)
        self._forget()
        while len(self._codes) >= MOST_CODES:
            self._codes.pop(next(iter(self._codes)))
        code = secrets.token_urlsafe(32)
        self._codes[hash_of(code)] = _Code(asked, caller, tenant, self._now() + CODE_SECONDS)
        return code

    # -- tokens --------------------------------------------------------------------------------------------

    async def exchange(self, form: Mapping[str, str]) -> Issued:
        """The tokens for a code or for a refresh token. Raises Refused."""
        self._check_resource(form.get("resource"))
        match form.get("grant_type"):
            case "authorization_code":
                return await self._redeem(form)
            case "refresh_token":
                return await self._refresh(form)
        raise Refused("unsupported_grant_type", "grant_type has to be authorization_code or refresh_token.")

    async def _redeem(self, form: Mapping[str, str]) -> Issued:
        self._forget()
        key = hash_of(form.get("code", ""))
        if key in self._spent:
            await self._end(self._spent.pop(key)[1], "its code was shown twice")
        found = self._codes.pop(key, None)
        if found is None:
            raise Refused("invalid_grant", "This code was used, or is over.")
        asked, verifier = found.asked, form.get("code_verifier", "")
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if not _VERIFIER(verifier) or not secrets.compare_digest(digest, asked.challenge):
            raise Refused("invalid_grant", "The code_verifier is not that of this code.")
        if (
            form.get("client_id") != asked.client.id
            or form.get("redirect_uri", asked.redirect_uri) != asked.redirect_uri
        ):
            raise Refused("invalid_grant", "This code is of another client or redirect address.")
        scopes = [SCOPES[asked.scopes[-1]]]  # the broadest includes the others
        try:
            _, row = await self._tokens.derive(
                found.maker,
                f"MCP host {asked.client.name}"[:100],
                REFRESH_SECONDS,
                "mcp_token_issue",
                outlives_browser=True,
                scopes=scopes,
                tenant=found.tenant,
            )
        except (errors.Unauthenticated, errors.Forbidden) as error:
            raise Refused("invalid_grant", error.message) from error
        issued, grant = self._new(row["id"], asked.client.id, " ".join(asked.scopes))
        note = audit.row(self._ids.next(), found.maker, "mcp_token_issue", f"{row['id']} for {asked.client.id}")
        await self._database.write(table.insert, grant, hash_of(issued.access_token), self._access_ends(), note)
        self._spent[key] = (self._now() + ACCESS_SECONDS, row["id"])
        return issued

    async def _refresh(self, form: Mapping[str, str]) -> Issued:
        now = self._tokens.steady.now_ns()
        found = await self._database.read(table.by_refresh, hash_of(form.get("refresh_token", "")))
        if found is None or form.get("client_id") != found[0].client_id:
            raise Refused("invalid_grant", "This refresh token is none of this client.")
        grant, spent = found
        if spent:
            await self._end(grant.token, "a refresh token that was spent was shown again")
            raise Refused("invalid_grant", "This refresh token was spent before, so the grant has ended.")
        states = await self._tokens.states([grant.token])
        if grant.ends_at_ns <= now or states[grant.token][0] != "valid":
            raise Refused("invalid_grant", "The grant has ended: connect again.")
        issued, following = self._new(grant.token, grant.client_id, grant.scopes)
        access = hash_of(issued.access_token)
        if not await self._database.write(table.rotate, grant, following, access, self._access_ends(), now):
            await self._end(grant.token, "a refresh token was shown twice at once")
            raise Refused("invalid_grant", "This refresh token was spent before, so the grant has ended.")
        return issued

    def _new(self, token: str, client_id: str, scopes: str) -> tuple[Issued, Grant]:
        issued = Issued(ACCESS_PREFIX + secrets.token_urlsafe(32), "slrt_" + secrets.token_urlsafe(32), scopes)
        ends = self._tokens.steady.now_ns() + REFRESH_SECONDS * clock.NANOSECONDS
        return issued, Grant(token, client_id, scopes, self.resource, hash_of(issued.refresh_token), "", ends)

    def _access_ends(self) -> int:
        return self._tokens.steady.now_ns() + ACCESS_SECONDS * clock.NANOSECONDS

    async def revoke(self, token: str) -> bool:
        """End the grant of an access or refresh token (RFC 7009); whether there was one."""
        held = hash_of(token)
        access = await self._database.read(table.by_access, held)
        refresh = await self._database.read(table.by_refresh, held)
        id = access[0] if access is not None else refresh[0].token if refresh is not None else ""
        if id:
            await self._end(id, "its host revoked it")
        return bool(id)

    async def _end(self, token: str, because: str) -> None:
        note = audit.row(self._ids.next(), SYSTEM, "mcp_token_end", f"{token}: {because}")
        await self._database.write(table.end, token, self._tokens.steady.now_ns(), note)
        self._announce("tokens", {"id": token})

    def _forget(self) -> None:
        now = self._now()
        self._codes = {key: one for key, one in self._codes.items() if one.ends_at > now}
        self._spent = {key: one for key, one in self._spent.items() if one[0] > now}

    async def aclose(self) -> None:
        await self.clients.aclose()
