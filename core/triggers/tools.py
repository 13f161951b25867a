"""Triggers as MCP tools: which ones a caller gets, and the form of each. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from core.model.principal import Caller
from core.model.trigger import DEFAULT_WAIT_SECONDS, MAX_WAIT_SECONDS, TOOL_PREFIX
from core.triggers import schemas
from core.triggers.registry import Trigger, TriggerRegistry

if TYPE_CHECKING:
    from core.model.results import triggers


def of(registry: TriggerRegistry, caller: Caller) -> list[triggers.TriggerTool]:
    """The tools that a caller's triggers are; of other tenants only those whose slug means one alone."""
    own = {trigger.slug for trigger in registry.visible({caller.tenant})}
    meant = registry.reachable(caller)
    count = Counter(trigger.slug for trigger in meant)
    return [
        tool(trigger)
        for trigger in meant
        if trigger.definition.publication.mcp
        and trigger.invokable_by(caller)
        and (trigger.tenant == caller.tenant or (trigger.slug not in own and count[trigger.slug] == 1))
    ]


def tool(trigger: Trigger) -> triggers.TriggerTool:
    """The tool that a trigger is: its schema with its defaults and the two reserved control keys."""
    definition = trigger.definition
    schema = dict(definition.parameter_schema)
    schema["properties"] = {
        **_with_defaults(schema.get("properties", {}), definition.default_params),
        "_idempotency_key": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "description": "Repeat a call with the same key to get the same invocation instead of a second run.",
        },
        "_wait_timeout_seconds": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_WAIT_SECONDS,
            "default": DEFAULT_WAIT_SECONDS,
            "description": "How long this call waits for the end of the run.",
        },
    }
    if definition.default_params and "required" in schema:
        schema["required"] = [key for key in schema["required"] if key not in definition.default_params]
    title = definition.display_name or definition.slug
    return {
        "name": TOOL_PREFIX + definition.slug,
        "slug": definition.slug,
        "title": title,
        "description": (
            f"{definition.description or title}\nRuns trigger {definition.slug} (revision {trigger.revision}) and "
            "returns its invocation; if state is not terminal, poll trigger_invocation_get."
        ),
        "input_schema": schema,
        "output_schema": None if definition.result_schema is None else _output_schema(definition.result_schema),
        "annotations": definition.annotations.model_dump(),
    }


def _with_defaults(properties: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The schemas of properties, each with the default that fills it when a caller leaves it out."""
    return {
        key: {**({} if inner is True else inner), "default": defaults[key]}
        if key in defaults and inner is not False
        else inner
        for key, inner in properties.items()
    }


def _output_schema(result_schema: dict[str, Any]) -> dict[str, Any]:
    """What a run answers: the record, and in a response that succeeded a result of the trigger's own schema."""
    response = {
        "type": "object",
        "properties": {"outcome": {"type": "string"}},
        "required": ["outcome"],
        "if": {"properties": {"outcome": {"const": "succeeded"}}},
        "then": {"properties": {"result": {"$ref": "#/$defs/result"}}},
    }
    return {
        "type": "object",
        "properties": {
            "invocation_id": {"type": "string"},
            "state": {"type": "string"},
            "result": {"type": "object", "properties": {"trigger_response": response}},
        },
        "required": ["invocation_id", "state", "result"],
        "$defs": {"result": schemas.moved(result_schema, "#/$defs/result")},
    }
