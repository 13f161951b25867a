"""Who is asking, through which door, and with what rights."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

PLATFORM = "platform"
DEFAULT_TENANT = "default"
EVERY_TENANT = "*"  # membership of the local operator: whoever owns the home directory owns every tenant in it


class Role(StrEnum):
    """What a principal may do in general, from the least to the most; operations say which role they need."""

    VIEWER = "viewer"  # reads
    USER = "user"  # and invokes what the policy of a trigger lets users invoke
    OPERATOR = "operator"  # and runs, cancels, reconciles, drains, pauses: what is there, as others have made it
    ADMIN = "admin"  # and authors, plans, applies, publishes, administers

    def covers(self, other: Role) -> bool:
        """Whether this role may all that the other one may."""
        return _RANK[self] >= _RANK[other]


_RANK = {role: rank for rank, role in enumerate(Role)}


class Surface(StrEnum):
    """The door that a call came through; it is written into every record."""

    MCP = "mcp"
    HTTP = "http"
    CLI = "cli"
    INTERNAL = "internal"  # the engine itself: schedules, recovery


@dataclass(frozen=True, slots=True)
class Principal:
    """An identity: a user name, its tenants, its role in them; and what its credential is limited to
    (core.model.scopes)."""

    username: str
    role: Role = Role.USER
    tenants: tuple[str, ...] = ("default",)
    platform: bool = False
    scopes: tuple[str, ...] = ()
    roles: tuple[tuple[str, Role], ...] = ()
    """The tenants in which it has another role than `role`, by name."""
    # Where the identity comes from is no part of it: two keys of one user with the same rights see the same lists.
    credential: str = field(default="", compare=False)  # the id of the API key; empty for the local user
    minted: bool = field(default=False, compare=False)  # whether a JWT of that key was shown, and not the key
    mcp_only: bool = field(default=False, compare=False)  # whether what was shown opens /mcp alone
    ends_at: float | None = field(default=None, compare=False)  # clock.monotonic() of the door at which it is shown

    def role_in(self, tenant: str) -> Role:
        """Its role in one of its tenants."""
        return next((role for name, role in self.roles if name == tenant), self.role)


@dataclass(frozen=True, slots=True)
class Caller:
    """One call's identity: the principal, the tenant it acts in, the door, and whether it may write."""

    principal: Principal
    tenant: str = "default"
    surface: Surface = Surface.INTERNAL
    allow_write: bool = True
    label: str = ""
    traceparent: str = field(default="", compare=False)  # of this one call, as it came (core.model.trace_context)

    @property
    def username(self) -> str:
        return self.principal.username

    def member_of(self, tenant: str) -> bool:
        principal = self.principal
        if tenant == PLATFORM:
            return principal.platform
        return tenant in principal.tenants or EVERY_TENANT in principal.tenants

    @property
    def owner(self) -> bool:
        """Whether this is who owns the home directory, and with it every tenant."""
        return EVERY_TENANT in self.principal.tenants

    @property
    def role(self) -> Role:
        """The role in the tenant in which it acts."""
        return self.principal.role_in(self.tenant) if self.principal.roles else self.principal.role

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN

    @property
    def of_platform(self) -> bool:
        """Whether its role counts for what all tenants share: the engine, its workers and their groups."""
        return self.principal.platform or self.owner

    @property
    def administers_all(self) -> bool:
        """Whether this is an admin of what all tenants share."""
        return self.is_admin and self.of_platform

    def to_dict(self) -> dict[str, object]:
        """The wire form that an attached front door sends to the owner (same user, same host)."""
        return {
            "username": self.principal.username,
            "role": self.principal.role.value,
            "tenants": list(self.principal.tenants),
            "platform": self.principal.platform,
            "scopes": list(self.principal.scopes),
            **({"roles": {name: role.value for name, role in self.principal.roles}} if self.principal.roles else {}),
            "credential": self.principal.credential,
            "minted": self.principal.minted,
            "tenant": self.tenant,
            "surface": self.surface.value,
            "allow_write": self.allow_write,
            "label": self.label,
            **({"traceparent": self.traceparent} if self.traceparent else {}),
        }

    @staticmethod
    def from_dict(data: dict[str, object]) -> Caller:
        tenants, scopes, roles = data.get("tenants"), data.get("scopes"), data.get("roles")
        return Caller(
            Principal(
                str(data["username"]),
                Role(str(data["role"])),
                tuple(str(t) for t in tenants) if isinstance(tenants, list) else (),
                bool(data.get("platform")),
                tuple(str(s) for s in scopes) if isinstance(scopes, list) else (),
                roles_of(roles),
                str(data.get("credential", "")),
                bool(data.get("minted")),
            ),
            str(data["tenant"]),
            Surface(str(data["surface"])),
            bool(data["allow_write"]),
            str(data.get("label", "")),
            str(data.get("traceparent", "")),
        )


def roles_of(said: object) -> tuple[tuple[str, Role], ...]:
    """`Principal.roles` of the object {tenant: role} that stands for them in JSON; () of anything else."""
    return tuple(sorted((str(name), Role(str(role))) for name, role in said.items())) if isinstance(said, dict) else ()


SYSTEM = Caller(Principal("sluice", Role.ADMIN, platform=True), surface=Surface.INTERNAL)
