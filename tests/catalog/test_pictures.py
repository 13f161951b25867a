"""Graphs as Mermaid text and as SVG: complete, well-formed, and with nothing in them that a document smuggled in."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st

from core import documents
from core.catalog import builtin, picture, svg
from core.model.catalog import Blueprint, Graph, Workflow

NAMESPACE = "{http://www.w3.org/2000/svg}"
EVIL = '"]; click n0 "javascript:alert(1)" <script>alert(1)</script> </svg>'


def workflow(text: str) -> Workflow:
    return documents.check(documents.load(text)[0], Workflow)


SPREAD = workflow(
    """
kind: workflow
slug: w
channels: {b: {transport: file-store, with: {path: /x}}}
ports: {in: [events]}
steps:
  - id: a
    use: "blueprint:pass@1.0.0"
    in: port:events
    out: {errors: "channel:a", rest: "channel:b"}
    dispatch: {mode: conditional, field: level, routes: {error: errors}, default: rest}
  - {id: x, use: "blueprint:file-printer@1.0.0", in: channel:a}
  - {id: y, use: "blueprint:file-printer@1.0.0", in: channel:b}
messages: [{from: a, to: y, tag: go}]
"""
)


def test_outputs_ports_and_messages_are_in_the_picture() -> None:
    drawn = picture.picture(SPREAD)
    assert [node["id"] for node in drawn["nodes"]] == ["a", "x", "y", "port:events"]
    said = [(edge["kind"], edge["from"], edge["to"], edge.get("output")) for edge in drawn["edges"]]
    assert said == [
        ("port", "port:events", "a", None),
        ("channel", "a", "y", "rest"),
        ("channel", "a", "x", "errors"),
        ("message", "a", "y", None),
    ]


def test_the_mermaid_text_has_a_line_for_every_node_and_edge() -> None:
    drawn = picture.picture(SPREAD)
    lines = picture.mermaid(drawn).splitlines()
    assert lines[0] == "flowchart LR"
    assert len(lines) == 1 + len(drawn["nodes"]) + len(drawn["edges"])
    assert '  n0 -.->|"go"| n2' in lines


def test_everything_that_comes_with_sluice_can_be_drawn() -> None:
    for one in builtin.load():
        if isinstance(one.model, Graph | Blueprint):
            drawn = picture.picture(one.model)
            root = ElementTree.fromstring(svg.svg(drawn, one.title))
            assert len(root.findall(f".//{NAMESPACE}rect")) == len(drawn["nodes"])


@given(st.text(max_size=40))
def test_no_text_of_a_document_becomes_markup(text: str) -> None:
    for said in (text, EVIL + text):
        graph = {
            "nodes": [{"id": said, "use": said}, {"id": "b"}],
            "edges": [{"kind": "message", "from": said, "to": "b", "tag": said}],
        }
        root = ElementTree.fromstring(svg.svg(graph, said))
        tags = {child.tag.removeprefix(NAMESPACE) for child in root.iter()}
        assert tags == {"svg", "title", "style", "defs", "marker", "path", "g", "rect", "text"}
        mermaid = picture.mermaid(graph)
        assert len(mermaid.splitlines()) == 4
        assert "<script" not in mermaid
        assert mermaid.count('"') == 2 * (2 + bool(said))


def test_a_draft_with_a_circle_can_be_drawn() -> None:
    graph = {
        "nodes": [{"id": "a"}, {"id": "b"}],
        "edges": [{"kind": "channel", "from": a, "to": b} for a, b in ("ab", "ba", "aa")],
    }
    assert svg.svg(graph).count("<rect") == 2


def test_a_large_graph_is_drawn_in_part_and_in_time() -> None:
    steps = [{"id": f"s{n}", "use": "blueprint:echo-source@1.0.0", "out": "channel:c"} for n in range(5_000)]
    steps += [{"id": f"p{n}", "use": "blueprint:file-printer@1.0.0", "in": "channel:c"} for n in range(5_000)]
    started = time.process_time()
    drawn = picture.picture(Workflow.model_validate({"slug": "w", "steps": steps}))
    assert len(drawn["edges"]) == 10_000
    assert svg.svg(drawn).count("<rect") == svg.MOST
    assert time.process_time() - started < 20
