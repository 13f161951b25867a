"""A newcomer finds the way: every room says what it is for, and the map of the engine names all of it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import core
from core.operations import REGISTRY

ROOT = Path(__file__).parents[2]
MODULES = [path for top in ("core", "mcp_server") for path in sorted((ROOT / top).rglob("*.py"))]
ROOMS = [path for path in MODULES if path.name == "__init__.py"]


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.parent.relative_to(ROOT).as_posix())
def test_every_room_says_what_it_is_for(path: Path) -> None:
    assert len(docstring(path)) > 20


def test_every_module_says_what_it_is_for() -> None:
    assert [path.relative_to(ROOT).as_posix() for path in MODULES if len(docstring(path)) < 20] == []


def test_the_map_of_the_engine_names_every_room_and_module() -> None:
    there = {path.stem for path in Path(core.__file__).parent.iterdir() if path.suffix == ".py" or path.is_dir()}
    words = set(re.findall(r"[a-z_]+", core.__doc__ or ""))
    assert there - {"__init__", "__pycache__"} - words == set()


@pytest.mark.parametrize(
    "room",
    [
        *("core/deployments", "core/gitops", "core/guard", "core/catalog", "core/worker", "mcp_server/http"),
        *("core/store", "core/triggers", "core/fleet"),
        *(f"core/dsl/{room}" for room in ("language", "events", "connections", "files", "reference")),
    ],
)
def test_a_room_of_many_modules_names_each_of_them(room: str) -> None:
    there = {path.stem for path in (ROOT / room).glob("*.py")} - {"__init__", "names", "installing", "kv"}
    assert there - set(re.findall(r"[a-z_]+|__main__", docstring(ROOT / room / "__init__.py"))) == set()


def test_nothing_cites_a_text_that_readers_do_not_have() -> None:
    cites = re.compile(r"\(.*seed: [A-Z]|the seed\b|facts [A-Z][.][0-9]")
    found = [path.relative_to(ROOT).as_posix() for path in MODULES if cites.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_the_contract_of_the_verbs_names_each_of_them_and_they_stay_thin() -> None:
    """What declares operations calls rooms: no verb imports another one (.importlinter), and none holds the domain."""
    verbs = {path.stem: path for path in (ROOT / "core/operations").glob("*.py")}
    named = set(re.findall(r"core\.operations\.([a-z_]+)", (ROOT / ".importlinter").read_text(encoding="utf-8")))
    assert verbs.keys() - {"__init__", "registry", "losses"} - named == set()
    lines = {name: path.read_text(encoding="utf-8").count("\n") for name, path in verbs.items()}
    assert max(lines.values()) <= 300
    writing = [name for name, path in verbs.items() if "database.write(" in path.read_text(encoding="utf-8")]
    assert writing == ["activity"], "what changes something is done by a room"
    assert sum(lines.values()) <= 46 * sum(1 for _ in REGISTRY), (
        "lines for each verb, as many as they had when there were 109"
    )


def test_nothing_rests_on_what_is_private_of_another_package() -> None:
    private = [
        f"{path.relative_to(ROOT).as_posix()}: {node.module}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__"
        if not node.module.startswith(("core", "mcp_server"))
        if any(part.startswith("_") for part in (*node.module.split("."), *(name.name for name in node.names)))
    ]
    assert private == []


def test_no_function_is_called_by_a_word_that_says_nothing_of_it() -> None:
    """CONTRIBUTING.md, Names: what is answered, observed, explained or measured is called so."""
    empty = re.compile(r"_?(told|shown|look|made|there)")
    functions = [
        (path.relative_to(ROOT).as_posix(), node.name)
        for path in MODULES
        for top in ast.parse(path.read_text(encoding="utf-8")).body
        for node in (top.body if isinstance(top, ast.ClassDef) else [top])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(functions) > 1000
    assert [found for found in functions if empty.fullmatch(found[1])] == []
