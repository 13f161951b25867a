"""The tool list as plain values: which operations a caller sees, in which form, on which page.

Which triggers are among them: core.triggers.tools. Everything here is pure; server.py asks the engine and speaks the
protocol.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from mcp.shared.inbound import find_invalid_x_mcp_header

from core.model.operation import FOR_PEOPLE, Effect, Operation
from core.model.principal import Caller
from core.model.results import schemas
from core.model.scopes import permits
from mcp_server import apps, results
from mcp_server.session import Options

Tool = dict[str, Any]
"""A tool in its wire form (camelCase keys)."""

GENERIC_INVOKE = "trigger_invoke"
ALWAYS = frozenset({"explain", "mcp_server_metrics"})
NAME_MAX = 64
DESCRIPTION_BYTES = 2048
_CURSOR_MARK = "after:"
_NULL = {"type": "null"}


def may_run(operation: Operation, caller: Caller) -> bool:
    """Whether the write gate lets this caller run the operation."""
    return caller.allow_write or not operation.gated or operation.effect is Effect.READ


def offered(operation: Operation, options: Options) -> bool:
    """Whether the operation is a tool of this server at all, listed or not."""
    return operation.tool and (operation.name in ALWAYS or any(map(options.offers, operation.toolsets)))


def visible(operation: Operation, caller: Caller, options: Options) -> bool:
    """Whether the operation is in this caller's list; the generic invoke is added by `listing`."""
    return (
        offered(operation, options)
        and operation.name != GENERIC_INVOKE
        and may_run(operation, caller)
        and operation.allows(caller.role)
        and permits(caller.principal.scopes, operation, None)
    )


def has(operations: Mapping[str, Operation], name: str, caller: Caller, options: Options) -> bool:
    """Whether this caller can call the operation of this name as a tool."""
    operation = operations.get(name)
    return operation is not None and visible(operation, caller, options)


def listing(
    operations: Mapping[str, Operation],
    triggers: Sequence[Mapping[str, Any]],
    caller: Caller,
    options: Options,
) -> list[Tool]:
    """Every tool of this caller, sorted by name; `triggers` is what the operation trigger_tools returned."""
    tools = [operation_tool(o, caller.allow_write) for o in operations.values() if visible(o, caller, options)]
    tools += map(trigger_tool, triggers)
    generic = operations.get(GENERIC_INVOKE)
    if len(triggers) > options.trigger_tools_max and generic is not None:
        tools.append(operation_tool(generic, caller.allow_write))
    return sorted(tools, key=lambda tool: str(tool["name"]))


def operation_tool(operation: Operation, allow_write: bool) -> Tool:
    """The tool of an operation.

    In a session that cannot write, every tool is read-only as a matter of fact, and says so.
    """
    tool = _tool(
        operation.name,
        operation.description,
        brief(operation.schema),
        schemas.outline(operation.result, operation.outline) if operation.outline else None,
        read_only=operation.effect is Effect.READ or not allow_write,
        destructive=operation.effect is Effect.DESTRUCTIVE,
        idempotent=operation.effect is Effect.READ or operation.idempotent,
        open_world=operation.open_world,
    )
    meta = apps.tool_meta(operation.name)
    return tool if meta is None else {**tool, "_meta": meta}


