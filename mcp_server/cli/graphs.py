"""The graph of an item on the terminal: tables, a tree, Mermaid text or an SVG picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from mcp_server.cli import render

Format = Literal["svg", "mermaid", "tree"]
_MARKS = {"create": "+", "update": "~", "remove": "-", "move": ">"}


def show(item: dict[str, Any], format: Format) -> None:
    """Print the graph of an item of the catalog, for a file or another program."""
    from core.catalog import picture, svg  # not for those who print a tree beside a plan

    graph = item["graph"]
    title = f"{item['type']} {item['slug']} {item['version'] or 'draft'}"
    match format:
        case "svg":
            render.text(svg.svg(graph, title))
        case "mermaid":
            render.text(picture.mermaid(graph))
        case "tree":
            render.text("\n".join(tree(graph, title)))


def tables(graph: dict[str, Any]) -> None:
    """Print the graph as two tables."""
    if graph.get("nodes"):
        render.heading("Steps")
        render.rows(graph["nodes"], ("id", "use", "slot", "group", "replicas"), empty="")
    if graph.get("edges"):
        render.heading("Edges")
        render.rows(graph["edges"], ("from", "to", "kind", "channel", "output", "transport", "tag"), empty="")


def tree(graph: Mapping[str, Any], title: str, marks: Mapping[str, str] | None = None) -> list[str]:
    """The steps as lines of a tree, each below what feeds it; a step that several feed is drawn whole once.

    `marks` puts a sign before a step. Steps that only feed each other in a circle begin a tree of their own.
    """
    nodes = {node["id"]: node for node in graph.get("nodes", ())}
    edges = [edge for edge in graph.get("edges", ()) if edge["from"] in nodes and edge["to"] in nodes]
    drawn: set[str] = set()
    lines = [title]

    def draw(step: str, edge: Mapping[str, Any] | None, before: str, last: bool) -> None:
        sign = f"{marks.get(step, ' ')} " if marks is not None else ""
        use = nodes[step].get("use") or "(open)"
        line = f"{before}{'└─ ' if last else '├─ '}{_label(edge)}{sign}{step}  {use}{_placed(nodes[step])}"
        again = step in drawn and any(one["from"] == step for one in edges)
        lines.append(render.printable("", line + ("  (see above)" if again else "")))
        if step in drawn:
            return
        drawn.add(step)
        below = [one for one in edges if one["from"] == step]
        for one in below:
            draw(one["to"], one, before + ("   " if last else "│  "), one is below[-1])

    fed = {edge["to"] for edge in edges}
    roots = [step for step in nodes if step not in fed]
    for root in roots:
        draw(root, None, "", root == roots[-1] and _reaches(edges, roots, nodes))
    while rest := [step for step in nodes if step not in drawn]:
        draw(rest[0], None, "", True)
    return lines


def _reaches(edges: Iterable[Mapping[str, Any]], roots: Iterable[str], nodes: Mapping[str, Any]) -> bool:
    """Whether every step is fed, directly or not, by one of the roots."""
    seen = set(roots)
    while more := {edge["to"] for edge in edges if edge["from"] in seen} - seen:
        seen |= more
    return len(seen) == len(nodes)


def _label(edge: Mapping[str, Any] | None) -> str:
    if edge is None:
        return ""
    what = edge.get("channel") or edge.get("tag") or edge.get("output") or edge.get("kind") or ""
    return f"[{what}{', ' + edge['transport'] if edge.get('transport') else ''}] " if what else ""


def _placed(node: Mapping[str, Any]) -> str:
    group, replicas = node.get("group"), node.get("replicas") or 1
    return (f" in {group}" if group else "") + (f" x{replicas}" if replicas != 1 else "")


def marks(made: Mapping[str, Any]) -> dict[str, str]:
    """What a plan does to each step: + is new, ~ changes, > moves, = stays."""
    found: dict[str, str] = {}
    for change in made["changes"]:
        if change["kind"] == "job":
            step = str(change["id"]).removeprefix(f"{made['name']}--")
            found[step] = _MARKS.get(change["action"], "=")
    return found
