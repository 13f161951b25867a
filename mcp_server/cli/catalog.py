"""`sluice catalog`: search and show."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from mcp_server.cli import connect, graphs, render

Type = Literal["workflow", "perspective", "blueprint", "job"]


async def search(
    query: str = "",
    /,
    *,
    type: Type | None = None,
    tag: Annotated[list[str] | None, Parameter(negative=())] = None,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Search the catalog.

    Parameters
    ----------
    query
        Words to look for in slugs, titles and summaries; nothing lists everything.
    type
        Only items of this type.
    tag
        Only items with this tag; may be repeated.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        found = await engine.call(
            "catalog_search", query=query or None, type=type, tags=tag, limit=limit, cursor=cursor
        )
    if common.json:
        render.json(found)
    else:
        render.rows(
            found["items"],
            ("type", "slug", "version", "title", "source", "tags"),
            empty="Nothing in the catalog fits.",
            more=found.get("next_cursor"),
        )
    return 0


async def show(
    slug: str,
    /,
    *,
    type: Type | None = None,
    version: str | None = None,
    graph: graphs.Format | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Show one catalog item, its graph and its fields.

    Parameters
    ----------
    slug
        The item.
    type
        Its type, when several items share the slug.
    version
        The version; without it, the latest.
    graph
        Print its graph instead: svg or mermaid.
    """
    async with connect.engine(common) as engine:
        item = await engine.call("catalog_get", slug=slug, type=type, version=version)
    if graph is not None:
        graphs.show(item, graph)
        return 0
    if common.json:
        render.json(item)
        return 0
    render.facts(item, ("type", "slug", "version", "title", "summary", "source", "tags"))
    graphs.tables(item.get("graph") or {})
    if item.get("wizard"):
        render.heading("Fields (give them with --set FIELD=VALUE)")
        render.rows(item["wizard"], ("field", "type", "required", "default", "title"), empty="")
    if item.get("related"):
        render.heading("Related")
        render.rows(item["related"], ("type", "slug", "version", "title"), empty="")
    return 0
