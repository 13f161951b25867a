"""An operation: one thing that a user can do, declared once and offered by every door."""

from __future__ import annotations

import inspect
import itertools
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

import jsonschema_rs
import orjson
import pydantic
from pydantic import BaseModel, ConfigDict

from core import errors, near, pointers
from core.docstrings import Described
from core.license import Feature
from core.model import spellings
from core.model.principal import Role
from core.model.results import schemas

MAX_BYTES = 1024 * 1024  # of the arguments of one call, as JSON
WAITS = ("wait_seconds", "wait_timeout_seconds")  # what the argument is called that makes a call wait for something
FOR_PEOPLE: dict[str, Any] = {"x-for-people": True}
"""Marks, in the schema of an argument, that it serves who looks at a table: tools for models are listed without it."""


class Effect(StrEnum):
    """What a call may do to the world; the write gate and the MCP annotations are read off it."""

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"


class Params(Described, BaseModel):
    """Base of every params model: unknown keys are refused, so that a misspelt argument is never ignored."""

    # A process does few of its operations: what validates the params of one is built when it is first called.
    model_config = ConfigDict(extra="forbid", defer_build=True)


Handler = Callable[..., Awaitable[Any]]


class Loss(NamedTuple):
    """What one call would take away, or change for good: what a user is asked about before it.

    `text` names it: ids and counts, cut by who shows it, and `where` is the operation that shows all of it. `pinned`
    are arguments that hold the call to what was named. `question` and `yes` stand in the place of the usual words, and
    `tenant` in that of the caller's.
    """

    text: str
    pinned: Mapping[str, Any] = {}
    question: str = ""
    yes: str = ""
    where: str = ""
    tenant: str = ""


_OF_RUNS = frozenset({"deployments", "session", "gitops", "triggers", "messages", "kv", "schedules"})  # toolsets

Destroys = Callable[..., Awaitable[Loss | None]]
"""(engine, caller, params) -> what goes; None when nothing does. Raises what the call would be refused with."""


@dataclass(frozen=True)
class Operation:
    """One verb.

    `name` is snake_case, noun first, and is the MCP tool name; `http` is "METHOD /path" with {placeholders} that
    are params, and `http_also` are more of them for the same verb; `toolset` groups tools for `--toolsets`; `outline`
    are the keys of its result that the outputSchema of the tool names, for readers who pay for each word of it.
    """

    name: str
    summary: str
    description: str
    params: type[BaseModel]
    handler: Handler
    effect: Effect
    toolset: str
    http: str
    role: Role | None = None  # who may call it, or has one that covers it; None: nobody, so no rule opens no door
    platform: bool = False  # about what all tenants share: for those who have the role in every tenant
    idempotent: bool = False
    open_world: bool = False
    starts_runs: bool = False  # of triggers: each call is a span of a trace (core.spans)
    outline: tuple[str, ...] = ()
    tool: bool = True  # offered as an MCP tool
    also_in: tuple[str, ...] = ()  # further toolsets that offer it; what a key may, `toolset` alone says
    offered_in: tuple[str, ...] = ()  # the toolsets that offer it in the place of its own, where that one is full
    gated: bool = True  # a READ operation is never gated; an ungated WRITE decides for itself (deployment_plan)
    http_also: tuple[str, ...] = ()
    feature: Feature | None = None  # what the license must grant
    max_bytes: int = MAX_BYTES  # of the arguments
    effect_by: Callable[[Any], Effect] | None = None  # of one call, by its params; never beyond `effect`
    destroys: Destroys | None = None  # of whatever is destructive, and of nothing else
    told_once: tuple[str, ...] = ()  # keys of the answer that hold a credential: never kept, and none for a JWT
    homeless: bool = False  # its answer is of Sluice and of the arguments: it is the same where there is no home yet
    offline: bool | None = None  # done on the home alone, without a running engine; None: reads are, writes are not

    def __post_init__(self) -> None:
        if (self.effect is Effect.DESTRUCTIVE) != (self.destroys is not None):
            raise ValueError(f"operation {self.name}: what is destructive, and nothing else, says what it destroys")

    def effect_of(self, params: BaseModel) -> Effect:
        """What one call may do to the world; the write gate asks for `effect`, the most that any call may."""
        return self.effect if self.effect_by is None else self.effect_by(params)

    @property
    def toolsets(self) -> tuple[str, ...]:
        """The toolsets that offer it, its own first."""
        return self.offered_in or (self.toolset, *self.also_in)

    @property
    def reads(self) -> bool:
        """Whether no call of it changes anything."""
        return self.effect is Effect.READ

    @property
    def needs_engine(self) -> bool:
        """Whether it takes a running engine: it tells what runs, or makes something run or leave this machine."""
        return not (self.reads if self.offline is None else self.offline)

    @property
    def of_runs(self) -> bool:
        """Whether what it tells changes while an engine runs: without one it is what was recorded."""
        return self.reads and self.toolset in _OF_RUNS

    def allows(self, role: Role) -> bool:
        """Whether a principal of this role may call it at all."""
        return self.role is not None and role.covers(self.role)

    @cached_property
    def wait(self) -> tuple[str, float] | None:
        """The argument that says how many seconds a call waits, and its default; None when it never waits for long."""
        found = [(name, field.default) for name, field in self.params.model_fields.items() if name in WAITS]
        return found[0] if found else None

    @cached_property
    def schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12 of the arguments, compact: no titles, root type object."""
        return compact(self.params.model_json_schema())

    @cached_property
    def result(self) -> Any:
        """The type of what it answers with (core.model.results): what its handler says that it returns."""
        return typing.get_type_hints(self.handler, include_extras=True)["return"]

    @cached_property
    def result_schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12 of the answer; the definitions that it refers to are in `$defs`."""
        made = schemas.Schemas()
        return {**made.of(self.result), "$defs": made.definitions}

    @cached_property
    def _validator(self) -> Any:
        # A schema with a writeOnly value is a secret's: its faults are told without what was sent.
        secret = any(node.get("writeOnly") for node in self.schema.get("properties", {}).values())
        return jsonschema_rs.Draft202012Validator(self.schema, offline=True, mask="the value" if secret else None)

    def validate(self, arguments: dict[str, Any]) -> BaseModel:
        """Check the arguments against the published schema, then build the model.

        The schema comes first, so that every door gives the same answer and the same pointer to the fault.
        Raises InvalidParams with every fault.
        """
        if not self._validator.is_valid(arguments):
            raise errors.InvalidParams(
                f"The arguments of {self.name} do not fit its schema.",
                hint=f"{self._meant(arguments)}Allowed arguments: {', '.join(sorted(self._names)) or 'none'}.",
                errors=schema_problems(self._validator, arguments),
            )
        try:
            return self.params.model_validate(arguments)
        except pydantic.ValidationError as error:  # a rule between fields, which the schema cannot say
            raise errors.InvalidParams(
                f"The arguments of {self.name} do not fit together.",
                errors=[
                    errors.Problem(pointers.join(e["loc"]), e["msg"].removeprefix("Value error, "))
                    for e in error.errors()
                ],
            ) from error

    @property
    def _names(self) -> dict[str, Any]:
        names: dict[str, Any] = self.schema.get("properties", {})
        return names

    def _meant(self, arguments: dict[str, Any]) -> str:
        """The argument that was probably meant by one that there is none of: the nearest, else the missing one."""
        unknown = [str(name) for name in arguments if name not in self._names]
        if not unknown:
            return ""
        lacking = [name for name in self.schema.get("required", ()) if name not in arguments]
        meant = near.nearest(unknown[0], [name for name in self._names if name not in arguments])
        meant = meant or (lacking if len(lacking) == len(unknown) == 1 else [])
        return f"Write {meant[0]} for {errors.shorten(unknown[0], 60)}. " if meant else ""


