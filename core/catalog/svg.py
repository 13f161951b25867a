"""The graph of an item as an SVG picture: layers from left to right, no scripts, every text escaped. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.sax import saxutils

from core.catalog import picture
from core.errors import shorten

WIDTH, HEIGHT = 200, 48  # of a box
ACROSS, DOWN, MARGIN = 90, 24, 20
MOST = 1000  # boxes; a picture of more helps nobody
_STYLE = (
    "svg{background:#fff;font:12px ui-sans-serif,system-ui,sans-serif}"
    "rect{fill:#eef3fb;stroke:#4a6fa5;stroke-width:1.2}.slot{fill:#fff7e0;stroke:#c08a00;stroke-dasharray:5 3}"
    ".port{fill:#f3f3f3;stroke:#777}text{fill:#1b1f24}.bound,.name{font-size:10px;fill:#57606a}"
    ".name{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}"
    "path{fill:none;stroke:#4a6fa5;stroke-width:1.3}.durable{stroke-width:2.6}"
    ".message{stroke:#a0522d;stroke-dasharray:4 3}"
)
_ARROW = (
    '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0L8 4L0 8z" style="fill:#4a6fa5;stroke:none"/></marker></defs>'
)


def svg(graph: Mapping[str, Any], title: str = "") -> str:
    """Draw `nodes` and `edges` as `core.catalog.picture` gives them."""
    nodes = list({node["id"]: node for node in graph["nodes"][:MOST]}.values())
    known = {node["id"] for node in nodes}
    edges = [edge for edge in graph["edges"] if edge["from"] in known and edge["to"] in known]
    layers = columns([node["id"] for node in nodes], [edge for edge in edges if edge["kind"] != "message"])
    places = {
        id: (MARGIN + x * (WIDTH + ACROSS), MARGIN + y * (HEIGHT + DOWN))
        for x, column in enumerate(layers)
        for y, id in enumerate(column)
    }
    width = 2 * MARGIN + len(layers) * (WIDTH + ACROSS) - ACROSS
    height = 2 * MARGIN + max((len(column) for column in layers), default=1) * (HEIGHT + DOWN) - DOWN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' role="img">',
        f"<title>{_safe(title)}</title><style>{_STYLE}</style>{_ARROW}",
        *(_line(edge, places) for edge in edges),
        *(_name(edge, edges, places) for edge in edges if picture.edge_label(edge)),
        *(_box(node, *places[node["id"]]) for node in nodes),
    ]
    if len(graph["nodes"]) > MOST:
        lines.append(f'<text x="{MARGIN}" y="14">The first {MOST} of {len(graph["nodes"])} steps.</text>')
    return "\n".join([*lines, "</svg>\n"])


def columns(ids: list[str], edges: list[Mapping[str, Any]]) -> list[list[str]]:
    """Each node one column behind the last of those before it; within a column near those before it.

    What is on a circle stays where it was reached first, so that a draft with a circle can be drawn too.
    """
    after: dict[str, list[str]] = {id: [] for id in ids}
    before: dict[str, list[str]] = {id: [] for id in ids}
    for edge in edges:
        if edge["from"] != edge["to"]:
            after[edge["from"]].append(edge["to"])
            before[edge["to"]].append(edge["from"])
    column = dict.fromkeys(ids, 0)
    waits = {id: len(before[id]) for id in ids}
    ready = [id for id in ids if not waits[id]]
    for id in ready:  # grows while it is walked (Kahn)
        for target in after[id]:
            column[target] = max(column[target], column[id] + 1)
            waits[target] -= 1
            if not waits[target]:
                ready.append(target)
    found: list[list[str]] = [[] for _ in range(max(column.values(), default=0) + 1)]
    for id in ids:
        found[column[id]].append(id)
    row: dict[str, float] = {}
    for members in found:
        order = {id: number for number, id in enumerate(members)}
        near = {id: [row[source] for source in before[id] if source in row] for id in members}
        members.sort(key=lambda id: (sum(near[id]) / len(near[id]) if near[id] else order[id], order[id]))
        row.update({id: float(number) for number, id in enumerate(members)})
    return found


def _box(node: Mapping[str, Any], x: int, y: int) -> str:
    kind = "port" if "port" in node else "slot" if node.get("slot") else "step"
    name, _, bound = picture.label(node).partition("\n")
    replicas = f" x{node['replicas']}" if node.get("replicas", 1) > 1 else ""
    middle = y + (20 if bound else 28)
    second = f'<text class="bound" x="{x + 10}" y="{y + 36}">{_safe(shorten(bound, 34))}</text>' if bound else ""
    return (
        f'<g><title>{_safe(picture.label(node))}</title><rect class="{kind}" x="{x}" y="{y}" width="{WIDTH}"'
        f' height="{HEIGHT}" rx="6"/><text x="{x + 10}" y="{middle}">{_safe(shorten(name, 26))}{replicas}</text>'
        f"{second}</g>"
    )


def _ends(edge: Mapping[str, Any], places: Mapping[str, tuple[int, int]]) -> tuple[int, int, int, int]:
    (x1, y1), (x2, y2) = places[edge["from"]], places[edge["to"]]
    return x1 + WIDTH, y1 + HEIGHT // 2, x2, y2 + HEIGHT // 2


def _line(edge: Mapping[str, Any], places: Mapping[str, tuple[int, int]]) -> str:
    x1, y1, x2, y2 = _ends(edge, places)
    bend = max(ACROSS // 2, abs(x2 - x1) // 2)
    durable = edge.get("transport", "worker-channel") != "worker-channel"
    kind = "message" if edge["kind"] == "message" else "durable" if durable else "channel"
    curve = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    return f'<path class="{kind}" d="{curve}" marker-end="url(#a)"/>'


def _name(edge: Mapping[str, Any], edges: list[Mapping[str, Any]], places: Mapping[str, tuple[int, int]]) -> str:
    """The name of a line at its middle; where lines part, at its own end, so that names do not cover each other."""
    x1, y1, x2, y2 = _ends(edge, places)
    parts = sum(other["from"] == edge["from"] for other in edges) > 1
    anchor, x, y = ("end", x2 - 12, y2 - 6) if parts else ("middle", (x1 + x2) // 2, (y1 + y2) // 2 - 4)
    name = _safe(shorten(picture.edge_label(edge), 22))
    return f'<text class="name" text-anchor="{anchor}" x="{x}" y="{y}">{name}</text>'


def _safe(text: str) -> str:
    """Text as XML: escaped, without the characters that XML does not have."""
    return saxutils.escape(re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", " ", text))
