"""What lasts as long as the engine goes through core.forever, which no fault ends: read off the source."""

from __future__ import annotations

import ast
from pathlib import Path

from tests import sources

CORE = Path(__file__).parents[2] / "core"
OTHERS = {"dsl", "worker"}  # rooms of the processes of workers, where the runtime takes the faults of a job
MAKERS = ("create_task", "ensure_future")
# A loop that is a task and ends with what it is about; it takes every fault of a round itself.
WITH_AN_END = {"deployments/rollout.py": {"_gate"}}


def _endless(function: ast.AsyncFunctionDef) -> bool:
    """Whether a coroutine goes round without a condition, and waits in doing so."""
    return any(
        isinstance(node, ast.While)
        and isinstance(node.test, ast.Constant)
        and any(isinstance(inner, ast.Await | ast.AsyncFor | ast.AsyncWith) for inner in ast.walk(node))
        for node in ast.walk(function)
    )


def _started(tree: ast.AST) -> set[str]:
    """The names of the coroutine functions that a module makes tasks of."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in MAKERS:
            for inner in ast.walk(node.args[0]):
                if isinstance(inner, ast.Call):
                    target = inner.func
                    found.add(target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", ""))
    return found


def test_no_task_of_the_engine_loops_but_through_forever() -> None:
    loose = []
    makers = {path: tree for word in MAKERS for path, tree in sources.trees(CORE, word=word)}
    for path, tree in sorted(makers.items()):
        room = path.relative_to(CORE)
        if room.parts[0] in OTHERS or room.name == "forever.py":
            continue
        started = _started(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.AsyncFunctionDef) and node.name in started and _endless(node):
                if node.name not in WITH_AN_END.get(str(room), set()):
                    loose.append(f"{room}: {node.name}")
    assert loose == []


def test_the_rule_sees_a_loop() -> None:
    tree = ast.parse("async def a(self):\n while True:\n  await b()\n\nasyncio.create_task(self.a())")
    function = tree.body[0]
    assert isinstance(function, ast.AsyncFunctionDef)
    assert _endless(function) and _started(tree) == {"a"}
