"""`sluice catalog search` and `show`."""

from __future__ import annotations

import textwrap
from typing import Annotated, Literal

from cyclopts import Parameter

from mcp_server.cli import connect, graphs, render

Type = Literal["workflow", "perspective", "blueprint", "job"]


async def search(
    query: str = "",
    /,
    *,
    type: Type | None = None,
    source: Literal["local", "builtin", "portal"] | None = None,
    availability: Literal["installed", "portal-only", "update-available"] | None = None,
    tag: Annotated[list[str] | None, Parameter(negative=())] = None,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Search the catalog.

    Parameters
    ----------
    query
        Words, or beginnings of words, in slugs, titles, summaries and tags; nothing lists everything.
    type
        Only items of this type.
    source
        Only items from here; local includes what comes with Sluice.
    availability
        Only items in this state.
    tag
        Only items with this tag; may be repeated.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        found = await engine.call(
            "catalog_search",
            query=query or None,
            type=type,
            source=source,
            availability=availability,
            tags=tag,
            limit=limit,
            cursor=cursor,
        )
    if common.json:
        render.json(found)
    else:
        render.rows(
            found["items"],
            ("type", "slug", "version", "title", "source", "portal", "availability", "available_version", "tags"),
            empty="Nothing in the catalog fits.",
            more=found.get("next_cursor"),
        )
        for portal in found.get("portals", []):
            connect.note(f"portal {portal['name']} is {portal['state']}: {portal['message']}")
    return 0


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
    if item.get("wizard"):
        render.heading("Fields (give them with --set FIELD=VALUE)")
        render.rows(item["wizard"], ("field", "type", "required", "default", "title"), empty="")
    if item.get("related"):
        render.heading("Related")
        render.rows(item["related"], ("relation", "type", "slug", "version", "title"), empty="")
    if detail == "detailed":
        render.heading("Use")
        render.facts(item, ("modules", "used_by", "deployments"))
    render.heading("Next")
    for step in item["next"]:
        render.text(f"{step['why']}\n  {step['command'] or step['operation']}")
        if not step["command"]:
            render.text(textwrap.indent(step["arguments"]["document"], "    "))
    return 0
