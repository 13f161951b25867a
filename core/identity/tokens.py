"""API keys, made once and kept as a hash, and the JWTs minted from them.

None goes beyond the credential that made it (model/grants), and all end with that one.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import hashlib
import os
import pwd
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import structlog

from core import clock, errors
from core.identity import jwts
from core.model import grants
from core.model.operation import Registry
from core.model.principal import PLATFORM, SYSTEM, Caller, Role, roles_of
from core.settings import Settings
from core.store import audit
from core.store import mcp_grants as grants_table
from core.store import tokens as table
from core.store.database import Database

if TYPE_CHECKING:
    from core.model.results.identity import Rights

Row = dict[str, Any]

PREFIX = "sluice_"
ACCESS_PREFIX = "slat_"  # of what an MCP host shows at /mcp, and nowhere else (identity/mcp_grants)
TOUCH_SECONDS = 60  # how exact last_used_at is: a write for each request would cost more than it tells
GROUPS_SECONDS = 3600  # for how long counts what a provider said of the groups of a person
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}").fullmatch
log = structlog.get_logger("core.identity.tokens")


class Wanted(NamedTuple):
    """A token that is to be made."""

    name: str
    username: str
    role: Role
    tenants: list[str]
    expires_in_seconds: int | None
    platform: bool
    scopes: list[str]
    idle_seconds: int | None = None
    """After how long without a use it ends; None: never for that."""
    login: str | None = None
    """The login that it hangs on (store/logins), whose rights it has in the place of those above."""
    account: str | None = None
    """The service account that it belongs to, likewise."""


class Minted(NamedTuple):
    """A JWT, for how many seconds it holds, and until when."""

    token: str
    ttl_seconds: int
    ends_at_ns: int


class Verified(NamedTuple):
    """Whom a token stands for: the row of the API key, whether it is a JWT of that key, and for how long it holds."""

    row: Row
    minted: bool
    seconds: float | None
    mcp_only: bool = False
    """It is an access token of an MCP host, which opens /mcp alone."""


class Tokens:
    """Of one engine. `steady` is the clock by which credentials end; `announce` tells the doors of a withdrawal."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        ids: clock.Ids,
        steady: clock.Steady,
        operations: Registry,
        announce: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._settings = settings
        self._database = database
        self._ids = ids
        self.steady = steady
        self._operations = operations
        self._announce = announce

    @cached_property
    def signer(self) -> jwts.Signer:
        """What signs the JWTs of this installation; its key is read, or made, when it is first needed."""
        return jwts.open_signer(self._settings.home, self._settings.jwt_key_file)

    async def create(self, caller: Caller, wanted: Wanted, operation: str = "token_create") -> tuple[str, Row]:
        """(the secret, which nobody can tell again; the row of the token). `operation` is what it is recorded as.

        Raises InvalidParams for a scope about nothing or a name that is none, Forbidden for a token that would go
        beyond the credential that makes it, Unauthenticated when that one was withdrawn meanwhile.
        """
        self._check_scopes(wanted.scopes)
        now = self.steady.now_ns()
        parent = await self._own(caller)
        if parent is not None and (parent["login"] or parent["account"]):
            raise errors.Forbidden(
                "A session of a person, or a key of a service account, makes no key: its own rights follow role"
                " bindings, and those of a key would not.",
                hint="Make a service account, bind a role to it, and make a key of it: service_account_create.",
            )
        own = grants.of(caller.principal, None if parent is None else parent["expires_at_ns"])
        seconds = wanted.expires_in_seconds
        ends = own.ends_at_ns if seconds is None else now + seconds * clock.NANOSECONDS
        made = grants.Grant(
            wanted.role, frozenset(wanted.tenants), wanted.platform, frozenset(wanted.scopes), ends_at_ns=ends
        )
        if beyond := grants.wider(made, own):
            raise errors.Forbidden(
                f"A credential makes none that goes beyond itself, as this one would: {', '.join(beyond)}.",
                hint=f"What makes it has {_in_words(own)}.",
            )
        if wanted.username != caller.username and not _USERNAME(wanted.username):
            raise errors.InvalidParams(
                f"{errors.shorten(ascii(wanted.username), 100)} is not the name of a user.",
                hint="A user name has lower-case letters, digits and . _ @ + -, and starts with a letter or a digit.",
                errors=[errors.Problem("/username", "is not the name of a user")],
            )

        def refuse_others_name(others: list[Row]) -> None:
            rights = [grant(row) for row in others] + [grants.EVERYTHING] * (wanted.username in owners())
            if wanted.username != caller.username and not grants.may_act_as(own, rights):
                raise errors.Forbidden(
                    f"The user name {errors.shorten(wanted.username, 100)} is in use, with rights that go beyond"
                    " yours.",
                    hint="Choose another name, or ask an admin who may do all that this user may.",
                )

        return await self._keep(caller, wanted, ends, refuse_others_name, operation, caller.principal.credential)

    async def hang(self, caller: Caller, wanted: Wanted, operation: str, made_by: str = "") -> tuple[str, Row]:
        """The same for a login or a service account, whose rights the token has, whatever `wanted` says of rights.

        `made_by` is the token that it ends with. Raises Unauthenticated when that one was withdrawn meanwhile.
        """
        self._check_scopes(wanted.scopes)
        seconds = wanted.expires_in_seconds
        ends = None if seconds is None else self.steady.now_ns() + seconds * clock.NANOSECONDS
        return await self._keep(caller, wanted, ends, _anything, operation, made_by)

    async def derive(
        self,
        caller: Caller,
        name: str,
        seconds: int,
        operation: str,
        idle_seconds: int | None = None,
        *,
        outlives_browser: bool = False,
        scopes: list[str] | None = None,
        tenant: str = "",
    ) -> tuple[str, Row]:
        """A token with the rights of the caller's own credential, which ends with that one; one that `outlives_browser`
        ends with what the token of a browser was made with, and not when somebody signs out there. `scopes` limit it
        where the caller's own is not limited already, and `tenant` to one of his tenants."""
        own, row = caller.principal, await self._own(caller)
        made_by = own.credential
        if row is not None and row["idle_seconds"] is not None and outlives_browser:
            made_by = str(row["made_by"])
        limits = list(own.scopes) if scopes is None or own.scopes else scopes
        maker = replace(caller, principal=replace(own, credential=made_by))
        seconds = await self.left_seconds(maker, seconds)
        tenants, role = ([tenant], own.role_in(tenant)) if tenant else (list(own.tenants), own.role)
        platform = own.platform and not tenant
        wanted = Wanted(name, own.username, role, tenants, seconds, platform, limits, idle_seconds)
        if row is None or not (row["login"] or row["account"]):
            return await self.create(maker, wanted, operation)
        if state(row, self.steady.now_ns()) != "valid":
            raise errors.Unauthenticated("The credential of this request was withdrawn meanwhile.")
        # Its tenants are those of its bindings, unless it is limited to one.
        chosen = [tenant] if tenant else orjson.loads(row["limited"])
        wanted = wanted._replace(login=row["login"], account=row["account"], tenants=chosen)
        return await self.hang(caller, wanted, operation, made_by)

    async def _keep(
        self,
        caller: Caller,
        wanted: Wanted,
        ends: int | None,
        check: Callable[[list[Row]], None],
        operation: str,
        made_by: str,
    ) -> tuple[str, Row]:
        secret = PREFIX + clock.token(64)
        row = {
            "id": "tok_" + clock.token(12),
            "name": wanted.name,
            "hash": hash_of(secret),
            "username": wanted.username,
            "role": wanted.role.value,
            "tenants": orjson.dumps(wanted.tenants).decode(),
            "platform": int(wanted.platform),
            "scopes": orjson.dumps(sorted(set(wanted.scopes))).decode(),
            "created_at_ns": self.steady.now_ns(),
            "expires_at_ns": ends,
            "revoked_at_ns": None,
            "made_by": made_by,
            "idle_seconds": wanted.idle_seconds,
            "login": wanted.login,
            "account": wanted.account,
        }
        note = audit.row(self._ids.next(), caller, operation, str(row["id"]))
        return secret, await self._database.write(table.insert, row, check, note)

    async def _end(self, caller: Caller) -> int | None:
        """When the API key of a caller ends; None when it does not, or when there is none."""
        own = await self._own(caller)
        return None if own is None else own["expires_at_ns"]

    async def left_seconds(self, caller: Caller, most: int) -> int:
        """For how long a credential that the caller makes now can hold, at most `most`; at least one second."""
        ends = await self._end(caller)
        left = most if ends is None else (ends - self.steady.now_ns()) // clock.NANOSECONDS - 1
        return max(1, min(most, left))

    async def _own(self, caller: Caller) -> Row | None:
        """The API key that the credential of a caller is, or was minted from."""
        credential = caller.principal.credential
        return await self._database.read(table.by_id, credential) if credential else None

    def _check_scopes(self, wanted: list[str]) -> None:
        toolsets = {operation.toolset for operation in self._operations}
        names = {operation.name for operation in self._operations}
        for index, scope in enumerate(wanted):
            kind, _, name = scope.partition(":")
            known = {"toolset": toolsets, "operation": names}.get(kind)
            if known is not None and name not in known:
                raise errors.InvalidParams(
                    f"There is no {kind} {errors.shorten(name, 64)}.",
                    hint=f"Toolsets: {', '.join(sorted(toolsets))}." if kind == "toolset" else "",
                    errors=[errors.Problem(f"/scopes/{index}", f"names no {kind}")],
                )

    async def administered(self, caller: Caller) -> list[Row]:
        """The tokens that a caller may see and revoke, the youngest first."""
        return [row for row in await self._database.read(table.all_rows) if administers(caller, row)]

    async def revocable(self, caller: Caller, id: str) -> tuple[Row, list[str]] | None:
        """A token that the caller may revoke and that was not, and those that it made; None when there is none."""
        row = await self._database.read(table.by_id, id)
        if row is None or row["revoked_at_ns"] is not None or not administers(caller, row):
            return None
        return row, await self._database.read(table.made_with, id)

    async def revoke(self, caller: Caller, id: str) -> list[str]:
        """Withdraw a token with all that were made with it, and all their JWTs: the ids of the others that went.

        Raises NotFound.
        """
        note = functools.partial(audit.row, self._ids.next(), caller, "token_revoke")
        row = await self._database.read(table.by_id, id)
        mine = row is not None and administers(caller, row)
        went = await self._database.write(table.revoke, id, self.steady.now_ns(), note) if mine else []
        if not went:
            raise errors.NotFound(
                f"There is no token {errors.shorten(id, 64)} to revoke.", hint="token_list shows them."
            )
        self._announce("tokens", {"id": id})
        return went[1:]

    async def sign_out(self, caller: Caller) -> bool:
        """Withdraw the token of the caller's browser; whether it was one that a browser holds."""
        row = await self._own(caller)
        if row is None or row["idle_seconds"] is None:
            return False
        note = functools.partial(audit.row, self._ids.next(), caller, "console_session_end")
        went = await self._database.write(table.revoke, row["id"], self.steady.now_ns(), note)
        self._announce("tokens", {"id": row["id"]})
        return bool(went)

    async def mint(self, caller: Caller, ttl_seconds: int) -> Minted:
        """A JWT of the API key that a call came with; it ends with its key.

        Raises Forbidden when the call carries no API key: a JWT cannot prolong itself.
        """
        row = await self._own(caller)
        if row is None:
            raise errors.Forbidden(
                "A JWT is minted from an API key, and this request carries none.",
                hint="Send 'Authorization: Bearer API_KEY'; 'sluice token create' makes one.",
            )
        now = self.steady.now_ns()
        if row["expires_at_ns"] is not None:
            ttl_seconds = max(1, min(ttl_seconds, (row["expires_at_ns"] - now) // clock.NANOSECONDS))
        token = self.signer.mint(caller.username, row["id"], now, ttl_seconds)
        await self._database.write(audit.insert, audit.row(self._ids.next(), caller, "token_mint", row["id"]))
        return Minted(token, ttl_seconds, (now // clock.NANOSECONDS + ttl_seconds) * clock.NANOSECONDS)

    async def verify(self, token: str) -> Verified:
        """Whom an API key or a JWT stands for.

        Raises Unauthenticated for an unknown, expired or revoked one, with one and the same message.
        """
        now = self.steady.now_ns()
        if token.startswith(ACCESS_PREFIX):
            return await self._verify_access(token, now)
        claims = self.signer.read(token, now) if jwts.looks_like_one(token) else None
        if claims is None:
            row = await self._database.read(table.by_hash, hash_of(token))
        else:
            row = await self._database.read(table.by_id, claims.key_id)
        # A JWT ends with its key: what is revoked, or was never there, is asked of the row and not of the token.
        if row is None or state(row, now) != "valid":
            raise errors.Unauthenticated(
                "This token is not valid.", hint="Make one with: sluice token create --username NAME --role user"
            )
        await self._touch(row, now)
        ends: list[int] = [] if row["expires_at_ns"] is None else [row["expires_at_ns"]]
        if claims is not None:
            ends.append(claims.expires_at_ns)
        return Verified(row, claims is not None, (min(ends) - now) / clock.NANOSECONDS if ends else None)

    async def _touch(self, row: Row, now: int) -> None:
        """Note that a token is in use, to the minute."""
        if (row["last_used_at_ns"] or 0) < now - TOUCH_SECONDS * clock.NANOSECONDS:
            try:
                await self._database.write(table.touch, row["id"], now)
            except errors.StorageUnavailable as error:  # who it is, is known all the same
                log.warning("use_of_token_not_recorded", id=row["id"], error=str(error))

    async def _verify_access(self, token: str, now: int) -> Verified:
        """The same of an access token of an MCP host."""
        found = await self._database.read(grants_table.by_access, hash_of(token))
        row = None if found is None else await self._database.read(table.by_id, found[0])
        if found is None or row is None or found[1] <= now or state(row, now) != "valid":
            raise errors.Unauthenticated("This token is not valid.", hint="Refresh it, or connect again.")
        await self._touch(row, now)
        return Verified(row, True, (found[1] - now) / clock.NANOSECONDS, mcp_only=True)

    async def states(self, ids: list[str]) -> dict[str, tuple[str, Row | None]]:
        """Of each of these API keys its state (see `state`) and, when it is valid, its row."""
        now = self.steady.now_ns()
        rows = {row["id"]: row for row in await self._database.read(table.by_ids, ids)} if ids else {}
        found = {id: (state(rows.get(id), now), rows.get(id)) for id in ids}
        return {id: (now_is, row if now_is == "valid" else None) for id, (now_is, row) in found.items()}


def _anything(others: list[Row]) -> None:
    """Its user name is that of its login or service account, which is its own."""


def state(row: Row | None, now_ns: int) -> str:
    """valid, expired, revoked or forbidden (nobody has bound a role to whom it stands for); one that is not there was
    revoked."""
    if row is None or row["revoked_at_ns"] is not None:
        return "revoked"
    if row["role"] is None:  # no role binding is left for whom it stands
        return "forbidden"
    ends = [] if row["expires_at_ns"] is None else [row["expires_at_ns"]]
    if row["login_read_at_ns"] is not None:
        ends.append(row["login_read_at_ns"] + GROUPS_SECONDS * clock.NANOSECONDS)
    if row["idle_seconds"] is not None:
        ends.append((row["last_used_at_ns"] or row["created_at_ns"]) + row["idle_seconds"] * clock.NANOSECONDS)
    return "expired" if ends and min(ends) <= now_ns else "valid"


def rights(row: Row) -> Rights:
    """Whom a token stands for and what it may, as every answer tells it."""
    out: Rights = {
        "username": row["username"],
        "role": row["role"] or Role.VIEWER,  # of nobody's tenants, where no binding is left
        "tenants": orjson.loads(row["tenants"]),
        "platform": bool(row["platform"]),
        "scopes": orjson.loads(row["scopes"]),
    }
    if roles := orjson.loads(row["roles"]):
        out["roles"] = roles
    return out


def administers(caller: Caller, row: Row) -> bool:
    """Whether a token is the caller's to see and to revoke: it opens nothing besides what the caller's own does."""
    opens = [*orjson.loads(row["tenants"]), *([PLATFORM] if row["platform"] else [])]
    return caller.owner or (bool(opens) and all(map(caller.member_of, opens)))


def grant(row: Row) -> grants.Grant:
    """The rights of a token, and when they end."""
    tenants, scopes = orjson.loads(row["tenants"]), orjson.loads(row["scopes"])
    roles = dict(roles_of(orjson.loads(row["roles"])))
    role = Role(row["role"] or Role.VIEWER)
    return grants.Grant(role, frozenset(tenants), bool(row["platform"]), frozenset(scopes), row["expires_at_ns"], roles)


def _in_words(own: grants.Grant) -> str:
    limits = [f"role {own.role.value}", f"tenants {', '.join(sorted(own.tenants))}"]
    limits += ["platform"] if own.platform else []
    limits += [f"scopes {', '.join(sorted(own.scopes))}"] if own.scopes else []
    return "; ".join(limits) + ("" if own.ends_at_ns is None else f"; and ends at {clock.iso(own.ends_at_ns)}")


def owners() -> frozenset[str]:
    """The names that the owner of the home directory acts under, and the engine's own."""
    names = {SYSTEM.username, getpass.getuser()}
    with contextlib.suppress(KeyError):  # a container may run as a number that has no name
        names.add(pwd.getpwuid(os.geteuid()).pw_name)
    return frozenset(names)


def hash_of(secret: str) -> str:
    """What is kept of a secret."""
    # A 256-bit random secret needs no slow hash: there is nothing to guess.
    return hashlib.sha256(secret.encode()).hexdigest()
