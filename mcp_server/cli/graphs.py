"""The graph of an item on the terminal: tables, Mermaid text or an SVG picture."""

from __future__ import annotations

from typing import Any, Literal

from core.catalog import picture, svg
from mcp_server.cli import render

Format = Literal["svg", "mermaid"]


def show(item: dict[str, Any], format: Format) -> None:
    """Print the graph of an item of the catalog, for a file or another program."""
    graph = item["graph"]
    title = f"{item['type']} {item['slug']} {item['version'] or 'draft'}"
    render.text(svg.svg(graph, title) if format == "svg" else picture.mermaid(graph))


def tables(graph: dict[str, Any]) -> None:
    """Print the graph as two tables."""
    if graph.get("nodes"):
        render.heading("Steps")
        render.rows(graph["nodes"], ("id", "use", "slot", "group", "replicas"), empty="")
    if graph.get("edges"):
        render.heading("Edges")
        render.rows(graph["edges"], ("from", "to", "kind", "channel", "output", "transport", "tag"), empty="")
