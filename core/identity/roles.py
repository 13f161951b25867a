"""Role bindings and service accounts: who gives them, and to whom. Nobody gives what he has not (model/grants)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from core import clock, errors
from core.identity import tokens
from core.identity.tokens import Tokens, Wanted
from core.model import grants
from core.model.binding import Binding, Kind, held
from core.model.principal import EVERY_TENANT, Caller, Role
from core.settings import Settings
from core.store import audit
from core.store import role_bindings as table
from core.store import service_accounts as accounts_table
from core.store.database import Database
from core.store.service_accounts import Account

USERNAME = "service:"  # before the name of an account in records; no user name has a colon


class Asked(NamedTuple):
    """A binding that somebody wants."""

    kind: Kind
    name: str
    tenant: str
    role: Role
    platform: bool


class Roles:
    """Of one engine. `announce` tells the doors that rights have changed."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        ids: clock.Ids,
        credentials: Tokens,
        announce: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._settings = settings
        self._database = database
        self._ids = ids
        self._tokens = credentials
        self._announce = announce

    # -- bindings ------------------------------------------------------------------------------------------

    async def bind(self, caller: Caller, asked: Asked) -> Binding:
        """Bind a role. Raises Forbidden for one beyond the caller's own, InvalidParams where no provider is set,
        AlreadyExists, NotFound for an account that is none, QuotaExceeded."""
        issuer = "" if asked.kind is Kind.SERVICE_ACCOUNT else self._settings.oidc_issuer
        if asked.kind is not Kind.SERVICE_ACCOUNT and not issuer:
            raise errors.InvalidParams(
                "Groups and persons are those of a provider, and none is set.",
                hint="Set oidc_issuer first (docs/signing-in.md).",
            )
        if asked.platform and asked.tenant != EVERY_TENANT:
            raise errors.InvalidParams(
                "What all tenants share is given with every tenant.",
                hint="Bind platform with the tenant *.",
                errors=[errors.Problem("/platform", "needs the tenant *")],
            )
        self._check(caller, [_grant(asked)])
        one = Binding(
            "rb_" + clock.token(12),
            asked.kind,
            issuer,
            asked.name if issuer else f"{caller.tenant}/{asked.name}",
            asked.tenant,
            asked.role,
            asked.platform,
            clock.now_ns(),
            caller.username,
        )
        note = audit.row(self._ids.next(), caller, "role_binding_create", describe(one))
        await self._database.write(table.insert, one, note)
        self._announce("tokens", {})
        return one

    async def bindings(self, caller: Caller) -> list[Binding]:
        """Those in the tenants of the caller."""
        return [one for one in await self._database.read(table.all_rows) if _administers(caller, one.tenant)]

    async def binding(self, caller: Caller, id: str) -> Binding | None:
        """One that the caller may take away."""
        found = await self._database.read(table.find, id)
        return found if found is not None and _administers(caller, found.tenant) else None

    async def unbind(self, caller: Caller, id: str) -> Binding:
        """Take a binding away; who is signed in by it is without it within a second. Raises NotFound, Forbidden."""
        found = await self.binding(caller, id)
        if found is None:
            raise errors.NotFound(
                f"There is no role binding {errors.shorten(id, 64)}.", hint="role_binding_list shows them."
            )
        self._check(caller, [_grant(Asked(found.kind, found.name, found.tenant, found.role, found.platform))])
        note = audit.row(self._ids.next(), caller, "role_binding_delete", describe(found))
        await self._database.write(table.delete, id, note)
        self._announce("tokens", {})
        return found

    # -- service accounts ----------------------------------------------------------------------------------

    async def create_account(self, caller: Caller, name: str, description: str) -> Account:
        """Make an account of the caller's tenant, without a role yet. Raises AlreadyExists, QuotaExceeded."""
        one = Account(name, caller.tenant, description, clock.now_ns(), caller.username)
        note = audit.row(self._ids.next(), caller, "service_account_create", name)
        await self._database.write(accounts_table.insert, one, note)
        return one

    async def accounts(self, caller: Caller) -> list[tuple[Account, list[Binding], list[str]]]:
        """Those of the caller's tenants: each with its bindings and the ids of its keys."""
        found = await self._database.read(_accounts)
        return [one for one in found if caller.member_of(one[0].tenant)]

    async def account(self, caller: Caller, name: str) -> tuple[Account, list[Binding], list[str]] | None:
        """One of the tenant in which the caller acts."""
        return next((one for one in await self.accounts(caller) if one[0].id == f"{caller.tenant}/{name}"), None)

    async def delete_account(self, caller: Caller, name: str) -> list[str]:
        """Take an account away with its bindings and keys: the ids of these. Raises NotFound, Forbidden."""
        account, bindings, _ = await self._own(caller, name)
        self._check_account(caller, bindings)
        note = functools.partial(audit.row, self._ids.next(), caller, "service_account_delete")
        keys = await self._database.write(accounts_table.delete, account, self._tokens.steady.now_ns(), note)
        self._announce("tokens", {})
        return keys

    async def create_key(
        self, caller: Caller, name: str, expires_in_seconds: int | None, scopes: list[str]
    ) -> tuple[str, tokens.Row]:
        """A key of an account: (the secret, the row). Raises NotFound, and Forbidden when the account may more than
        the caller."""
        account, bindings, _ = await self._own(caller, name)
        if not bindings:  # else a key would wait for rights that whoever makes it does not have
            raise errors.InvalidParams(
                f"The service account {name} has no role yet, and a key of it would open nothing.",
                hint=f"Bind one first: sluice role bind ROLE --service-account {name}.",
            )
        self._check_account(caller, bindings)
        username = USERNAME + account.id
        wanted = Wanted("key", username, Role.VIEWER, [], expires_in_seconds, False, scopes, account=account.id)
        return await self._tokens.hang(caller, wanted, "service_account_key_create")

    async def _own(self, caller: Caller, name: str) -> tuple[Account, list[Binding], list[str]]:
        found = await self.account(caller, name)
        if found is None:
            raise errors.NotFound(
                f"There is no service account {errors.shorten(name, 64)}.", hint="service_account_list shows them."
            )
        return found

    def _check_account(self, caller: Caller, bindings: list[Binding]) -> None:
        """Raises Forbidden when an account may what the caller may not."""
        rights = held(bindings)
        if rights is not None:
            grant = grants.Grant(
                rights.role, frozenset(rights.tenants), rights.platform, frozenset(), None, rights.roles
            )
            self._check(caller, [grant])

    def _check(self, caller: Caller, wanted: list[grants.Grant]) -> None:
        own = grants.of(caller.principal)
        for grant in wanted:
            if beyond := grants.wider(grant, own):
                raise errors.Forbidden(
                    f"Nobody gives, takes or uses rights beyond his own, as here: {', '.join(beyond)}.",
                    hint="Ask an admin who has them; the owner of the engine's home directory has all.",
                )


def describe(one: Binding) -> str:
    """A binding as a line of the audit log."""
    platform = " with platform" if one.platform else ""
    return f"{one.id}: {one.role} in {one.tenant}{platform} for {one.kind} {one.name}"


def _accounts(db: Any) -> list[tuple[Account, list[Binding], list[str]]]:
    return [(one, table.of_account(db, one.id), accounts_table.keys_of(db, one)) for one in accounts_table.all_rows(db)]


def _administers(caller: Caller, tenant: str) -> bool:
    return caller.owner or (tenant != EVERY_TENANT and caller.member_of(tenant))


def _grant(asked: Asked) -> grants.Grant:
    return grants.Grant(asked.role, frozenset((asked.tenant,)), asked.platform, frozenset())
