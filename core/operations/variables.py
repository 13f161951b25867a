"""Dynamic variables: texts that jobs read as `${dyn|NAME}` while they run, set by people and by jobs."""

from __future__ import annotations

from pydantic import Field

from core import clock
from core.documents import differences
from core.engine import Engine
from core.model import results
from core.model.message import Type
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.model.variable import MAX_CHARACTERS, NAME_PATTERN
from core.operations.registry import LISTED, Page, offset_page, operation
from core.store import variables as table


class VariableSet(Params):
    name: str = Field(pattern=NAME_PATTERN)
    """The variable."""
    value: str = Field(max_length=MAX_CHARACTERS)
    """Its text. Everyone in the tenant with the role admin can read it; a password is for secret_set."""


@operation(
    summary="Set a dynamic variable.",
    http="POST /api/variables/{name}",
    toolset="contexts",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def variable_set(engine: Engine, caller: Caller, params: VariableSet) -> results.contexts.VariableSet:
    """Set what `${dyn|NAME}` is in jobs, at once and without a deployment. It survives restarts."""
    rows = await engine.database.read(table.of_tenant, caller.tenant)
    old = {row["name"]: row["value"] for row in rows if row["name"] == params.name}
    now = await engine.variables.set(engine.ids.next(), caller, params.name, params.value)
    _tell(engine, caller, params.name)
    changes = [one.to_dict() for one in differences.between(old, {params.name: params.value})]
    return {"name": params.name, "updated_at": clock.iso(now), "changes": changes}


@operation(
    summary="List the dynamic variables.",
    http="GET /api/variables",
    toolset="contexts",
    role=Role.ADMIN,
    outline=LISTED,
)
async def variable_list(engine: Engine, caller: Caller, params: Page) -> results.Listing[results.contexts.Variable]:
    """List the dynamic variables with their present values, and who or which job set them."""
    rows = await engine.database.read(table.of_tenant, caller.tenant)
    items: list[results.contexts.Variable] = [
        {
            "name": row["name"],
            "value": row["value"],
            "updated_at": clock.iso(row["updated_at_ns"]),
            "updated_by": row["updated_by"],
        }
        for row in rows
    ]
    return offset_page(items, params)


class VariableDelete(Params):
    name: str = Field(max_length=100)
    """The variable."""


async def _variable_goes(engine: Engine, caller: Caller, params: VariableDelete) -> Loss | None:
    rows = await engine.database.read(table.of_tenant, caller.tenant)
    there = [row for row in rows if row["name"] == params.name]
    return Loss(f"The variable {params.name} goes; it has {len(there[0]['value'])} characters.") if there else None


@operation(
    summary="Remove a dynamic variable.",
    http="DELETE /api/variables/{name}",
    toolset="contexts",
    effect=Effect.DESTRUCTIVE,
    destroys=_variable_goes,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def variable_delete(engine: Engine, caller: Caller, params: VariableDelete) -> results.contexts.VariableDeleted:
    """Remove a dynamic variable; jobs then see the fallback of `${dyn|NAME||fallback}`, or an empty text."""
    await engine.variables.delete(engine.ids.next(), caller, params.name)
    _tell(engine, caller, params.name)
    return {"name": params.name, "deleted": True}


def _tell(engine: Engine, caller: Caller, name: str) -> None:
    engine.traffic.message(caller.tenant, type=Type.VARIABLE_SET, data={"name": name})
    engine.traffic.flush()
