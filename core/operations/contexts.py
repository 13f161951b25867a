"""Contexts: the values of `{{name}}`, set globally, for an environment, a worker group, a worker or a job."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from core import clock
from core.contexts import values
from core.contexts.layers import Level
from core.contexts.values import Place
from core.documents import differences
from core.engine import Engine
from core.model import results
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.losses import counted
from core.operations.registry import LISTED, Page, offset_page, operation, position, rows_page

Key = Annotated[str, StringConstraints(max_length=100)]
Target = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}$")]


class AtPlace(Params):
    """One place of a context: at most one of these is given, and none means global."""

    environment: Target | None = None
    """Of an environment, such as dev or prod."""
    group: Target | None = None
    """Of a worker group."""
    worker: Target | None = None
    """Of one worker."""
    job: Target | None = None
    """Of one job, by its name."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [level.value for level, target in self._targets().items() if target is not None]
        if len(given) > 1:
            raise ValueError(f"give one of {' and '.join(given)}: a value has one place")
        return self

    def _targets(self) -> dict[Level, str | None]:
        return {
            Level.ENVIRONMENT: self.environment,
            Level.GROUP: self.group,
            Level.WORKER: self.worker,
            Level.JOB: self.job,
        }

    def place(self) -> Place:
        """The level and what it is about; global without any."""
        given = ((level, target) for level, target in self._targets().items() if target)
        return Place(*next(given, (Level.GLOBAL, "")))


class ContextSet(AtPlace):
    values: dict[str, Any] = Field(min_length=1, max_length=1000)
    """Key -> value: text, number, boolean, list or map. Other keys of the place stay."""


@operation(
    summary="Set context values for {{name}} in documents.",
    http="POST /api/contexts/update-global",
    http_also=(
        "POST /api/contexts/update-environment-map/{environment}",
        "POST /api/contexts/update-group-map/{group}",
        "POST /api/contexts/update-worker-map/{worker}",
        "POST /api/contexts/update-job-map/{job}",
    ),
    toolset="contexts",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def context_set(engine: Engine, caller: Caller, params: ContextSet) -> results.contexts.ContextSet:
    """Set values of `{{key}}`, globally or for one environment, group, worker or job (which wins in that order).

    Not for passwords: context values end up in staged documents; use secret_set. What is deployed stays as it is
    until it is deployed or planned again.
    """
    place = params.place()
    before = await values.at(engine.database, caller.tenant, place)
    old = {key: before[key] for key in params.values if key in before}
    changed = await values.put(engine.database, engine.ids.next(), caller, place, params.values)
    return {
        "level": place.level.value,
        "target": place.target,
        "keys": sorted(params.values),
        "changed": changed,
        "changes": [one.to_dict() for one in differences.between(old, params.values)],
    }


class ContextGet(Params):
    environment: Target | None = None
    """Seen from this environment."""
    group: Target | None = None
    """Seen from this worker group."""
    worker: Target | None = None
    """Seen from this worker."""
    job: Target | None = None
    """Seen from this job."""


@operation(
    summary="Show which context values a job sees, and why.",
    http="GET /api/contexts/effective",
    toolset="contexts",
    role=Role.VIEWER,
)
async def context_get(engine: Engine, caller: Caller, params: ContextGet) -> results.contexts.EffectiveContext:
    """Show the value of every key as a job in this place sees it, which level gives it, and which it `hides`.

    The document's own `context:` block comes after all of them.
    """
    layers = await values.layers_of(engine.database, caller.tenant)
    visible = layers.visible(
        job=params.job or "",
        worker=params.worker or "",
        group=params.group or "",
        environment=params.environment or "",
    )
    return {
        "values": {key: visible[key].value for key in sorted(visible)},
        "from": {key: str(Place(visible[key].level, visible[key].target)) for key in sorted(visible)},
        "hides": {
            key: {str(Place(one.level, one.target)): one.value for one in visible[key].hides}
            for key in sorted(visible)
            if visible[key].hides
        },
    }


class ContextList(Page, AtPlace):
    """Everything, or what is set at one place."""

    level: Level | None = None
    """Only this level."""


@operation(
    summary="List the context values that are set.",
    http="GET /api/contexts",
    toolset="contexts",
    outline=LISTED,
    role=Role.VIEWER,
)
async def context_list(
    engine: Engine, caller: Caller, params: ContextList
) -> results.Listing[results.contexts.ContextValue]:
    """List every context value with its place; context_get shows which of them wins."""
    level, target = params.place()
    wanted = params.level or (level if target else None)
    items: list[results.contexts.ContextValue] = [
        {
            "level": row["level"],
            "target": row["target"],
            "key": row["key"],
            "value": row["value"],
            "updated_at": clock.iso(row["updated_at_ns"]),
            "updated_by": row["updated_by"],
        }
        for row in await values.listed(engine.database, caller.tenant)
        if wanted in (None, row["level"]) and target in ("", row["target"])
    ]
    return offset_page(items, params)


class ContextHistory(ContextList):
    key: Key | None = None
    """Only this key."""


@operation(
    summary="List what was changed in contexts, newest first.",
    http="GET /api/contexts/history",
    toolset="contexts",
    outline=LISTED,
    role=Role.VIEWER,
)
async def context_history(
    engine: Engine, caller: Caller, params: ContextHistory
) -> results.Listing[results.contexts.ContextChange]:
    """List which values were set and removed: old and new, who, through which door and when; the last 2,000."""
    level, target = params.place()
    wanted = {"level": params.level or (level.value if target else ""), "target": target, "key": params.key or ""}
    equal = {name: value for name, value in wanted.items() if value}
    before = position(params.cursor)
    rows, total = await values.changes(engine.database, caller.tenant, equal, before, params.limit + 1)
    page = rows_page(rows, params.limit, values.change_to_answer, lambda row: str(row.id))
    return {**page, "total": total}


class ContextDelete(AtPlace):
    keys: list[Key] | None = Field(default=None, max_length=1000)
    """Which keys; all keys of the place when left out."""


async def _values_go(engine: Engine, caller: Caller, params: ContextDelete) -> Loss | None:
    place = params.place()
    there = await values.at(engine.database, caller.tenant, place)
    keys = [key for key in there if params.keys is None or key in params.keys]
    return Loss(f"At {place} go {counted('value', keys)}.", {"keys": keys}) if keys else None


@operation(
    summary="Remove context values.",
    http="POST /api/contexts/delete",
    toolset="contexts",
    effect=Effect.DESTRUCTIVE,
    destroys=_values_go,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def context_delete(engine: Engine, caller: Caller, params: ContextDelete) -> results.contexts.ContextDeleted:
    """Remove keys from one place (global, or one environment, group, worker or job); what is deployed stays."""
    place = params.place()
    gone = await values.delete(engine.database, engine.ids.next(), caller, place, params.keys)
    return {"level": place.level.value, "target": place.target, "deleted": gone}
