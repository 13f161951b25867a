"""The resources of the MCP server: an invocation is readable as `invocation://{invocation_id}`."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import orjson

from core import errors
from core.model.principal import Caller
from mcp_server.session import EngineSession

_INVOCATION = re.compile(r"invocation://([^/?#]{1,200})/?")

TEMPLATES: list[dict[str, Any]] = [
    {
        "uriTemplate": "invocation://{invocation_id}",
        "name": "invocation",
        "title": "Trigger invocation",
        "description": "The record of one run of a trigger: state, parameters, result, events.",
        "mimeType": "application/json",
    }
]


def invocation_uri(invocation_id: str) -> str:
    return f"invocation://{invocation_id}"


async def read(session: EngineSession, uri: str, caller: Caller) -> dict[str, Any]:
    """The contents of a resource, in the wire form of ReadResourceResult.

    Raises NotFound for a URI that names nothing this caller may see.
    """
    match = _INVOCATION.fullmatch(uri)
    if match is None:
        raise errors.NotFound(
            f"There is no resource {errors.shorten(uri)}.", hint="Resources are invocation://{invocation_id}."
        )
    record = await session.call("trigger_invocation_get", {"invocation_id": unquote(match[1])}, caller)
    text = orjson.dumps(record, option=orjson.OPT_INDENT_2, default=str).decode()
    return {"resultType": "complete", "contents": [{"uri": uri, "mimeType": "application/json", "text": text}]}
