"""What a worker-kv action can do to the store: one declaration for each operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import Field, model_validator

from core.dsl.component import Config, Env, Event, Run
from core.dsl.connections.kv_operation import OneOperation
from core.dsl.connections.leases import LEASE_FIELD
from core.dsl.events import select
from core.dsl.events.codegen import Warn
from core.dsl.events.select import MISSING, Selector
from core.dsl.language import templates
from core.dsl.language.action import EventFault
from core.errors import shorten
from core.model import kv
from core.model.kv import Op, Verb

TtlMs = Annotated[int, Field(ge=1, le=kv.MAX_TTL_MS)]
MakeOp = Callable[[Event, Run], Op | None]


class Keyed(Config):
    """An operation on one key. An event without a key goes on unchanged and nothing is done for it."""

    verb: ClassVar[Verb]

    key: templates.Text | None = None
    """The key; `${field}` and `@{job}` are filled in."""
    key_field: Selector | None = None
    """The field that holds the key, as text. Neither key nor key-field: the field `key`."""
    warn_on_missing_key: bool = False
    """Warn when the key field is missing, is no text or is blank."""

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.key is not None and self.key_field is not None:
            raise ValueError("there can be one of key and key-field")
        return self

    def key_of(self, env: Env, warn: Warn) -> Callable[[Event, Run], str]:
        """A function that gives the key of an event; an empty text when it has none."""
        if self.key is not None:
            return templates.template(self.key, env, warn)
        field = self.key_field or "key"
        get, tell = select.getter(select.parse(field)), self.warn_on_missing_key

        def key(event: Event, run: Run) -> str:
            value = get(event)
            if type(value) is str and value.strip():
                return value
            if tell:
                told = "is missing" if value is MISSING else "is blank" if type(value) is str else "is no text"
                warn(f"the key field {field} {told}; nothing is done for this event")
            return ""

        return key

    def op(self, env: Env, warn: Warn) -> MakeOp:
        """A function that makes the operation for an event; None when the event has no key."""
        key_of, verb = self.key_of(env, warn), self.verb

        def make(event: Event, run: Run) -> Op | None:
            key = key_of(event, run)
            return Op(verb, key) if key else None

        return make


class Valued(Keyed):
    """An operation with a value."""

    value_field: Selector | None = None
    """The field whose content is the value. Left out: the whole event."""
    value: templates.Text | None = None
    """A text as the value, with `${field}` and `@{workload}` filled in, instead of a field."""
    value_format: Literal["json", "raw-string"] = "json"
    """How it is kept: as JSON, or (a text) as it is."""
    ttl_ms: TtlMs | None = None
    """Forget it after so many milliseconds."""

    @model_validator(mode="after")
    def _one_value(self) -> Self:
        if self.value is not None and self.value_field is not None:
            raise ValueError("there can be one of value and value-field")
        return self

    def op(self, env: Env, warn: Warn) -> MakeOp:
        key_of, value_of = self.key_of(env, warn), value_getter(self, env, warn)
        verb, ttl_ms = self.stored_verb, self.ttl_ms or 0

        def make(event: Event, run: Run) -> Op | None:
            key = key_of(event, run)
            return Op(verb, key, value_of(event, run), ttl_ms) if key else None

        return make

    @property
    def stored_verb(self) -> Verb:
        return self.verb


class Set(Valued):
    """Set the value of a key."""

    verb: ClassVar = Verb.SET


class SetIfAbsent(Valued):
    """Set the value of a key that is not there: of all who try at the same time, one does it."""

    verb: ClassVar = Verb.SET_IF_ABSENT

    renew: bool = False
    """Also do it when the key holds this very value: who holds a lock keeps it, and its TTL starts anew."""
    result_field: Selector | None = None
    """Put there whether it was done."""
    drop: Literal["existing"] | None = None
    """`existing`: drop events whose key was there. For duplicates use `dedupe`, which loses nothing in a crash."""

    @property
    def stored_verb(self) -> Verb:
        return Verb.ACQUIRE if self.renew else self.verb


class Delete(Keyed):
    """Delete a key: its value and its set."""

    verb: ClassVar = Verb.DELETE

    result_field: Selector | None = None
    """Put there whether it was there."""


class _Member(Keyed):
    value_field: Selector | None = None
    """The field that holds the member: a text, or anything as its JSON. Left out: the whole event."""
    value: templates.Text | None = None
    """A text as the member, with `${field}` filled in, instead of a field."""
    result_field: Selector | None = None
    """Put there whether the set changed."""

    @model_validator(mode="after")
    def _one_member(self) -> Self:
        if self.value is not None and self.value_field is not None:
            raise ValueError("there can be one of value and value-field")
        return self

    def op(self, env: Env, warn: Warn) -> MakeOp:
        key_of, member_of = self.key_of(env, warn), value_getter(self, env, warn)
        verb, ttl_ms = self.verb, getattr(self, "ttl_ms", None) or 0

        def make(event: Event, run: Run) -> Op | None:
            key = key_of(event, run)
            return Op(verb, key, member_of(event, run), ttl_ms) if key else None

        return make


class AddToSet(_Member):
    """Add a member to the set of a key."""

    verb: ClassVar = Verb.ADD

    ttl_ms: TtlMs | None = None
    """Let this member leave the set after so many milliseconds; adding it again starts anew."""
    drop: Literal["existing"] | None = None
    """`existing`: drop events whose member was in the set."""


class RemoveFromSet(_Member):
    """Remove a member from the set of a key."""

    verb: ClassVar = Verb.REMOVE


class Push(Config):
    """Put an item at the end of the queue of the namespace, for an input `worker-kv` with `pop-batch`."""

    value_field: Selector | None = None
    """The field whose content is the item. Left out: the whole event."""
    value: templates.Text | None = None
    """A text as the item instead of a field."""
    value_format: Literal["json", "raw-string"] = "json"
    """How it is kept: as JSON, or (a text) as it is."""

    def op(self, env: Env, warn: Warn) -> MakeOp:
        value_of = value_getter(self, env, warn)
        return lambda event, run: Op(Verb.PUSH, value=value_of(event, run))


class AckBatch(Config):
    """Acknowledge a batch that `pop-batch` with `ack: manual` has leased, when the output has accepted its events."""

    lease_field: Selector = LEASE_FIELD
    """The field that holds the lease."""


def value_getter(config: Any, env: Env, warn: Warn) -> Callable[[Event, Run], str]:
    """A function that gives the text to keep for an event, as `value`, `value-field` and `value-format` say.

    It raises EventFault for an event without the field.
    """
    raw = getattr(config, "value_format", "raw-string") == "raw-string"
    if config.value is not None:
        fill = templates.template(config.value, env, warn)
        return fill if raw else lambda event, run: orjson.dumps(fill(event, run)).decode()
    if config.value_field is None:
        return lambda event, run: _json(event)
    field, get = config.value_field, select.getter(select.parse(config.value_field))

    def value(event: Event, run: Run) -> str:
        found = get(event)
        if found is MISSING:
            raise EventFault(f"the event has no field {field}")
        return found if raw and type(found) is str else _json(found)

    return value


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except (TypeError, orjson.JSONEncodeError) as error:
        raise EventFault(f"the value cannot be written as JSON: {shorten(str(error), 100)}") from error


class Operation(OneOperation):
    """What to do: exactly one of these."""

    must = "operation has exactly one key, e.g. {set: {key-field: id}}"

    set_: Set | None = None
    """Set a key."""
    set_if_absent: SetIfAbsent | None = None
    """Set a key that is not there; the primitive of locks."""
    delete: Delete | None = None
    """Delete a key."""
    add_to_set: AddToSet | None = None
    """Add a member to a set."""
    remove_from_set: RemoveFromSet | None = None
    """Remove a member from a set."""
    push: Push | None = None
    """Put an item into the queue."""
    ack_batch: AckBatch | None = None
    """Acknowledge a leased batch."""