def schema_problems(validator: Any, instance: Any, limit: int = 20) -> list[errors.Problem]:
    """Every fault that a jsonschema-rs validator finds, as problems with pointers."""
    problems: list[errors.Problem] = []
    for error in itertools.chain.from_iterable(map(_without_null, validator.iter_errors(instance))):
        pointer = pointers.join(error.instance_path)
        pattern = error.kind.pattern if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Pattern) else None
        problems.append(errors.Problem(pointer, errors.shorten(_message(error, pattern), 300), pattern=pattern))
        if len(problems) >= limit:
            break
    return problems


def _message(error: Any, pattern: str | None) -> str:
    """What a fault says: patterns in words, and every value that is allowed; the library names two of them."""
    if pattern is not None:
        found = str(error.message).rpartition(" does not match ")[0]  # as the library quotes or masks it
        return f"{spellings.explain(pattern)}; found {errors.shorten(found, 80)}"
    if not isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Enum):
        return str(error.message)
    found, told, _ = str(error.message).rpartition(" is not one of ")
    return found + told + ", ".join(orjson.dumps(one).decode() for one in error.kind.options)


def _without_null(error: Any) -> list[Any]:
    """What to tell: of an optional value (anyOf something or null) the faults of the something, which say what fits."""
    if not isinstance(error.kind, jsonschema_rs.ValidationErrorKind.AnyOf):
        return [error]
    branches = [
        branch
        for branch in error.kind.context
        if not any(fault.message.endswith('is not of type "null"') for fault in branch)
    ]
    return list(branches[0]) if len(branches) == 1 else [error]


def compact(schema: dict[str, Any]) -> dict[str, Any]:
    """A pydantic schema without its titles, which repeat the property names, and with `null` unions kept."""
    out: dict[str, Any] = schemas.untitled(schema)
    out.pop("description", None)
    return out


class Registry:
    """The operations by name; a name that is taken raises at import."""

    def __init__(self) -> None:
        self._operations: dict[str, Operation] = {}

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._operations.values())

    def __contains__(self, name: str) -> bool:
        return name in self._operations

    def __getitem__(self, name: str) -> Operation:
        return self._operations[name]

    def get(self, name: str) -> Operation | None:
        return self._operations.get(name)

    def operation(
        self, *, summary: str, http: str, toolset: str, effect: Effect = Effect.READ, **options: Any
    ) -> Callable[[Handler], Handler]:
        """Declare the decorated `async def name(engine, caller, params: Model) -> Result` as an operation.

        The function's name is the operation's name, its docstring the description, the annotation of its third
        parameter the params model, and that of what it returns the type of its result.
        """

        def declare(handler: Handler) -> Handler:
            name = handler.__name__
            if name in self._operations:
                raise ValueError(f"operation {name} is declared twice")
            third = inspect.get_annotations(handler)[list(inspect.signature(handler).parameters)[2]]
            self._operations[name] = Operation(
                name=name,
                summary=summary,
                description=inspect.cleandoc(handler.__doc__ or summary),
                # What it returns is not looked at before somebody asks: importing the types of all results takes long.
                params=eval(third, handler.__globals__) if isinstance(third, str) else third,
                handler=handler,
                effect=effect,
                toolset=toolset,
                http=http,
                **options,
            )
            return handler

        return declare
