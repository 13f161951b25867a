"""`sluice catalog show`, and what `search` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from mcp_server.cli import connect, graphs, render

Type = Literal["workflow", "perspective", "blueprint", "job"]


def found(page: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Print the items that a search finds, and which portals could not be asked."""
    render.rows(
        page["items"],
        ("type", "slug", "version", "title", "source", "portal", "availability", "available_version", "tags"),
        empty="Nothing in the catalog fits.",
        more=page.get("next_cursor"),
    )
    for portal in page.get("portals", []):
        connect.note(f"portal {portal['name']} is {portal['state']}: {portal['message']}")


async def show(
    slug: str,
    /,
    *,
    type: Type | None = None,
    version: str | None = None,
    detail: Literal["concise", "detailed"] | None = None,
    graph: graphs.Format | None = None,
    document: Annotated[bool, Parameter(negative=())] = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Show one catalog item: its graph, its fields, where it came from, and how to go on.

    Parameters
    ----------
    slug
        The item.
    type
        Its type, when several items share the slug.
    version
        The version; without it, the latest.
    detail
        detailed also names the modules, and the items and deployments that use it.
    graph
        Print its graph instead: tree, mermaid or svg.
    document
        Print its document instead; of a library job, the job.
    """
    async with connect.engine(common) as engine:
        item = await engine.call("catalog_get", slug=slug, type=type, version=version, detail=detail)
    if graph is not None:
        graphs.show(item, graph)
        return 0
    if document:
        render.text(render.yaml(item["document"]))
        return 0
    if common.json:
        render.json(item)
        return 0
    facts = ("type", "slug", "version", "title", "summary", "availability", "available_version", "versions", "tags")
    render.facts({**item, **item["provenance"]}, (*facts, *item["provenance"]))
    graphs.tables(item.get("graph") or {})
    fields = ("field", "type", "required", "default", "title")
    render.section("Fields (give them with --set FIELD=VALUE)", item.get("wizard") or (), fields)
    render.section("Related", item.get("related") or (), ("relation", "type", "slug", "version", "title"))
    if detail == "detailed":
        render.heading("Use")
        render.facts(item, ("modules", "used_by", "deployments"))
    render.heading("Next")
    for step in item["next"]:
        render.text(f"{step['why']}\n  {step['command'] or step['operation']}")
        if not step["command"]:
            render.text(textwrap.indent(step["arguments"]["document"], "    "))
    return 0
