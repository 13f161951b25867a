"""The resources of the MCP server: records of the engine by their names, schemas of documents, pages of the manual.

Records are read through the same operations, with the same rights, as the tools; a resource is never a way around.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import orjson

from core import errors
from core.catalog import schemas
from core.model.principal import Caller
from mcp_server import apps, manual, results
from mcp_server.session import EngineSession

JSON = "application/json"
SCHEMA = "application/schema+json"
MARKDOWN = "text/markdown"
MAX_BYTES = 512 * 1024
"""What a resource may hold; clients refuse events of 1 MiB."""


@dataclass(frozen=True)
class Kind:
    """A family of resources: a URI template, and the operation that reads one."""

    name: str
    template: str
    title: str
    description: str
    operation: str
    mime: str = JSON
    fixed: tuple[tuple[str, str], ...] = ()  # further arguments of the operation

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(re.findall(r"\{(\w+)\}", self.template))

    def arguments(self, uri: str) -> dict[str, str] | None:
        """The variables of the template, as this URI has them; None when it is none of this kind."""
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/?#]{1,200})", self.template)
        match = re.fullmatch(f"{pattern}/?", uri)
        return None if match is None else {name: unquote(value) for name, value in match.groupdict().items()}

    def uri(self, **variables: str) -> str:
        return self.template.format(**{name: quote(value, safe="") for name, value in variables.items()})


KINDS = (
    Kind(
        "catalog",
        "catalog://{type}/{slug}",
        "Catalog item",
        "One item of the catalog, newest version: document, graph, wizard fields, related items. type is workflow, "
        "perspective, blueprint or job.",
        "catalog_get",
        fixed=(("detail", "detailed"),),
    ),
    Kind(
        "deployment",
        "deployment://{name}",
        "Deployment",
        "A deployment as it is now: state, workloads, drift, health.",
        "deployment_get",
        fixed=(("detail", "detailed"),),
    ),
    Kind(
        "invocation",
        "invocation://{invocation_id}",
        "Trigger invocation",
        "The record of one run of a trigger: state, parameters, result, events.",
        "trigger_invocation_get",
    ),
    Kind(
        "schema",
        "schema://{kind}",
        "Schema of a document",
        f"The JSON Schema of one kind of document: {', '.join(schemas.KINDS)}.",
        "schema_get",
        SCHEMA,
    ),
    Kind(
        "workflow",
        "workflow://{slug}",
        "Workflow",
        "A workflow: its newest version, or the draft when nothing is published.",
        "workflow_get",
        fixed=(("detail", "detailed"),),
    ),
)
BY_NAME = {kind.name: kind for kind in KINDS}

TEMPLATES: list[dict[str, Any]] = [
    {
        "uriTemplate": kind.template,
        "name": kind.name,
        "title": kind.title,
        "description": kind.description,
        "mimeType": kind.mime,
    }
    for kind in KINDS
] + [
    {
        "uriTemplate": f"{manual.SCHEME}{{page}}",
        "name": "docs",
        "title": "Page of the manual",
        "description": f"A page of the manual: {', '.join(manual.pages())}.",
        "mimeType": MARKDOWN,
    }
]

FIXED: list[dict[str, Any]] = [
    *(
        {
            "uri": f"{manual.SCHEME}{page.name}",
            "name": f"docs-{page.name}",
            "title": page.title,
            "description": page.about,
            "mimeType": MARKDOWN,
            "size": len(page.text.encode()),
        }
        for page in manual.pages().values()
    ),
    *(
        {
            "uri": f"schema://{kind}",
            "name": f"schema-{kind}",
            "title": f"Schema of a {kind}",
            "description": f"The JSON Schema (2020-12) of a {kind} document.",
            "mimeType": SCHEMA,
        }
        for kind in schemas.KINDS
    ),
    *apps.resources(),
]
"""What resources/list shows: the things that are the same for everyone. Records are found by template."""


def invocation_uri(invocation_id: str) -> str:
    return BY_NAME["invocation"].uri(invocation_id=invocation_id)


def changed(topic: str, data: Mapping[str, Any]) -> list[str]:
    """The URIs of the resources that a notice of the engine is about."""
    match topic:
        case "invocation":
            return [invocation_uri(str(data.get("invocation_id")))]
        case "deployment":
            return [BY_NAME["deployment"].uri(name=str(data.get("name")))]
        case "workflow":
            kind, slug = str(data.get("type")), str(data.get("slug"))
            in_catalog = BY_NAME["catalog"].uri(type=kind, slug=slug)
            return [BY_NAME["workflow"].uri(slug=slug), in_catalog] if kind == "workflow" else [in_catalog]
    return []


async def standing(uri: str) -> dict[str, Any] | None:
    """The contents of a page, which needs no engine, in the same form; None for any other resource.

    Raises NotFound for a page that the manual does not have.
    """
    page = await apps.page(uri)
    if page is not None:
        return {"resultType": "complete", "contents": [page]}
    return _contents(uri, MARKDOWN, manual.page(uri).text) if uri.startswith(manual.SCHEME) else None


async def read(session: EngineSession, uri: str, caller: Caller) -> dict[str, Any]:
    """The contents of a resource, in the wire form of ReadResourceResult.

    Raises NotFound for a URI that names nothing this caller may see.
    """
    page = await standing(uri)
    if page is not None:
        return page
    found = _record(uri)
    if found is not None:
        kind, arguments = found
        return _contents(uri, kind.mime, as_text(await session.call(kind.operation, arguments, caller)))
    raise errors.NotFound(
        f"There is no resource {errors.shorten(uri)}.",
        hint=f"Resources are {', '.join(kind.template for kind in KINDS)} and docs://{{page}}.",
    )


def _record(uri: str) -> tuple[Kind, dict[str, str]] | None:
    """The kind of record that a URI names, and the arguments of the operation that reads it."""
    for kind in KINDS:
        arguments = kind.arguments(uri)
        if arguments is not None:
            return kind, {**arguments, **dict(kind.fixed)}
    return None


async def check_followed(session: EngineSession, uris: Iterable[str], caller: Caller) -> None:
    """Raise what reading these resources would be refused with. What is not there yet can be followed, too.

    One of each kind is read: to whom a kind is open does not depend on which one it is; of which one somebody hears is
    decided with each notice.
    """
    found = [record for uri in uris if (record := _record(uri)) is not None]
    for kind, arguments in {kind.name: (kind, arguments) for kind, arguments in found}.values():
        try:
            await session.call(kind.operation, arguments, caller)
        except (errors.NotFound, errors.InvalidParams):
            continue


def as_text(record: dict[str, Any], limit: int = MAX_BYTES) -> str:
    """A record as JSON text of at most about `limit` bytes."""
    kept = results.sound(record, limit)
    return orjson.dumps(kept, option=orjson.OPT_INDENT_2, default=str).decode()


def _contents(uri: str, mime: str, text: str) -> dict[str, Any]:
    return {"resultType": "complete", "contents": [{"uri": uri, "mimeType": mime, "text": text}]}