def brief(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an operation without what tells a model nothing: that null stands for an optional argument that is
    left out, the defaults of a definition beside its name, that more properties are allowed, as they always are, and
    arguments that are for people.

    What fits it fits the schema itself, which is what arguments are checked against.
    """

    def shorten(node: Any) -> Any:
        if isinstance(node, list):
            return [shorten(inner) for inner in node]
        if not isinstance(node, dict):
            return node
        kept = {
            key: inner
            for key, inner in node.items()
            if (key, inner) != ("additionalProperties", True) and not _for_people(inner)
        }
        if "default" in kept and (kept["default"] is None or "$ref" in kept):
            del kept["default"]
        choices = [choice for choice in kept.get("anyOf", ()) if choice != _NULL]
        if "default" in node and node["default"] is None and "anyOf" in kept:
            kept["anyOf"] = choices
            if len(choices) == 1:
                del kept["anyOf"]
                kept = {**choices[0], **kept}
        return {key: shorten(inner) for key, inner in kept.items()}

    return dict(shorten(schema))


def _for_people(node: Any) -> bool:
    return isinstance(node, dict) and FOR_PEOPLE.items() <= node.items()


def trigger_tool(trigger: Mapping[str, Any]) -> Tool:
    """The tool of a trigger, from one entry of trigger_tools."""
    hints = trigger.get("annotations") or {}
    tool = _tool(
        str(trigger["name"]),
        str(trigger.get("description") or trigger.get("title") or f"Run the trigger {trigger['slug']} now."),
        described(trigger["input_schema"]),
        trigger.get("output_schema"),
        read_only=bool(hints.get("read_only", False)),
        destructive=bool(hints.get("destructive", True)),
        idempotent=bool(hints.get("idempotent", False)),
        open_world=bool(hints.get("open_world", True)),
    )
    if "anyOf" in tool.get("outputSchema", {}):  # a result that was cut because it was too large is admitted as well
        tool["outputSchema"]["anyOf"].append({"required": ["truncated"]})
    if trigger.get("title"):
        tool["title"] = results.visible(str(trigger["title"]))
    return tool


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with visible titles and descriptions: a model reads them, and whoever approves a tool has to see the
    same. Everything else stays as it was published, because arguments are checked against it."""
    if results.cleaned(schema) is schema:
        return schema

    def clean(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                key: results.visible(value)
                if key in ("title", "description") and isinstance(value, str)
                else clean(value)
                for key, value in node.items()
            }
        return [clean(item) for item in node] if isinstance(node, list) else node

    shown: dict[str, Any] = clean(schema)
    return shown


def _tool(
    name: str,
    description: str,
    input_schema: Mapping[str, Any],
    output_schema: Mapping[str, Any] | None,
    *,
    read_only: bool,
    destructive: bool,
    idempotent: bool,
    open_world: bool,
) -> Tool:
    tool: Tool = {
        "name": name,
        "description": cut(results.visible(description), DESCRIPTION_BYTES),
        "inputSchema": with_sound_headers({"type": "object", **input_schema}),
        "annotations": {
            "readOnlyHint": read_only,
            "destructiveHint": destructive and not read_only,
            "idempotentHint": idempotent,
            "openWorldHint": open_world,
        },
    }
    if output_schema is not None:
        tool["outputSchema"] = admitting_errors(output_schema)
    return tool


def admitting_errors(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An outputSchema that also accepts `{"error": …}`.

    The TypeScript client (1.x) checks structuredContent against the schema even when the result is an error, so a
    schema that demands its keys would turn every tool error into a client exception.
    """
    schema = dict[str, Any]({"type": "object", **schema})
    if not schema.keys() & {"required", "additionalProperties", "anyOf", "oneOf", "allOf", "not", "minProperties"}:
        return schema
    inner = {key: value for key, value in schema.items() if key not in ("$defs", "$schema", "type")}
    outer: dict[str, Any] = {key: schema[key] for key in ("$schema", "type", "$defs") if key in schema}
    return {**outer, "anyOf": [inner, {"required": ["error"]}]}


def has_headers(schema: Mapping[str, Any]) -> bool:
    """Whether an argument of this schema is repeated as an HTTP header."""
    return b'"x-mcp-header"' in orjson.dumps(schema)


def with_sound_headers(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, without its `x-mcp-header` annotations when one of them is wrong: clients would drop the tool.

    What is published is checked; a trigger of an earlier version of Sluice may not be.
    """
    if not has_headers(schema) or find_invalid_x_mcp_header(schema) is None:
        return schema

    def strip(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: strip(value) for key, value in node.items() if key != "x-mcp-header"}
        return [strip(item) for item in node] if isinstance(node, list) else node

    stripped: dict[str, Any] = strip(schema)
    return stripped


def cut(text: str, limit: int) -> str:
    """The text, or its beginning in at most `limit` bytes of UTF-8."""
    raw = text.encode()
    return text if len(raw) <= limit else raw[: limit - 3].decode(errors="ignore") + "…"


def page(tools: Sequence[Tool], cursor: str | None, page_bytes: int) -> tuple[Sequence[Tool], str | None]:
    """The tools after `cursor`, as many as fit into `page_bytes`, and the cursor of the next page.

    A cursor names the last tool of its page, so a walk stays whole when tools come and go between two pages.
    Raises ValueError for a cursor that this function did not make.
    """
    start = 0
    if cursor is not None:
        last = _decode_cursor(cursor)
        start = next((i for i, tool in enumerate(tools) if tool["name"] > last), len(tools))
    size = 0
    for end in range(start, len(tools)):
        size += len(orjson.dumps(tools[end])) + 1
        if size > page_bytes and end > start:
            return tools[start:end], _encode_cursor(str(tools[end - 1]["name"]))
    return tools[start:], None


def _encode_cursor(name: str) -> str:
    return base64.urlsafe_b64encode((_CURSOR_MARK + name).encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> str:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise ValueError("not a cursor of this list") from error
    if not text.startswith(_CURSOR_MARK):
        raise ValueError("not a cursor of this list")
    return text.removeprefix(_CURSOR_MARK)
