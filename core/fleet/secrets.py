"""Secrets with the deployed jobs that use them: who has to be told of a new value, and who keeps one from going."""

from __future__ import annotations

from typing import NamedTuple

from core import clock, errors
from core.contexts.secrets import MAX_BYTES, Vault
from core.fleet.fleet import Fleet
from core.model.principal import Caller
from core.model.secret import Reference
from core.store import audit
from core.store.audit import AuditRow


class Kept(NamedTuple):
    """A secret as it was set: its version, whether it was not there before, the deployed jobs that use it."""

    version: int
    created: bool
    users: list[str]


class Secrets:
    """Of one engine."""

    def __init__(self, ids: clock.Ids, vault: Vault, fleet: Fleet) -> None:
        self._ids = ids
        self._vault = vault
        self._fleet = fleet

    def users(self, tenant: str, who: Reference) -> list[str]:
        """The deployed jobs that use a secret."""
        return self._fleet.secret_users(tenant).get(who.secret, [])

    def is_set(self, tenant: str, who: Reference) -> bool:
        """Whether a secret is set."""
        return who.secret in self._vault.names(tenant)

    async def set(self, caller: Caller, who: Reference, value: str) -> Kept:
        """Keep a value, which the jobs that use it get at once. Raises InvalidParams for one that is too long."""
        if len(value.encode()) > MAX_BYTES:
            raise errors.InvalidParams(
                f"A secret has at most {MAX_BYTES} bytes.", errors=[errors.Problem("/value", "is too long")]
            )
        tenant, note = caller.tenant, self._note(caller, "secret_set", who)
        version, created = await self._vault.set(tenant, who, value, clock.now_ns(), caller.username, note)
        self._fleet.secrets_changed()
        return Kept(version, created, self.users(tenant, who))

    async def delete(self, caller: Caller, who: Reference, force: bool) -> list[str]:
        """Delete a secret for good: the deployed jobs that used it. Raises NotFound; AlreadyExists while there are
        such jobs, unless `force` is set."""
        tenant = caller.tenant
        users = self.users(tenant, who) if self.is_set(tenant, who) else []
        if users and not force:
            named = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
            raise errors.AlreadyExists(
                f"Secret {who.secret} is used by {named}.",
                hint="Undeploy them first, or delete it with force; they fail when they need it next.",
                details={"used_by": users},
            )
        note = self._note(caller, "secret_delete", who)
        if not self.is_set(tenant, who) or not await self._vault.delete(tenant, who, note):
            raise errors.NotFound(
                f"There is no secret {errors.shorten(who.secret, 210)} in tenant {tenant}.",
                hint="secret_list shows them.",
            )
        self._fleet.secrets_changed()
        return users

    def _note(self, caller: Caller, operation: str, who: Reference) -> AuditRow:
        return audit.row(self._ids.next(), caller, operation, f"{caller.tenant}/{who.secret}")
