"""Golden checks of the real tool list: what a model has to read before it can do anything."""

from __future__ import annotations

import re

import jsonschema_rs
import orjson

from core.model.principal import Caller, Principal, Role
from core.operations import REGISTRY
from mcp_server import tools
from mcp_server.door import LOCAL
from mcp_server.session import Options
from tests import cases
from tests.mcp_server import fake

OPERATIONS = {operation.name: operation for operation in (*REGISTRY, *LOCAL)}
CHARACTERS_A_TOKEN = 4


def listed(*, allow_write: bool, triggers: int = 0, toolsets: tuple[str, ...] | None = None) -> list[tools.Tool]:
    caller = Caller(Principal("ada", Role.ADMIN), allow_write=allow_write)
    options = Options(caller, allow_write) if toolsets is None else Options(caller, allow_write, toolsets)
    return tools.listing(OPERATIONS, [fake.trigger(f"trigger_{n}") for n in range(triggers)], caller, options)


def tokens(listed: list[tools.Tool]) -> float:
    return len(orjson.dumps(listed)) / CHARACTERS_A_TOKEN


def test_a_read_only_session_costs_at_most_five_thousand_tokens() -> None:
    assert tokens(listed(allow_write=False)) <= 5_000


def test_a_writing_session_with_ten_triggers_costs_at_most_ten_thousand_tokens() -> None:
    assert tokens(listed(allow_write=True, triggers=10)) <= 10_000


def test_the_default_toolsets_have_at_most_twenty_five_fixed_tools() -> None:
    assert len(listed(allow_write=True)) <= 25


def test_a_read_only_session_with_the_default_toolsets_can_find_causes() -> None:
    names = {tool["name"] for tool in listed(allow_write=False)}
    assert names >= {"explain", "job_get", "job_log", "audit_list", "plan_list", "deployment_history"}


def test_every_tool_is_well_formed() -> None:
    hints = {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    with cases.every() as case:
        for tool in listed(allow_write=True, toolsets=("all",)):
            with case(tool["name"]):
                assert re.fullmatch(r"[a-z][a-z0-9_]*", tool["name"])
                assert len(tool["name"]) <= tools.NAME_MAX
                assert 20 <= len(tool["description"].encode()) <= tools.DESCRIPTION_BYTES
                assert not tool["description"].endswith("…"), "the description is too long and was cut"
                for schema in (tool["inputSchema"], tool.get("outputSchema", {"type": "object"})):
                    assert schema["type"] == "object"
                    jsonschema_rs.meta.validate(schema)
                assert set(tool["annotations"]) == hints
                for name, parameter in tool["inputSchema"].get("properties", {}).items():
                    assert "title" not in parameter, f"{name} repeats its name as a title"
