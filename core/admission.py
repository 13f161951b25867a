"""All that is asked of a call before anything of it is done: rights, tenant, size, arguments, the write gate.

Pure but for the record of refusals. The order of the questions is part of the contract: what nobody may do is refused
before its arguments are looked at.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel

from core import denials, errors, license
from core.denials import Denials
from core.homes import default_home
from core.licensing import Licensing
from core.model.operation import MAX_BYTES, Effect, Operation, Registry
from core.model.principal import PLATFORM, Caller, Surface
from core.model.scopes import permits

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch


class Admitted(NamedTuple):
    """A call that may be made."""

    operation: Operation
    params: BaseModel
    caller: Caller
    """In the tenant in which it acts."""


class Admission:
    """One for an engine. One that is not `running` refuses what takes a running engine."""

    def __init__(
        self, operations: Registry, licensing: Licensing, refusals: Denials, home: Path, *, running: bool
    ) -> None:
        self._operations = operations
        self._licensing = licensing
        self._denials = refusals
        self._home = home
        self._running = running

    def admit(self, name: str, arguments: dict[str, Any], caller: Caller) -> Admitted:
        """The call, checked.

        Raises NotFound, Forbidden, WriteDisabled, NotLicensed, InvalidParams, NoEngine.
        """
        operation = self._operations.get(name)
        if operation is None:
            raise errors.NotFound(f"There is no operation {errors.shorten(name, 60)}.")
        if not caller.owner and not caller.member_of(caller.tenant):  # first: else its log would have the refusal
            raise NoTenant(caller, caller.tenant)
        self._authorise(operation, caller, arguments)
        if operation.needs_engine and not self._running:
            raise no_engine(self._home)
        check_tenant(caller)
        check_size(name, arguments, operation.max_bytes)
        params = operation.validate(arguments)
        tenant = getattr(params, "tenant_id", None)
        if tenant and tenant != caller.tenant:
            caller = in_tenant(caller, tenant)
            _check_role(operation, caller)
        return Admitted(operation, params, caller)

    def _authorise(self, operation: Operation, caller: Caller, arguments: Any) -> None:
        _check_role(operation, caller)
        if operation.platform and not caller.of_platform:
            raise errors.Forbidden(
                f"{operation.name} is about what all tenants share, and {caller.username} has the role"
                f" {caller.role.value} only in {', '.join(caller.principal.tenants) or 'none'}.",
                hint="Ask an admin of every tenant.",
            )
        scopes = caller.principal.scopes
        if scopes and not permits(scopes, operation, arguments if isinstance(arguments, dict) else {}):
            raise errors.Forbidden(
                f"The scopes of this credential do not include this call of {operation.name}.",
                hint=f"Its scopes: {', '.join(scopes)}. Ask an admin for a key with another one.",
            )
        if operation.told_once and caller.principal.minted:
            raise errors.Forbidden(
                f"{operation.name} makes a credential, and a JWT makes none: it would outlive the JWT.",
                hint="Send the API key itself: Authorization: Bearer API_KEY, or --api-key on the command line.",
            )
        if caller.surface is Surface.MCP:
            self._licensing.current.require(license.Feature.MCP_SERVER, "The MCP server")
        if operation.feature is not None:
            self._licensing.current.require(operation.feature, operation.name)
        if operation.effect is not Effect.READ and operation.gated and not caller.allow_write:
            raise errors.WriteDisabled(
                f"{operation.name} changes something, and this session is read-only.",
                hint="Start the MCP server with --allow-write to allow it.",
            )

    async def keep(self, name: str, arguments: Any, caller: Caller, error: errors.SluiceError) -> None:
        """Keep a refusal on record; a fault, and what a read answers to a wrong question, are none."""
        operation = self._operations.get(name)
        if operation is None or not denials.is_refusal(operation, error, elsewhere=isinstance(error, NoTenant)):
            return
        if isinstance(error, NoTenant):  # for the admins of whoever tried: nobody writes into another tenant's log
            target, own = f"tenant {error.tenant}", caller.principal.tenants
            if not caller.member_of(caller.tenant):
                caller = replace(caller, tenant=own[0] if own else PLATFORM)
        else:
            target = denials.thing(operation, arguments if isinstance(arguments, dict) else {}, caller.tenant)
        await self._denials.note(caller, name, target, error.code)


class NoTenant(errors.NotFound):
    """A caller asked for a tenant that it is no member of; it is told as one that is not there, and is on record."""

    def __init__(self, caller: Caller, tenant: str) -> None:
        self.tenant = errors.shorten(tenant, 64)
        own = ", ".join(caller.principal.tenants) or "none"
        super().__init__(
            f"There is no tenant {self.tenant} for {caller.username}.",
            hint=f"Your tenants: {own}.".replace("*", "every one"),
        )


def _check_role(operation: Operation, caller: Caller) -> None:
    """Raises Forbidden for a caller whose role in the tenant in which it acts does not reach."""
    if not operation.allows(caller.role):
        needed = f"the role {operation.role}" if operation.role else "a role, and no rule names one"
        where = f" in {caller.tenant}" if caller.principal.roles else ""
        raise errors.Forbidden(
            f"{operation.name} needs {needed}; {caller.username} has the role {caller.role.value}{where}.",
            hint="Ask an admin.",
        )


def in_tenant(caller: Caller, tenant: str) -> Caller:
    """The caller acting in another of its tenants. Raises NotFound for one that it is not a member of."""
    if not caller.member_of(tenant):
        raise NoTenant(caller, tenant)
    moved = replace(caller, tenant=tenant)
    check_tenant(moved)
    return moved


def check_tenant(caller: Caller) -> None:
    """Refuse a tenant name that is none, before it becomes part of the names of things."""
    if not _TENANT(caller.tenant) or (caller.tenant == PLATFORM and not caller.principal.platform):
        raise errors.InvalidParams(
            f"{errors.shorten(caller.tenant, 64)!r} is not the name of a tenant.",
            hint="A tenant name has 1 to 64 of a-z, A-Z, 0-9, . _ and -, and starts with a letter or digit.",
            errors=[errors.Problem("/tenant_id", "is not the name of a tenant")],
        )


def check_size(name: str, arguments: Any, most: int = MAX_BYTES) -> None:
    """Refuse arguments that are no JSON object, too large, or hold what JSON cannot carry (NaN, 2^64, surrogates)."""
    if not isinstance(arguments, dict):
        raise errors.InvalidParams(f"The arguments of {name} must be a JSON object.")
    try:
        size = len(orjson.dumps(arguments))
    except (TypeError, orjson.JSONEncodeError, RecursionError) as error:
        raise errors.InvalidParams(
            f"The arguments of {name} cannot be carried as JSON: {errors.shorten(str(error), 100)}.",
            hint="Allowed: UTF-8 text, integers within 64 bits, finite numbers, at most 64 levels.",
        ) from error
    if size > most:
        raise errors.InvalidParams(
            f"The arguments of {name} take {size} bytes; at most {most} are allowed.",
            hint="Send less, or put the data where a job can read it.",
        )


def no_home(home: Path) -> errors.NoEngine:
    """The refusal of what only reads, where nothing is: an answer would be that of an empty home."""
    return errors.NoEngine(
        f"There is no home at {home}, and no engine runs on it.",
        hint="Name the home with --home (or SLUICE_HOME), or begin one there: sluice serve",
    )


def no_engine(home: Path) -> errors.NoEngine:
    """The refusal of what only a running engine can do."""
    place = "" if str(home) in (str(default_home()), os.environ.get("SLUICE_HOME")) else f" --home {home}"
    return errors.NoEngine(f"No engine is running on {home}.", hint=f"Start one: sluice serve{place}")
