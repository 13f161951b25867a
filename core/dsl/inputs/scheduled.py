"""The `trigger` of an input, and the older form of it: the keys of a schedule beside those of the input."""

from __future__ import annotations

from typing import Any

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from core.dsl.component import Input
from core.dsl.language import duration, schedule
from core.dsl.language.schedule import Trigger

_TIMERS = ("interval", "cron")
_OLDER = (*_TIMERS, *schedule.BESIDE, "when")


class Scheduled(Input):
    """Base of the inputs that have a `trigger`."""

    trigger: Trigger | None = None
    """When to run: interval, cron or message. Left out: exactly once."""

    @model_validator(mode="before")
    @classmethod
    def _accept_flat_keys(cls, data: Any) -> Any:
        """Bring the keys of older documents (`interval`, `cron`, `when` …) under `trigger`."""
        if not isinstance(data, dict):
            return data
        flat = {key: data[key] for key in _OLDER if key in data}
        if not flat:
            return data
        rest = {key: value for key, value in data.items() if key not in flat}
        if rest.get("trigger") is not None:
            raise ValueError(f"{next(iter(flat))} belongs into trigger; keep one of the two")
        return {**rest, "trigger": _nested(flat)}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        out = super().__get_pydantic_json_schema__(schema, handler)
        forms: dict[str, dict[str, Any]] = {**schedule.BESIDE, "when": {"type": "object"}}
        forms |= {name: {"type": ["string", "object"]} for name in _TIMERS}
        for plain in out.get("anyOf", (out,)):  # the form with keys, among bare values
            if "trigger" in plain.get("properties", ()):
                for key, form in forms.items():
                    about = "trigger.message" if key == "when" else "trigger"
                    plain["properties"][key] = {**form, "deprecated": True, "description": f"Belongs into {about}."}
        return out


def _nested(flat: dict[str, Any]) -> dict[str, Any] | None:
    """The trigger that flat keys stand for; None when they say that the job runs once.

    Raises ValueError for keys that make no trigger.
    """
    if "when" in flat:
        when = flat.pop("when")
        if flat:
            raise ValueError(f"when and {next(iter(flat))} exclude each other: an input has one trigger")
        if not isinstance(when, dict) or when.keys() != {"message-received"}:
            raise ValueError("when has exactly one key, message-received, with the filter of the messages")
        return {"message": when["message-received"]}
    if "interval" in flat and "cron" not in flat:
        flat.pop("immediate", None)  # there, the first run of an interval was at once in any case
        if _is_zero(flat["interval"]):
            return None
    elif "cron" not in flat:
        raise ValueError(f"{next(iter(flat))} belongs to an interval or a cron expression, and there is none")
    return flat


def _is_zero(value: Any) -> bool:
    """Whether a flat interval is 0s, which is how older documents say: once."""
    try:
        return isinstance(value, str) and duration.parse(value) == 0
    except ValueError:
        return False  # whoever reads the trigger says what is wrong with it
