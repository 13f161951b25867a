"""What jobs find around them: context values, dynamic variables, secrets."""

from typing import Annotated, Literal, NotRequired, TypedDict

from core.model.principal import Surface
from core.model.results.basics import Difference, Json, JsonObject, Row, Time

Level = Annotated[str, Literal["global", "environment", "group", "worker", "job"]]


class ContextValue(Row):
    """A context value at its place."""

    level: Level
    target: str
    """The environment, group, worker or job; empty: global."""
    key: str
    value: Json
    updated_at: Time
    updated_by: str


class ContextChange(Row):
    """What was set or removed; credentials are masked."""

    at: Time
    by: str
    surface: Annotated[str, Surface]
    level: Level
    target: str
    key: str
    old: NotRequired[Json]
    """Missing: there was no value."""
    new: NotRequired[Json]
    """Missing: it was removed."""


class ContextSet(TypedDict):
    """Values that were set at a place."""

    level: Level
    target: str
    keys: list[str]
    changed: int
    changes: list[Difference]


class ContextDeleted(TypedDict):
    """Values that were removed from a place."""

    level: Level
    target: str
    deleted: list[str]
    """The keys."""


_Seen = TypedDict("_Seen", {"from": dict[str, str]})


class EffectiveContext(_Seen):
    """What a job in a place sees; `from` is the place that gives each key."""

    values: JsonObject
    hides: dict[str, JsonObject]
    """Key -> what it hides: place -> value."""


class Variable(Row):
    """A dynamic variable."""

    name: str
    value: str
    updated_at: Time
    updated_by: str
    """A user, or the job that set it."""


class VariableSet(TypedDict):
    """A variable that was set."""

    name: str
    updated_at: Time
    changes: list[Difference]


class VariableDeleted(TypedDict):
    """A variable that is gone."""

    name: str
    deleted: bool


class Secret(Row):
    """A secret, without its value."""

    name: str
    """scope/name"""
    version: int
    """0: it is used, and not set."""
    updated_at: Time | None
    updated_by: str
    used_by: list[str]
    """Deployed jobs."""


class SecretSet(TypedDict):
    """A secret that was set."""

    name: str
    version: int
    created: bool
    used_by: list[str]
    """Deployed jobs."""


class SecretDeleted(TypedDict):
    """A secret that is gone."""

    name: str
    deleted: bool
    used_by: list[str]
    """Deployed jobs."""


class KeyRotated(TypedDict):
    """A new key of all secrets."""

    key_id: str
    rotated: int
    """Secrets that are encrypted with it."""
    unreadable: list[str]
    """Names of those that could not be read before."""
