"""When a job fires: the `trigger` block of an input."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from core import clock
from core.dsl.component import REGISTRY, Config
from core.dsl.language.timers import Cron, Interval
from core.dsl.language.window import Span
from core.errors import shorten
from core.model import message

FORMER_SOURCES = {"agent": "worker", "pipe": "job"}  # older documents call the sources so


class Clocks(dict[str, Any]):
    """What `${time|NAME}` reads in one firing, worked out when it is asked for: most runs never ask.

    Names: now_time, scheduled_time, start_time and end_time, each followed by _secs, _ms or _iso (UTC). Start and end
    are those of the window of the firing; without a window both are the time of the firing. The scheduled time is the
    one that a schedule fires for; without a schedule it is the time of the firing, too.
    """

    __slots__ = ("_now_ns", "_scheduled_ns", "_span")

    def __init__(self, now_ns: int, span: Span | None = None, scheduled_ns: int = 0) -> None:
        self._now_ns = now_ns
        self._span = span
        self._scheduled_ns = scheduled_ns or now_ns

    def get(self, name: str, default: Any = None) -> Any:
        which, _, form = name.rpartition("_")
        span = self._span or (self._now_ns, self._now_ns)
        match which:
            case "now_time":
                ns = self._now_ns
            case "scheduled_time":
                ns = self._scheduled_ns
            case "start_time":
                ns = span[0]
            case "end_time":
                ns = span[1]
            case _:
                return default
        match form:
            case "secs":
                return ns // clock.NANOSECONDS
            case "ms":
                return ns // 1_000_000
            case "iso":
                return clock.iso(ns)
        return default


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _without_empty(value: tuple[str, ...]) -> tuple[str, ...]:
    """An empty text matches everything, alone or among others."""
    return () if "" in value else value


Texts = Annotated[
    tuple[Annotated[str, Field(max_length=256)], ...],
    BeforeValidator(_one_or_many),
    AfterValidator(_without_empty),
    Field(max_length=100),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 100}]}),
]
"""One text or a list of texts."""


class MessageFilter(Config):
    """Fire once for each message of the bus that passes the filter; its payload is `${msg|…}`.

    Every key takes one value or a list, of which one must fit; all keys that are given must fit.
    """

    spellings: ClassVar = {
        "filter-kinds": "filter-kind",
        "filter-types": "filter-type",
        "filter-tags": "filter-tag",
        "filter-sources": "filter-source",
        "filter-jobs": "filter-job",
        "filter-workers": "filter-worker",
    }

    filter_kind: Texts = ()
    """`user` or `system`."""
    filter_type: Texts = ()
    """Message types, e.g. [user-generated]."""
    filter_tag: Texts = ()
    """The exact tag of a user-generated message."""
    filter_source: Texts = ()
    """`server`, `worker` or `job` (`agent` and `pipe` are older words for the last two)."""
    filter_job: Texts = ()
    """The name of the job that sent it."""
    filter_worker: Texts = ()
    """The id of the worker that sent it."""

    @field_validator("filter_kind")
    @classmethod
    def _known_kind(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known("kind", value, message.Kind)

    @field_validator("filter_source")
    @classmethod
    def _known_source(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known("source", tuple(FORMER_SOURCES.get(source, source) for source in value), message.Source)

    def filter(self) -> message.Filter:
        """The filter as the bus takes it."""
        return message.Filter(
            _scalar(self.filter_kind),
            self.filter_type,
            _scalar(self.filter_tag),
            self.filter_source,
            _scalar(self.filter_job),
            _scalar(self.filter_worker),
        )


def _known(what: str, given: tuple[str, ...], allowed: type[StrEnum]) -> tuple[str, ...]:
    for value in given:
        if value not in tuple(allowed):
            raise ValueError(f"there is no {what} {shorten(value, 40)}; allowed: {', '.join(allowed)}")
    return given


def _scalar(values: tuple[str, ...]) -> message.Wanted:
    return values if len(values) > 1 else values[0] if values else ""


BESIDE: dict[str, dict[str, Any]] = {
    "immediate": {"type": "boolean"},
    "random-offset": {"type": "string"},
    "random_offset": {"type": "string"},
    "window": {"type": ["string", "object"]},
    "block": {"type": "boolean"},
}
"""The keys of a timer that older documents write beside it, with the schema of each."""


class Trigger(Config):
    """When an input fires: exactly one of interval, cron and message. Without a trigger the job runs exactly once."""

    interval: Interval | None = None
    """Equal distances in time, e.g. `interval: 60s`."""
    cron: Cron | None = None
    """Clock times, e.g. `cron: "0 0 * * * *"` for every full hour."""
    message: MessageFilter | None = None
    """Messages of the bus, e.g. `message: {filter-tag: smoke.invoke}`."""

    @model_validator(mode="before")
    @classmethod
    def _take_in(cls, data: Any) -> Any:
        """Bring keys that stand beside the one timer, as in `{cron: "@hourly", window: 1h}`, into it."""
        if not isinstance(data, dict) or data.keys().isdisjoint(BESIDE):
            return data
        beside = {key: data[key] for key in BESIDE if key in data}
        rest = {key: value for key, value in data.items() if key not in beside}
        timers = [(name, rest[name], of) for name, of in (("interval", Interval), ("cron", Cron)) if name in rest]
        if len(timers) != 1:
            raise ValueError(f"{next(iter(beside))} belongs to one of interval and cron")
        ((name, given, of),) = timers
        body = given if isinstance(given, dict) else {of.scalar: given}
        if twice := next((key for key in beside if key in body), None):
            raise ValueError(f"{twice} stands in {name} and beside it; keep one")
        return {**rest, name: {**body, **beside}}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        out = super().__get_pydantic_json_schema__(schema, handler)
        for key, form in BESIDE.items():
            out["properties"][key] = {**form, "deprecated": True, "description": "Belongs into interval or cron."}
        return out

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in ("interval", "cron", "message") if getattr(self, name) is not None]
        if len(given) != 1:
            told = " and ".join(given) if given else "nothing"
            raise ValueError(f"a trigger has exactly one of interval, cron and message; here is {told}")
        return self

    @property
    def timer(self) -> Interval | Cron | None:
        """The part that fires by time, None for a message trigger."""
        return self.interval or self.cron


def takes_trigger(input: str) -> bool:
    """Whether an input can be given a `trigger`."""
    cls = REGISTRY.get("input", input)
    return cls is not None and "trigger" in cls.model_fields
