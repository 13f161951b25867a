"""The resources of the MCP server: `invocation://{invocation_id}`, and the schemas of documents as `schema://{kind}`."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import orjson

from core import errors
from core.catalog import schemas
from core.model.principal import Caller
from mcp_server.session import EngineSession

_INVOCATION = re.compile(r"invocation://([^/?#]{1,200})/?")
_SCHEMA = re.compile(r"schema://([a-z-]{1,40})/?")

TEMPLATES: list[dict[str, Any]] = [
    {
        "uriTemplate": "invocation://{invocation_id}",
        "name": "invocation",
        "title": "Trigger invocation",
        "description": "The record of one run of a trigger: state, parameters, result, events.",
        "mimeType": "application/json",
    },
    {
        "uriTemplate": "schema://{kind}",
        "name": "schema",
        "title": "Schema of a document",
        "description": f"The JSON Schema of one kind of document: {', '.join(schemas.KINDS)}.",
        "mimeType": "application/schema+json",
    },
]

SCHEMAS: list[dict[str, Any]] = [
    {
        "uri": f"schema://{kind}",
        "name": f"schema-{kind}",
        "title": f"Schema of a {kind}",
        "description": f"The JSON Schema (2020-12) of a {kind} document.",
        "mimeType": "application/schema+json",
    }
    for kind in schemas.KINDS
]


def invocation_uri(invocation_id: str) -> str:
    return f"invocation://{invocation_id}"


async def read(session: EngineSession, uri: str, caller: Caller) -> dict[str, Any]:
    """The contents of a resource, in the wire form of ReadResourceResult.

    Raises NotFound for a URI that names nothing this caller may see.
    """
    if (named := _SCHEMA.fullmatch(uri)) is not None:
        schema = await session.call("schema_get", {"kind": named[1]}, caller)
        contents = {"uri": uri, "mimeType": "application/schema+json", "text": orjson.dumps(schema).decode()}
        return {"resultType": "complete", "contents": [contents]}
    match = _INVOCATION.fullmatch(uri)
    if match is None:
        raise errors.NotFound(
            f"There is no resource {errors.shorten(uri)}.",
            hint="Resources are invocation://{invocation_id} and schema://{kind}.",
        )
    record = await session.call("trigger_invocation_get", {"invocation_id": unquote(match[1])}, caller)
    text = orjson.dumps(record, option=orjson.OPT_INDENT_2, default=str).decode()
    return {"resultType": "complete", "contents": [{"uri": uri, "mimeType": "application/json", "text": text}]}
