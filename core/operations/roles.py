"""Who may what: role bindings for the groups and people of a provider and for service accounts, which own API keys."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import Field, model_validator

from core import clock, errors
from core.admission import in_tenant
from core.engine import Engine
from core.identity import tokens
from core.identity.roles import Asked
from core.model import results
from core.model import scopes as limits
from core.model.binding import Binding, Kind
from core.model.operation import Effect, Loss, Params
from core.model.principal import EVERY_TENANT, Caller, Role
from core.operations.losses import counted
from core.operations.registry import LISTED, Page, offset_page, operation
from core.store.service_accounts import Account

ACCOUNT_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
AccountName = Annotated[str, Field(pattern=ACCOUNT_PATTERN, max_length=63)]


class RoleBindingCreate(Params):
    role: Role
    """viewer, user, operator or admin."""
    group: str | None = Field(default=None, min_length=1, max_length=200)
    """A group as the provider names it in its groups claim."""
    person: str | None = Field(default=None, min_length=1, max_length=255)
    """One person: the `sub` that the provider knows it by, which a refused sign-in shows."""
    service_account: AccountName | None = None
    """A service account of the tenant in which you act."""
    tenant: str | None = Field(default=None, max_length=64)
    """Where the role counts: a tenant, or * for every one; your own when left out."""
    platform: bool = False
    """Whether it also counts for what all tenants share; with the tenant * alone."""

    @model_validator(mode="after")
    def _one_of_them(self) -> RoleBindingCreate:
        if sum(one is not None for one in (self.group, self.person, self.service_account)) != 1:
            raise ValueError("name one of group, person and service_account")
        return self

    def asked(self, tenant: str) -> Asked:
        """What is asked for."""
        if self.group is not None:
            return Asked(Kind.GROUP, self.group, tenant, self.role, self.platform)
        if self.person is not None:
            return Asked(Kind.PERSON, self.person, tenant, self.role, self.platform)
        return Asked(Kind.SERVICE_ACCOUNT, str(self.service_account), tenant, self.role, self.platform)


@operation(
    summary="Bind a role to a group, a person or a service account.",
    http="POST /api/role-bindings",
    toolset="administration",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    tool=False,
)
async def role_binding_create(
    engine: Engine, caller: Caller, params: RoleBindingCreate
) -> results.identity.RoleBinding:
    """Say which role whoever is in a group of the provider, one person of it, or a service account has in a tenant.
    Of several bindings the highest role in each tenant counts. Nobody binds what goes beyond his own rights.

    Who has no binding is not let in.
    """
    if params.tenant not in (None, EVERY_TENANT):
        in_tenant(caller, str(params.tenant))
    return _binding(await engine.roles.bind(caller, params.asked(params.tenant or caller.tenant)))


def _binding(one: Binding) -> results.identity.RoleBinding:
    return {
        "id": one.id,
        "kind": one.kind,
        "name": one.name,
        "issuer": one.issuer or None,
        "tenant": one.tenant,
        "role": one.role,
        "platform": one.platform,
        "created_at": clock.iso(one.created_at_ns),
        "created_by": one.created_by,
    }


@operation(
    summary="List the role bindings.",
    http="GET /api/role-bindings",
    toolset="administration",
    role=Role.ADMIN,
    tool=False,
    outline=LISTED,
)
async def role_binding_list(
    engine: Engine, caller: Caller, params: Page
) -> results.Listing[results.identity.RoleBinding]:
    """List the role bindings in your tenants, by whom they are for."""
    return offset_page(await engine.roles.bindings(caller), params, _binding)


class RoleBindingDelete(Params):
    id: str = Field(max_length=64)
    """The id of the binding (rb_...)."""


async def _binding_goes(engine: Engine, caller: Caller, params: RoleBindingDelete) -> Loss | None:
    found = await engine.roles.binding(caller, params.id)
    if found is None:
        return None  # it is refused
    name = errors.shorten(found.name, 100)
    text = f"{found.kind.value.replace('_', ' ')} {name} loses the role {found.role} in {found.tenant} ({params.id})"
    return Loss(f"{text}; sessions that have no other binding end.", where="role_binding_list")


@operation(
    summary="Take a role binding away.",
    http="DELETE /api/role-bindings/{id}",
    toolset="administration",
    effect=Effect.DESTRUCTIVE,
    destroys=_binding_goes,
    offline=True,
    role=Role.ADMIN,
    tool=False,
)
async def role_binding_delete(
    engine: Engine, caller: Caller, params: RoleBindingDelete
) -> results.identity.RoleBindingDeleted:
    """Take a role binding away. Who is signed in has the rights of what is left within a second: {id, deleted}."""
    await engine.roles.unbind(caller, params.id)
    return {"id": params.id, "deleted": True}


class ServiceAccountCreate(Params):
    name: AccountName
    """Its name: lower-case letters, digits and -. In records it is service:TENANT/NAME."""
    description: str = Field(default="", max_length=300)
    """What it is for."""


@operation(
    summary="Make a service account.",
    http="POST /api/service-accounts",
    toolset="administration",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    tool=False,
)
async def service_account_create(
    engine: Engine, caller: Caller, params: ServiceAccountCreate
) -> results.identity.ServiceAccount:
    """Make an account for a program. It signs in nowhere; role_binding_create gives it a role, and
    service_account_key_create makes its API keys, which outlive the session of whoever made them."""
    return _account(caller, (await engine.roles.create_account(caller, params.name, params.description), [], []))


def _account(caller: Caller, found: tuple[Account, list[Binding], list[str]]) -> results.identity.ServiceAccount:
    account, bindings, keys = found
    return {
        "name": account.name,
        "tenant": account.tenant,
        "description": account.description,
        "roles": {one.tenant: one.role for one in bindings if caller.owner or caller.member_of(one.tenant)},
        "keys": keys,
        "created_at": clock.iso(account.created_at_ns),
        "created_by": account.created_by,
    }


@operation(
    summary="List the service accounts.",
    http="GET /api/service-accounts",
    toolset="administration",
    role=Role.ADMIN,
    tool=False,
    outline=LISTED,
)
async def service_account_list(
    engine: Engine, caller: Caller, params: Page
) -> results.Listing[results.identity.ServiceAccount]:
    """List the service accounts of your tenants, with their roles there and the ids of their keys (see token_list)."""
    return offset_page(await engine.roles.accounts(caller), params, functools.partial(_account, caller))


class ServiceAccountRef(Params):
    name: AccountName
    """The account."""


async def _account_goes(engine: Engine, caller: Caller, params: ServiceAccountRef) -> Loss | None:
    found = await engine.roles.account(caller, params.name)
    if found is None:
        return None  # it is refused
    _, bindings, keys = found
    text = f"The service account {params.name} goes, with {counted('key', keys)}"
    return Loss(f"{text} and {counted('role binding', [one.id for one in bindings])}.", where="service_account_list")


@operation(
    summary="Take a service account away.",
    http="DELETE /api/service-accounts/{name}",
    toolset="administration",
    effect=Effect.DESTRUCTIVE,
    destroys=_account_goes,
    offline=True,
    role=Role.ADMIN,
    tool=False,
)
async def service_account_delete(
    engine: Engine, caller: Caller, params: ServiceAccountRef
) -> results.identity.ServiceAccountDeleted:
    """Take a service account away with its bindings, and withdraw its keys at once: {name, deleted, keys}."""
    return {"name": params.name, "deleted": True, "keys": await engine.roles.delete_account(caller, params.name)}


class ServiceAccountKeyCreate(Params):
    name: AccountName
    """The account."""
    expires_in_seconds: int | None = Field(default=None, ge=60, le=10 * 365 * 86_400)
    """How long it is valid; when left out, forever."""
    scopes: list[Annotated[str, Field(pattern=limits.PATTERN)]] = Field(default_factory=list, max_length=50)
    """Limit it to: read, toolset:NAME, operation:NAME, trigger:SLUG; nothing for all that the account may."""


@operation(
    summary="Make an API key of a service account; it is shown only now.",
    http="POST /api/service-accounts/{name}/keys",
    toolset="administration",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    tool=False,
    told_once=("token",),
)
async def service_account_key_create(
    engine: Engine, caller: Caller, params: ServiceAccountKeyCreate
) -> results.identity.AccountKey:
    """Make an API key that stands for a service account, with the rights of its role bindings whenever it is shown.
    Only its hash is kept. Whoever makes one may all that the account may. token_revoke withdraws it."""
    secret, row = await engine.roles.create_key(caller, params.name, params.expires_in_seconds, params.scopes)
    return {
        "token": secret,
        "id": row["id"],
        "name": params.name,
        **tokens.rights(row),
        "expires_at": clock.iso(row["expires_at_ns"]) if row["expires_at_ns"] else None,
    }
