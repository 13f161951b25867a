"""Role bindings: which role a group, a person or a service account has in which tenant. Pure.

Groups and persons are those of a provider (core.identity.provider): a person is known by its `sub` there, since names
and addresses change hands.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from core.model.principal import EVERY_TENANT, Role


class Kind(StrEnum):
    """Whom a binding is for."""

    GROUP = "group"
    PERSON = "person"
    SERVICE_ACCOUNT = "service_account"


class Binding(NamedTuple):
    """One of them. `issuer` is that of groups and persons, and empty for a service account."""

    id: str
    kind: Kind
    issuer: str
    name: str
    tenant: str
    role: Role
    platform: bool
    created_at_ns: int
    created_by: str


class Held(NamedTuple):
    """What bindings come to: see core.model.principal.Principal."""

    role: Role
    tenants: tuple[str, ...]
    platform: bool
    roles: dict[str, Role]


def held(bindings: Iterable[Binding]) -> Held | None:
    """The rights of whom all these bindings are for: in each tenant the highest role; None when there are none."""
    by_tenant: dict[str, Role] = {}
    platform = False
    for one in bindings:
        platform = platform or one.platform
        known = by_tenant.get(one.tenant)
        if known is None or one.role.covers(known):
            by_tenant[one.tenant] = one.role
    if not by_tenant:
        return None
    everywhere = by_tenant.pop(EVERY_TENANT, None)
    if everywhere is not None:
        more = {name: role for name, role in by_tenant.items() if not everywhere.covers(role)}
        return Held(everywhere, (EVERY_TENANT,), platform, more)
    least = next(role for role in Role if role in by_tenant.values())
    more = {name: role for name, role in sorted(by_tenant.items()) if role is not least}
    return Held(least, tuple(sorted(by_tenant)), platform, more)
