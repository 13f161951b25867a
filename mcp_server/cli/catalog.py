"""`sluice catalog show`, and what `search` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, Literal

from mcp_server.cli import connect, graphs, render

Type = Literal["workflow", "perspective", "blueprint", "job"]


def found(page: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print the items that a search finds, and which portals could not be asked."""
    render.rows(
        page["items"],
        (
            *("type", "slug", "version", "title", "source", "portal", "availability", "available_version"),
            *("asks", "hops", "tags", "lacks"),
        ),
        empty="Nothing in the catalog fits.",
        more=page.get("next_cursor"),
    )
    if "note" in page:
        connect.note(page["note"])
    for portal in page.get("portals", []):
        connect.note(f"portal {portal['name']} is {portal['state']}: {portal['message']}")


_WHOLE = {"detail": "detailed"}


async def show(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Print one catalog item: its graph, its fields, where it came from, and how to go on."""
    async with connect.engine(common) as engine:
        asked = given if common.json and not beside.get("document") and "graph" not in beside else _WHOLE
        item = await engine.call("catalog_get", **{**given, **asked})
    if "graph" in beside:
        graphs.show(item, beside["graph"])
        return 0
    if beside.get("document"):
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
    render.section("Related", item.get("related") or (), ("relation", "item", "title"))
    render.section("What fits open steps", item.get("slots") or (), ("step", "fits", "hint"))
    if given.get("detail") == "detailed":
        render.heading("Use")
        render.facts(item, ("modules", "used_by", "deployments"))
    render.heading("Next")
    for step in item["next"]:
        render.text(f"{step['why']}\n  {step['command'] or step['operation']}")
        if not step["command"]:
            render.text(textwrap.indent(step["arguments"]["document"], "    "))
    return 0
