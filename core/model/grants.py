"""What a credential grants, and the two rules of its kind: none is wider than the one that made it, and nobody makes
one for a user that he may not act as.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from core.model.principal import EVERY_TENANT, PLATFORM, Principal, Role


class Grant(NamedTuple):
    """The rights of a credential, and when they end (ns since 1970; None: without end)."""

    role: Role
    tenants: frozenset[str]
    platform: bool
    scopes: frozenset[str]  # nothing: all that the role may
    ends_at_ns: int | None = None
    roles: Mapping[str, Role] = {}  # in single tenants, in the place of `role`

    def role_in(self, tenant: str) -> Role:
        return self.roles.get(tenant, self.role)


EVERYTHING = Grant(Role.ADMIN, frozenset((EVERY_TENANT,)), True, frozenset())
"""What the owner of the home directory has."""


def of(principal: Principal, ends_at_ns: int | None = None) -> Grant:
    """The rights of a principal."""
    return Grant(
        principal.role,
        frozenset(principal.tenants),
        principal.platform,
        frozenset(principal.scopes),
        ends_at_ns,
        dict(principal.roles),
    )


def wider(child: Grant, parent: Grant) -> tuple[str, ...]:
    """In what a credential goes beyond another one: role, tenants, platform, scopes, end; () when in nothing.

    Scopes are compared as they are written: `operation:kv_get` is not seen to be a part of `toolset:kv`, which errs on
    the side of refusing.
    """
    beyond = {
        "role": not all(parent.role_in(tenant).covers(child.role_in(tenant)) for tenant in _places(child, parent)),
        "tenants": EVERY_TENANT not in parent.tenants and not child.tenants <= parent.tenants,
        "platform": child.platform and not parent.platform,
        "scopes": bool(parent.scopes) and not (child.scopes and child.scopes <= parent.scopes),
        "end": parent.ends_at_ns is not None and (child.ends_at_ns is None or child.ends_at_ns > parent.ends_at_ns),
    }
    return tuple(name for name, yes in beyond.items() if yes)


def _places(child: Grant, parent: Grant) -> set[str]:
    """The tenants, by name, in which the role of one of the two may be another one than elsewhere."""
    all_of_them = parent.roles.keys() if EVERY_TENANT in child.tenants else ()
    return {*child.tenants, *child.roles, *all_of_them, *((PLATFORM,) if child.platform else ())}


def may_act_as(own: Grant, others: Iterable[Grant]) -> bool:
    """Whether who has `own` may make credentials for the user of `others`: none of them goes beyond it, but in time."""
    return not any(wider(other._replace(ends_at_ns=own.ends_at_ns), own) for other in others)
