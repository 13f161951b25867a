"""Secrets: set, list, delete, rotate their key. Nothing here, and nothing anywhere else, gives a value back."""

from __future__ import annotations

from pydantic import Field, SecretStr

from core import clock
from core.contexts.secrets import MAX_BYTES
from core.engine import Engine
from core.model import results, secret
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.losses import counted
from core.operations.registry import LISTED, Page, offset_page, operation
from core.store import audit

NAME = Field(pattern=secret.NAME_PATTERN, max_length=201)


class SecretSet(Params):
    name: str = NAME
    """scope/name, or name (then the scope is `default`)."""
    value: SecretStr = Field(min_length=1, max_length=MAX_BYTES)
    """The value. It is kept encrypted and never shown again."""


@operation(
    summary="Set a secret (write-only).",
    http="POST /api/secrets",
    toolset="contexts",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
)
async def secret_set(engine: Engine, caller: Caller, params: SecretSet) -> results.contexts.SecretSet:
    """Set a secret for `${secret|scope/name}` in jobs; it is encrypted, and no answer ever contains it.

    Jobs that use it get the new value at once. Do not ask a user to type a secret into a conversation: they set it
    with `sluice secret set`, which reads it from standard input.
    """
    who = secret.named(params.name)
    kept = await engine.secrets.set(caller, who, params.value.get_secret_value())
    return {"name": who.secret, "version": kept.version, "created": kept.created, "used_by": kept.users}


class SecretList(Page):
    pass


@operation(
    summary="List the secrets, without their values.",
    http="GET /api/secrets",
    toolset="contexts",
    role=Role.ADMIN,
    outline=LISTED,
)
async def secret_list(engine: Engine, caller: Caller, params: SecretList) -> results.Listing[results.contexts.Secret]:
    """List the secrets with version, time and the deployed jobs that use them; also those that are used and missing."""
    users = engine.fleet.secret_users(caller.tenant)
    items: list[results.contexts.Secret] = [
        {
            "name": f"{row['scope']}/{row['name']}",
            "version": row["version"],
            "updated_at": clock.iso(row["updated_at_ns"]),
            "updated_by": row["updated_by"],
            "used_by": users.pop(f"{row['scope']}/{row['name']}", []),
        }
        for row in engine.vault.rows(caller.tenant)
    ]
    items += [
        {"name": name, "version": 0, "updated_at": None, "updated_by": "", "used_by": jobs}
        for name, jobs in sorted(users.items())
    ]
    return offset_page(items, params)


class SecretDelete(Params):
    name: str = NAME
    """scope/name, or name (then the scope is `default`)."""
    force: bool = False
    """Also when deployed jobs use it; they fail when they need it next."""


async def _secret_goes(engine: Engine, caller: Caller, params: SecretDelete) -> Loss | None:
    who = secret.named(params.name)
    if not engine.secrets.is_set(caller.tenant, who):
        return None
    users = engine.secrets.users(caller.tenant, who)
    used = f" It is used by {counted('job', users)}." if users else ""
    return Loss(f"The secret {who.secret} goes for good.{used}") if params.force or not users else None


@operation(
    summary="Delete a secret.",
    http="POST /api/secrets/delete",
    toolset="contexts",
    effect=Effect.DESTRUCTIVE,
    destroys=_secret_goes,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def secret_delete(engine: Engine, caller: Caller, params: SecretDelete) -> results.contexts.SecretDeleted:
    """Delete a secret for good. Refused while deployed jobs use it, unless `force` is set."""
    who = secret.named(params.name)
    users = await engine.secrets.delete(caller, who, params.force)
    return {"name": who.secret, "deleted": True, "used_by": users}


class SecretRotateKey(Params):
    pass


async def _key_is_replaced(engine: Engine, caller: Caller, params: SecretRotateKey) -> Loss | None:
    return Loss("The key of all secrets goes. Without it, the secrets in copies of the database of before are lost.")


@operation(
    summary="Encrypt all secrets with a new key.",
    http="POST /api/secrets/rotate-key",
    toolset="contexts",
    effect=Effect.DESTRUCTIVE,
    destroys=_key_is_replaced,
    offline=True,
    role=Role.ADMIN,
    platform=True,
)
async def secret_rotate_key(engine: Engine, caller: Caller, params: SecretRotateKey) -> results.contexts.KeyRotated:
    """Make a new key, encrypt the secrets of every tenant with it, and forget the old key. Values stay as they are.

    It may be cut off at any moment: the next start goes on. Copies of the old database need the old key.
    """
    note = audit.row(engine.ids.next(), caller, "secret_rotate_key", "all tenants")
    key_id, count, unreadable = await engine.vault.rotate(note)
    return {"key_id": key_id, "rotated": count, "unreadable": unreadable}
