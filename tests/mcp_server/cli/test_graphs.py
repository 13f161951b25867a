"""Graphs as trees of text."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_server.cli import graphs


def graph(*edges: str, alone: str = "") -> dict[str, Any]:
    """A graph of edges like `a>b`."""
    pairs = [edge.split(">") for edge in edges]
    names = dict.fromkeys([*(name for pair in pairs for name in pair), *alone.split()])
    return {
        "nodes": [{"id": name, "use": f"blueprint:{name}@1", "group": None, "replicas": 1} for name in names],
        "edges": [{"from": a, "to": b, "kind": "channel", "channel": f"{a}{b}"} for a, b in pairs],
    }


@pytest.mark.parametrize(
    ("drawn", "lines"),
    [
        (
            graph("a>b", "b>c"),
            ["t", "└─ a  blueprint:a@1", "   └─ [ab] b  blueprint:b@1", "      └─ [bc] c  blueprint:c@1"],
        ),
        (
            graph("a>b", "a>c"),
            ["t", "└─ a  blueprint:a@1", "   ├─ [ab] b  blueprint:b@1", "   └─ [ac] c  blueprint:c@1"],
        ),
        (
            graph("a>c", "b>c", "c>d"),
            [
                "t",
                "├─ a  blueprint:a@1",
                "│  └─ [ac] c  blueprint:c@1",
                "│     └─ [cd] d  blueprint:d@1",
                "└─ b  blueprint:b@1",
                "   └─ [bc] c  blueprint:c@1  (see above)",
            ],
        ),
        (graph("a>b", "b>a"), ["t", "└─ a  blueprint:a@1", "   └─ [ab] b  blueprint:b@1"]),
        (graph(alone="x"), ["t", "└─ x  blueprint:x@1"]),
        (graph(), ["t"]),
    ],
)
def test_each_step_is_drawn_below_what_feeds_it(drawn: dict[str, Any], lines: list[str]) -> None:
    made = graphs.tree(drawn, "t")
    assert made[: len(lines)] == lines
    assert {line.removesuffix("  (see above)").rpartition(":")[2][0] for line in made[1:]} == {
        node["id"] for node in drawn["nodes"]
    }


def test_a_circle_beside_a_tree_is_drawn_too_and_ends() -> None:
    made = graphs.tree(graph("a>b", "c>d", "d>c"), "t")
    assert next(line for line in made if "blueprint:c@1" in line).startswith("└─ c")
    assert made[1].startswith("├─ a")


def test_signs_places_and_open_steps_are_shown() -> None:
    node = {"id": "s", "use": None, "group": "etl", "replicas": 3}
    assert graphs.tree({"nodes": [node], "edges": []}, "t", {"s": "+"}) == ["t", "└─ + s  (open) in etl x3"]


def test_a_plan_says_what_it_does_to_each_step() -> None:
    made = {
        "name": "orders",
        "changes": [
            {"kind": "job", "id": "orders--read", "action": "create"},
            {"kind": "job", "id": "orders--write", "action": "update"},
            {"kind": "transport", "id": "orders--read--x", "action": "create"},
        ],
    }
    assert graphs.marks(made) == {"read": "+", "write": "~"}
