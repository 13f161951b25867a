"""The registry of triggers: what is published, in memory for speed, in the store for keeps.

There is one engine per home, so the memory of the owner is the truth between commits; every change raises the
version, which the doors use as a cache key, and announces itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import orjson
import pydantic

from core import clock, errors
from core.errors import Problem
from core.model import invocation
from core.model.operation import compact, schema_problems
from core.model.principal import DEFAULT_TENANT, PLATFORM, Caller, Role
from core.model.scopes import may_invoke
from core.model.trigger import (
    MCP_SLUG,
    TOOL_PREFIX,
    Definition,
)
from core.store import audit
from core.store import triggers as table
from core.store.database import Database
from core.triggers import schemas

if TYPE_CHECKING:
    from core.model.results import triggers

DEFINITION_SCHEMA = compact(Definition.model_json_schema())
_validator = jsonschema_rs.Draft202012Validator(DEFINITION_SCHEMA, offline=True)


@dataclass(frozen=True)
class Trigger:
    """The present revision of one trigger."""

    id: int
    tenant: str
    revision: int
    active: bool
    created_at_ns: int
    created_by: str
    definition: Definition
    deactivated_at_ns: int | None = None
    deactivated_by: str | None = None

    @staticmethod
    def from_row(row: dict[str, Any]) -> Trigger:
        """A revision as the store has it."""
        return Trigger(
            row["id"],
            row["tenant"],
            row["revision"],
            bool(row["active"]),
            row["created_at_ns"],
            row["created_by"],
            Definition.model_validate(row["definition"]),
            row["deactivated_at_ns"],
            row["deactivated_by"],
        )

    @property
    def slug(self) -> str:
        return self.definition.slug

    @cached_property
    def validator(self) -> Any:
        return schemas.compile_schema(self.definition.parameter_schema)

    @cached_property
    def result_validator(self) -> Any | None:
        schema = self.definition.result_schema
        return None if schema is None else schemas.compile_schema(schema)

    @cached_property
    def job_json(self) -> str:
        """The name of the target job as JSON text."""
        return orjson.dumps(self.definition.target_job_name).decode()

    @cached_property
    def text_id(self) -> str:
        return invocation.trigger_id(self.id)

    @property
    def inactivity(self) -> str:
        """Since when it is inactive, and through whom, as a sentence."""
        if self.deactivated_at_ns is None:
            return f"Trigger {self.slug} is not active."
        return f"Trigger {self.slug} was deactivated by {self.deactivated_by} at {clock.iso(self.deactivated_at_ns)}."

    def invokable_by(self, caller: Caller) -> bool:
        policy, role = self.definition.invoke_policy, caller.principal.role_in(self.tenant)
        match role:
            case Role.ADMIN:
                allowed = policy.allow_admin
            case Role.OPERATOR:
                allowed = policy.allow_admin or policy.allow_user
            case Role.USER:
                allowed = policy.allow_user
            case Role.VIEWER:
                allowed = False
        return self.active and allowed and may_invoke(caller.principal.scopes, self.slug)

    def present(self) -> triggers.TriggerNow:
        """Which revision this is, for who has changed the trigger."""
        return {
            "slug": self.slug,
            "tenant_id": self.tenant,
            "revision": self.revision,
            "active": self.active,
            "tool_name": TOOL_PREFIX + self.slug if self.definition.publication.mcp else None,
        }

    def summary(self) -> triggers.TriggerBrief:
        """What is shown of it wherever it is."""
        definition = self.definition
        shown: triggers.TriggerBrief = {
            "slug": definition.slug,
            "tenant_id": self.tenant,
            "revision": self.revision,
            "active": self.active,
            "display_name": definition.display_name,
            "description": definition.description,
            "target_job_name": definition.target_job_name,
            "publication": definition.publication.model_dump(),
            "effect": definition.annotations.effect,
            "mode": "response_slot" if definition.response_slot else "dispatch_only",
            "tool_name": TOOL_PREFIX + definition.slug if definition.publication.mcp else None,
            "tags": definition.tags,
        }
        if not self.active:
            at_ns = self.deactivated_at_ns
            shown["deactivated_at"] = None if at_ns is None else clock.iso(at_ns)
            shown["deactivated_by"] = self.deactivated_by
        return shown


def revision_to_answer(row: dict[str, Any]) -> triggers.TriggerRevision:
    """Who made a revision, of which this is the row."""
    at_ns = row["created_at_ns"]
    at = clock.iso(at_ns)
    return {"revision": row["revision"], "created_at": at, "created_at_ns": at_ns, "created_by": row["created_by"]}


def check(raw: dict[str, Any], caller: Caller) -> Definition:
    """A definition that can be published.

    Raises InvalidParams with every fault at once: shape, slug, schema rules, defaults that fit nothing, and a
    tenant in which the caller may not publish.
    """
    problems = schema_problems(_validator, raw)
    definition = None
    if not problems:
        try:
            definition = Definition.model_validate(raw)
        except pydantic.ValidationError as error:
            problems += [
                Problem("".join(f"/{part}" for part in fault["loc"]), fault["msg"].removeprefix("Value error, "))
                for fault in error.errors()
            ]
    if isinstance(raw.get("parameter_schema"), dict):
        found = schemas.problems(raw["parameter_schema"], "/parameter_schema")
        problems += found
        if not found and isinstance(raw.get("default_params"), dict):
            problems += schemas.default_problems(raw["parameter_schema"], raw["default_params"], "/default_params")
    if isinstance(raw.get("result_schema"), dict):
        problems += schemas.problems(raw["result_schema"], "/result_schema", reserved=())
    if definition is not None:
        if definition.publication.mcp and not _matches(MCP_SLUG, definition.slug):
            problems.append(
                Problem("/slug", "a slug published for MCP has at most 36 of a-z, 0-9, _ and -; hosts cap tool names")
            )
        if definition.tenant_id == PLATFORM and (definition.response_slot or definition.proxy_policy.mode != "off"):
            problems.append(Problem("/response_slot", "platform-scoped triggers are dispatch-only"))
    if problems or definition is None:
        raise errors.InvalidParams(
            "The trigger definition is not valid.",
            hint="Mend every place below and send the whole definition again.",
            errors=problems,
        )
    if not definition.tenant_id:
        definition = definition.model_copy(update={"tenant_id": caller.tenant})
    return definition


def _matches(pattern: str, text: str) -> bool:
    return bool(jsonschema_rs.is_valid({"pattern": pattern}, text))


class TriggerRegistry:
    """Every trigger of every tenant, by (tenant, slug)."""

    def __init__(self, database: Database, announce: Callable[[str, dict[str, Any]], None]) -> None:
        self._database = database
        self._announce = announce
        self._triggers: dict[tuple[str, str], Trigger] = {}
        # Starts at the time, so that two owners of one home never give one version to two lists.
        self.version = clock.now_ns() // 1_000

    async def load(self) -> None:
        for row in await self._database.read(table.current):
            self._keep(row)

    def get(self, tenant: str, slug: str) -> Trigger | None:
        return self._triggers.get((tenant, slug))

    def visible(self, tenants: Iterable[str]) -> list[Trigger]:
        """The triggers of these tenants, by slug."""
        wanted = set(tenants)
        return sorted(
            (t for t in self._triggers.values() if t.tenant in wanted),
            key=lambda trigger: (trigger.slug, trigger.tenant),
        )

    def reachable(self, caller: Caller, tenant: str | None = None) -> list[Trigger]:
        """The triggers that a call can mean: those of its tenant, then those of the others, by slug.

        The others are the tenants for the local operator, and the platform's scope for a platform principal. A call
        that names a tenant, or acts in another than the default one, means that tenant and no other.
        """
        own = self.visible({caller.tenant})
        if tenant or caller.tenant != DEFAULT_TENANT:
            return own
        others = {name for name, _ in self._triggers if caller.owner or name == PLATFORM}
        if not caller.principal.platform:
            others.discard(PLATFORM)
        return own + self.visible(others - {caller.tenant})

    def find(self, caller: Caller, slug: str, tenant: str | None = None) -> Trigger:
        """The present revision of a trigger that the caller can see.

        Raises NotFound, also for a slug of a tenant that is not the caller's; InvalidParams when several of the
        caller's tenants have it.
        """
        own = self.get(caller.tenant, slug)
        if own is not None:
            return own
        found = [trigger for trigger in self.reachable(caller, tenant) if trigger.slug == slug]
        if not found:
            raise errors.NotFound(
                f"There is no trigger {errors.shorten(slug, 64)} in tenant {caller.tenant}.",
                hint="trigger_list shows what there is.",
            )
        if len(found) > 1:
            raise errors.InvalidParams(
                f"Several tenants have a trigger {slug}.",
                hint=f"Give tenant_id, one of {', '.join(sorted(trigger.tenant for trigger in found))}.",
                errors=[Problem("/tenant_id", "is required here")],
            )
        return found[0]

    async def publish(self, definition: Definition, caller: Caller, id: int) -> Trigger:
        """Make revision 1. Raises AlreadyExists when the slug is taken in the tenant."""
        return await self._add(definition, caller, id, 1, "trigger_publish")

    async def revise(self, present: Trigger, definition: Definition, caller: Caller, id: int) -> Trigger:
        """Make the next revision, active whatever the present one is."""
        return await self._add(definition, caller, id, present.revision + 1, "trigger_revise")

    async def _add(self, definition: Definition, caller: Caller, id: int, revision: int, operation: str) -> Trigger:
        tenant = definition.tenant_id
        row = {
            "id": id,
            "tenant": tenant,
            "slug": definition.slug,
            "revision": revision,
            "active": 1,
            "definition": definition.model_dump(),
            "created_at_ns": clock.now_ns(),
            "created_by": caller.username,
            "deactivated_at_ns": None,
            "deactivated_by": None,
        }
        note = audit.row(id, caller, operation, f"{tenant}/{definition.slug}@{revision}")
        await self._database.write(lambda db: table.insert(db, row, note, expect=revision - 1))
        self._keep(row)
        self._changed(tenant)
        return self._triggers[tenant, definition.slug]

    async def deactivate(self, present: Trigger, caller: Caller, id: int) -> Trigger:
        """Stop offering the trigger; its history stays."""
        note = audit.row(id, caller, "trigger_deactivate", f"{present.tenant}/{present.slug}")
        now = clock.now_ns()
        await self._database.write(table.deactivate, present.id, now, caller.username, note)
        kept = present
        if present.active:
            kept = dataclasses.replace(present, active=False, deactivated_at_ns=now, deactivated_by=caller.username)
        self._triggers[present.tenant, present.slug] = kept
        self._changed(present.tenant)
        return kept

    def _keep(self, row: dict[str, Any]) -> None:
        self._triggers[row["tenant"], row["slug"]] = Trigger.from_row(row)

    def _changed(self, tenant: str) -> None:
        self.version += 1
        self._announce("registry", {"tenant": tenant, "version": self.version})
