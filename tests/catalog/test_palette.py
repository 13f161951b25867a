"""What a workflow can be built of: every snippet is good as it stands, and every module can be used as it says."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import yaml

from core.catalog import builtin, items, palette
from core.catalog.collection import Collection
from core.model.catalog import MODELS, Dispatch, Transport
from core.model.transport import OPTIONS
from core.workflows import authoring, check, modules

BUILTIN = Collection(builtin.load())
NAMED = {one.name: one for one in palette.BUILTINS}


def faults(document: dict[str, Any]) -> set[str]:
    text = yaml.safe_dump({"kind": "workflow", "slug": "w", **document})
    return {fault.code for fault in check.check(authoring.read(text), modules.of(BUILTIN.entries)).faults}


def around(name: str) -> dict[str, Any]:
    """A workflow in which a snippet stands."""
    one = NAMED[name]
    written = yaml.safe_load("{" + one.write + "}")
    source: dict[str, Any] = {"id": "first", "use": "blueprint:echo-source@1.0.0", "out": "channel:events"}
    sink: dict[str, Any] = {"id": "last", "use": "blueprint:file-printer@1.0.0", "in": "channel:events"}
    if one.kind == "dispatch":
        sinks = [{**sink, "id": end, "in": f"channel:{end}"} for end in written["out"]]
        return {"steps": [{**source, **written}, *sinks]}
    if one.kind == "step":
        return {"kind": "perspective", "steps": [source, {"id": "last", "in": "channel:events", **written}]}
    if one.kind == "workflow":
        return {**written, "steps": [{**sink, "in": f"port:{written['ports']['in'][0]}"}]}
    more = written if "channels" in written else {**written, "channels": {"events": SPOOL}}
    return {**more, "steps": [source, sink]}


SPOOL = {"transport": "file-store", "with": {"path": "spool"}}


@pytest.mark.parametrize("name", [name for name, one in NAMED.items() if one.write])
def test_what_is_written_is_good_as_it_stands(name: str) -> None:
    assert faults(around(name)) == set()


def test_every_transport_and_every_dispatch_mode_is_there() -> None:
    kinds = {kind: {one.name for one in palette.BUILTINS if one.kind == kind} for kind in ("transport", "dispatch")}
    assert kinds["transport"] == {one.value for one in Transport}
    assert kinds["dispatch"] == set(get_args(Dispatch.model_fields["mode"].annotation))
    for transport, options in OPTIONS.items():
        settings = NAMED[transport.value].row()["settings"]
        assert settings == [name + ("" if option.required else "?") for name, option in options.items()]
    assert {"relay", "message edge", "slot", "port"} <= NAMED.keys()


def test_every_module_stands_once_sources_first_and_in_its_part() -> None:
    rows = palette.modules(BUILTIN.listed)
    blueprints = {one.ref for one in BUILTIN.listed if one.type.value == "blueprint"}
    assert {row["use"] for row in rows} == blueprints and len(rows) == len(blueprints)
    order = [("source", "transform", "sink", "whole").index(row["part"]) for row in rows]
    assert order == sorted(order) and set(order) == {0, 1, 2, 3}
    for part in get_args(palette.Part):
        assert palette.modules(BUILTIN.listed, part) == [row for row in rows if row["part"] == part]


def test_a_workflow_with_ports_is_a_module_and_says_how_they_are_called() -> None:
    inner = {
        "slug": "inner",
        "version": 3,
        "ports": {"in": ["lines"]},
        "wizard": [{"field": "path", "required": True}, {"field": "prefix", "default": "x"}],
        "steps": [{"id": "p", "use": "blueprint:file-printer@1.0.0", "in": "port:lines"}],
    }
    mine = items.entry(MODELS["workflow"].model_validate(inner))
    rows = palette.modules(Collection([*builtin.load(), mine]).listed, "sink")
    (row,) = [row for row in rows if row["use"] == "workflow:inner@3"]
    assert (row["in"], row["with"]) == (["lines"], ["path", "prefix?"])


def test_what_a_step_shall_do_finds_its_modules_best_first() -> None:
    assert palette.modules(BUILTIN.listed, query="dedupe")[0]["use"].startswith("blueprint:kv-dedupe@")
    assert palette.modules(BUILTIN.listed, "sink", "dedupe") == []
    echo = palette.modules(BUILTIN.listed, "source", "echo event zebra")[0]
    assert echo["lacks"] == ["zebra"] and any(one.startswith("event? (") for one in echo["with"])
    (command,) = [row for row in palette.modules(BUILTIN.listed) if "command-source" in row["use"]]
    assert command["needs"] == ["exec"]
