"""The assert action: events must fit a JSON Schema."""

from __future__ import annotations

import os
from typing import Annotated, Any, ClassVar, Self

import jsonschema_rs
import orjson
from pydantic import Field, WithJsonSchema, field_validator, model_validator

from core.dsl.component import REGISTRY, Config, Env, Event, Run
from core.dsl.events.codegen import Warn
from core.dsl.language import places
from core.dsl.language.action import Action, Each, EventFault, JobAborted
from core.errors import InvalidDocument, SluiceError, shorten
from core.guard import file_access

MAX_SCHEMA_BYTES = 1024 * 1024
DROP, ABORT = "drop-onfailure", "abort-on-failure"
# Both hyphenations are met in documents.
_BEHAVIOURS = {DROP: DROP, "drop-on-failure": DROP, ABORT: ABORT, "abort-onfailure": ABORT}
_FORMS = {
    "anyOf": [
        {"enum": list(_BEHAVIOURS)},
        {
            "type": "object",
            "properties": {"no-warnings": {"enum": list(_BEHAVIOURS)}, **{name: {} for name in _BEHAVIOURS}},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        },
    ]
}
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20)


class Schema(Config):
    """Where the schema is: exactly one of the two."""

    schema_string: str | None = Field(default=None, max_length=MAX_SCHEMA_BYTES)
    """The schema itself, as JSON text."""
    schema_file: Annotated[str | None, places.READ] = None
    """A file on the worker that holds the schema as JSON; read when the job starts."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.schema_string is None) == (self.schema_file is None):
            raise ValueError("give exactly one of schema-string and schema-file")
        if self.schema_string is not None and "{{" not in self.schema_string:
            compile_schema(self.schema_string)
        return self


def compile_schema(text: str | bytes) -> Any:
    """A validator of JSON Schema draft 7 that fetches nothing and whose patterns run in linear time.

    Raises ValueError that says what is wrong with the schema.
    """
    try:
        schema = orjson.loads(text)
        if not isinstance(schema, dict | bool):
            raise ValueError("a JSON Schema is an object")
        return jsonschema_rs.Draft7Validator(schema, offline=True, pattern_options=_PATTERNS)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise ValueError(f"not a JSON Schema: {shorten(str(error).splitlines()[0], 200)}") from None


@REGISTRY.register("assert")
class Assert(Action):
    """Check every event against a JSON Schema (draft 7) and refuse those that do not fit, or stop the job.

    The schema fetches nothing and its patterns run in linear time. A schema file that is missing, larger than 1 MiB or
    no schema fails the job when it starts.
    """

    example: ClassVar[str] = """
name: gate
input:
  echo:
    json: true
    event: |
      {"id": 1}
      {"id": "one"}
actions:
  - assert:
      schema: {schema-string: '{"properties": {"id": {"type": "integer"}}, "required": ["id"]}'}
      behaviour: drop-onfailure
output: {print: STDOUT}
"""

    spellings: ClassVar[dict[str, str]] = {"behavior": "behaviour"}

    schema_: Schema
    """The schema."""
    behaviour: Annotated[str, WithJsonSchema(_FORMS)] = DROP
    """`drop-onfailure`: refuse the event, which is counted and becomes a dead letter (`on-error` of the job);
    `abort-on-failure`: stop the job, as the action abort does. As `{no-warnings: drop-onfailure}` the event is left out
    as a filter does it, and nothing is counted or kept."""
    no_warnings: bool = Field(default=False, exclude=True, json_schema_extra={"deprecated": True})
    """Leave out events that do not fit, without a word."""

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, data: Any) -> Any:
        """Bring `behaviour: {no-warnings: x}` and `behaviour: {x: ...}` to the scalar form."""
        if isinstance(data, dict) and isinstance(behaviour := data.get("behaviour"), dict) and len(behaviour) == 1:
            ((key, value),) = behaviour.items()
            if key == "no-warnings":
                return {**data, "behaviour": value, "no-warnings": True}
            return {**data, "behaviour": key}
        return data

    @field_validator("behaviour")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in _BEHAVIOURS:
            raise ValueError(f"must be {DROP}, {ABORT}, or one of them under no-warnings")
        return _BEHAVIOURS[value]

    def each(self, env: Env, warn: Warn) -> Each:
        validator = self._validator(env)
        valid, faults = validator.is_valid, validator.iter_errors
        abort, silent = self.behaviour == ABORT, self.no_warnings

        def check(event: Event, run: Run) -> Event | None:
            if valid(event):
                return event
            fault = next(iter(faults(event)))
            place = "".join(f"/{step}" for step in fault.instance_path)
            told = f"{place or 'the event'}: {shorten(fault.message, 200)}"
            if abort:
                raise JobAborted(f"An event does not fit the schema: {told}.")
            if silent:
                return None
            raise EventFault(f"the event does not fit the schema: {told}")

        return check

    def _validator(self, env: Env) -> Any:
        if self.schema_.schema_string is not None:
            return compile_schema(self.schema_.schema_string)
        path = str(self.schema_.schema_file)
        try:
            fd = file_access.FileAccess(env.limits.files, env.tenant).open_read(path)
            with os.fdopen(fd, "rb") as file:
                text = file.read(MAX_SCHEMA_BYTES + 1)
            if len(text) > MAX_SCHEMA_BYTES:
                raise ValueError(f"is larger than {MAX_SCHEMA_BYTES} bytes")
            return compile_schema(text)
        except (SluiceError, OSError, ValueError) as error:
            told = error.message if isinstance(error, SluiceError) else str(error)
            raise InvalidDocument(f"The schema file {shorten(path, 200)} cannot be used: {told}") from error
