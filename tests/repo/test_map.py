"""A newcomer finds the way: every room says what it is for, and the map of the engine names all of it."""

from __future__ import annotations

import re
from pathlib import Path

import core
from core.operations import REGISTRY
from tests import sources
from tests.sources import ROOT

ROOMS = (
    *("core/deployments", "core/gitops", "core/guard", "core/catalog", "core/worker", "mcp_server/http"),
    *("core/store", "core/triggers", "core/fleet"),
    *(f"core/dsl/{room}" for room in ("language", "events", "connections", "files", "reference")),
)
"""Those whose docstring is a map of them."""


def test_every_room_and_every_module_says_what_it_is_for() -> None:
    assert [module.name for module in sources.product() if len(module.docstring) <= 20] == []


def test_the_map_of_the_engine_names_every_room_and_module() -> None:
    there = {path.stem for path in Path(core.__file__).parent.iterdir() if path.suffix == ".py" or path.is_dir()}
    words = set(re.findall(r"[a-z_]+", core.__doc__ or ""))
    assert there - {"__init__", "__pycache__"} - words == set()


def test_a_room_of_many_modules_names_each_of_them() -> None:
    docstrings = {module.name: module.docstring for module in sources.product()}
    missing = {}
    for room in ROOMS:
        modules = {path.stem for path in (ROOT / room).glob("*.py")} - {"__init__", "names", "installing", "kv"}
        missing[room] = modules - set(re.findall(r"[a-z_]+|__main__", docstrings[f"{room}/__init__.py"]))
    assert {room: names for room, names in missing.items() if names} == {}


def test_nothing_cites_a_text_that_readers_do_not_have() -> None:
    cites = re.compile(r"\(.*seed: [A-Z]|the seed\b|facts [A-Z][.][0-9]")
    assert [path for path in sources.files(*sources.PRODUCT) if cites.search(sources.text(path))] == []


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
        f"{module.name}: {imported}"
        for module in sources.product()
        for imported, names in module.imported
        if names and imported != "__future__" and not imported.startswith(("core", "mcp_server"))
        if any(part.startswith("_") for part in (*imported.split("."), *names))
    ]
    assert private == []


def test_no_function_is_called_by_a_word_that_says_nothing_of_it() -> None:
    """CONTRIBUTING.md, Names: what is answered, observed, explained or measured is called so."""
    empty = re.compile(r"_?(told|shown|look|made|there)")
    functions = [(module.name, function) for module in sources.product() for function in module.functions]
    assert len(functions) > 1000
    assert [found for found in functions if empty.fullmatch(found[1])] == []
