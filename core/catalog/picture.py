"""The graph of an item as nodes and edges, and as Mermaid text, for people and programs that draw it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.model.catalog import Blueprint, Perspective, Ports, Workflow

if TYPE_CHECKING:
    from core.model.results import workflows

MOST_NODES = 200  # of a graph as text
MOST_EDGES = 100  # of one channel, drawn each from a producer to a consumer
_End = tuple[str, dict[str, str]]

Graph = dict[str, list[Any]]
"""`nodes` (each with an `id`) and `edges` (each with `kind`, `from`, `to`)."""


def drawing(document: Any) -> workflows.Graph:
    """The graph of a document as nodes, edges and, when it is not too large to read, Mermaid text; of what has no graph
    (a library job, a draft that cannot be mended) an empty one."""
    if not isinstance(document, Blueprint | Workflow | Perspective):
        return {"nodes": [], "edges": [], "mermaid": ""}
    graph = picture(document)
    nodes, edges = graph["nodes"], graph["edges"]
    return {"nodes": nodes, "edges": edges, "mermaid": mermaid(graph) if len(nodes) <= MOST_NODES else ""}


def picture(document: Blueprint | Workflow | Perspective) -> Graph:
    """The graph as nodes and edges, for people and programs that draw it."""
    if isinstance(document, Blueprint):
        return _blueprint_picture(document)
    nodes: list[dict[str, Any]] = [
        {
            "id": step.id,
            "use": step.use,
            "slot": step.slot.model_dump() if step.slot else None,
            "group": step.placement.group if step.placement else None,
            "replicas": step.replicas,
        }
        for step in document.steps
    ]
    nodes += [{"id": f"port:{port}", "port": side} for side, port in _ports(document.ports)]
    ends: dict[str, tuple[list[_End], list[_End]]] = {name: ([], []) for name in document.channels}
    edges: list[dict[str, Any]] = []
    for step in document.steps:
        for binding, side in ((step.out, 0), (step.in_, 1)):
            named = {"": binding} if isinstance(binding, str) else binding or {}
            for output, end in named.items():
                more = {"output": output} if side == 0 and step.dispatch is not None and output else {}
                kind, _, name = end.partition(":")
                if kind == "port":
                    there = (step.id, end) if side == 0 else (end, step.id)
                    edges.append({"kind": "port", "from": there[0], "to": there[1], **more})
                else:
                    ends.setdefault(name, ([], []))[side].append((step.id, more))
    for name, (producers, consumers) in ends.items():
        transport = document.channels[name].transport.value if name in document.channels else "worker-channel"
        about = {"channel": name, "transport": transport}
        if len(producers) * len(consumers) > MOST_EDGES:  # through a node of its own: as many edges as ends
            hub = f"channel:{name}"
            nodes.append({"id": hub, "channel": name})
            edges += [{"kind": "channel", "from": one, "to": hub, **about, **more} for one, more in producers]
            edges += [{"kind": "channel", "from": hub, "to": other, **about} for other, _ in consumers]
            continue
        edges += [
            {"kind": "channel", "from": producer, "to": consumer, **about, **more}
            for producer, more in producers
            for consumer, _ in consumers
        ]
    edges += [{"kind": "message", "from": edge.from_, "to": edge.to, "tag": edge.tag} for edge in document.messages]
    return {"nodes": nodes, "edges": edges}


def _blueprint_picture(blueprint: Blueprint) -> Graph:
    nodes: list[dict[str, Any]] = [{"id": str(job.get("name", "")), "job": True} for job in blueprint.jobs]
    nodes += [{"id": f"port:{port}", "port": side} for side, port in _ports(blueprint.ports)]
    edges: list[dict[str, Any]] = []
    inner: dict[str, tuple[list[str], list[str]]] = {}
    for job in blueprint.jobs:
        name = str(job.get("name", ""))
        for key, side in (("output", 0), ("input", 1)):
            end = job.get(key)
            if not isinstance(end, dict):
                continue
            if "port" in end:
                ends = (name, f"port:{end['port']}") if side == 0 else (f"port:{end['port']}", name)
                edges.append({"kind": "port", "from": ends[0], "to": ends[1]})
            elif "channel" in end:
                inner.setdefault(str(end["channel"]), ([], []))[side].append(name)
    edges += [
        {"kind": "channel", "from": producer, "to": consumer, "channel": name, "transport": "worker-channel"}
        for name, (producers, consumers) in inner.items()
        for producer in producers
        for consumer in consumers
    ]
    return {"nodes": nodes, "edges": edges}


def _ports(ports: Ports) -> list[tuple[str, str]]:
    return [*(("in", port) for port in ports.in_), *(("out", port) for port in ports.out)]


def mermaid(graph: Mapping[str, Any]) -> str:
    """The graph as a Mermaid flowchart; texts are escaped, so that nothing in a document can add to it."""
    ids = {node["id"]: f"n{number}" for number, node in enumerate(graph["nodes"])}
    lines = ["flowchart LR"]
    for node in graph["nodes"]:
        left, right = ("([", "])") if "port" in node else ("{{", "}}") if node.get("slot") else ("[", "]")
        lines.append(f'  {ids[node["id"]]}{left}"{_quoted(label(node))}"{right}')
    for edge in graph["edges"]:
        if edge["from"] in ids and edge["to"] in ids:
            arrow = "-.->" if edge["kind"] == "message" else "-->"
            text = edge_label(edge)
            middle = f'|"{_quoted(text)}"|' if text else ""
            lines.append(f"  {ids[edge['from']]} {arrow}{middle} {ids[edge['to']]}")
    return "\n".join(lines) + "\n"


def label(node: Mapping[str, Any]) -> str:
    """What is written in a box: the id, and what the step is bound to."""
    slot = node.get("slot")
    bound = node.get("use") or (f"open slot: {slot['accepts']}" if slot else "")
    return f"{node['id']}\n{bound}" if bound else str(node["id"])


def edge_label(edge: Mapping[str, Any]) -> str:
    """What is written at an arrow: the channel, with its transport when it is durable, or the tag of the message."""
    if edge["kind"] == "message":
        return str(edge["tag"])
    name = " / ".join(dict.fromkeys(filter(None, (edge.get("channel", ""), edge.get("output", "")))))  # one, if equal
    return name if edge.get("transport", "worker-channel") == "worker-channel" else f"{name} ({edge['transport']})"


def _quoted(text: str) -> str:
    """Mermaid text inside double quotes: everything but plain characters as an entity."""
    return re.sub(r"[^\w .:,/@()+=-]", lambda found: "<br/>" if found[0] == "\n" else f"#{ord(found[0])};", text)
