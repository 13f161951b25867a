"""The tool list as values."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.model.principal import Caller, Principal, Role
from mcp_server import tools
from tests.mcp_server import fake

OPERATIONS = {operation.name: operation for operation in fake.REGISTRY}
ALL = ("all",)
READER = dataclasses.replace(fake.CALLER, allow_write=False)


def listing(caller: Caller, triggers: int = 0, toolsets: tuple[str, ...] = ALL, most: int = 30) -> list[tools.Tool]:
    entries = [fake.trigger(f"t{n:04}") for n in range(triggers)]
    return tools.listing(OPERATIONS, entries, caller, fake.options(toolsets=toolsets, trigger_tools_max=most))


def names(caller: Caller, triggers: int = 0, toolsets: tuple[str, ...] = ALL, most: int = 30) -> list[str]:
    return [tool["name"] for tool in listing(caller, triggers, toolsets, most)]


def test_a_reader_sees_no_tool_that_changes_something_but_may_plan() -> None:
    assert names(READER) == ["catalog_search", "deployment_plan", "explain", "trigger_invocation_get"]


def test_a_plain_user_does_not_see_what_needs_an_administrator() -> None:
    user = Caller(Principal("bob", Role.USER))
    assert "deployment_apply" not in names(user)
    assert "deployment_apply" in names(fake.CALLER)


def test_toolsets_choose_groups_and_explain_is_always_there() -> None:
    assert names(fake.CALLER, toolsets=("jobs",)) == ["explain", "job_put"]


def test_an_unknown_toolset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(errors.InvalidParams) as fault:
        fake.options(toolsets=("catalog", "nope"))
    assert "nope" in fault.value.message
    assert "deployments" in fault.value.hint


def test_the_generic_invoke_appears_when_there_are_more_triggers_than_the_maximum() -> None:
    assert tools.GENERIC_INVOKE not in names(fake.CALLER, triggers=3, most=3)
    assert tools.GENERIC_INVOKE in names(fake.CALLER, triggers=4, most=3)


def test_lists_are_sorted_by_name() -> None:
    listed = names(fake.CALLER, triggers=40)
    assert listed == sorted(listed)


def test_all_four_hints_are_set_and_say_what_the_operation_does() -> None:
    listed = {t["name"]: t["annotations"] for t in listing(fake.CALLER)}
    assert listed["catalog_search"] == {
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": True,
        "openWorldHint": False,
    }
    assert listed["deployment_apply"]["destructiveHint"] is True
    assert listed["deployment_apply"]["readOnlyHint"] is False
    assert listed["job_put"]["idempotentHint"] is True


def test_in_a_session_that_cannot_write_planning_is_read_only() -> None:
    [plan] = [t for t in listing(READER) if t["name"] == "deployment_plan"]
    assert plan["annotations"]["readOnlyHint"] is True


def test_a_long_description_is_cut_to_two_kilobytes_without_breaking_a_character() -> None:
    tool = tools.trigger_tool(fake.trigger("t", description="ä" * 3000))
    assert len(tool["description"].encode()) <= 2048
    assert tool["description"].endswith("ä…")


def test_a_sound_header_annotation_stays_and_a_wrong_one_is_dropped() -> None:
    tool = tools.trigger_tool(fake.trigger("t", region={"type": "string", "x-mcp-header": "bad header"}))
    assert tool["inputSchema"]["properties"]["region"] == {"type": "string"}
    tool = tools.trigger_tool(fake.trigger("t", region={"type": "string", "x-mcp-header": "Region"}))
    assert tool["inputSchema"]["properties"]["region"] == {"type": "string", "x-mcp-header": "Region"}


def test_an_output_schema_with_demands_also_accepts_an_error() -> None:
    demanding = {"type": "object", "$defs": {"id": {"type": "string"}}, "required": ["id"]}
    assert tools.admitting_errors(demanding) == {
        "type": "object",
        "$defs": {"id": {"type": "string"}},
        "anyOf": [{"required": ["id"]}, {"required": ["error"]}],
    }
    open_one = {"type": "object", "properties": {"id": {"type": "string"}}}
    assert tools.admitting_errors(open_one) == open_one


def test_a_listed_schema_leaves_out_what_tells_a_model_nothing() -> None:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "$defs": {"Where": {"type": "object", "properties": {"on": {"default": False, "type": "boolean"}}}},
        "properties": {
            "name": {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}], "default": None},
            "at": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}], "default": None},
            "end": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": 5},
            "values": {"type": "object", "additionalProperties": True},
            "where": {"$ref": "#/$defs/Where", "default": {"on": False}, "description": "Where."},
        },
    }
    assert tools.brief(schema) == {
        "type": "object",
        "additionalProperties": False,
        "$defs": schema["$defs"],
        "properties": {
            "name": {"type": "string", "maxLength": 9},
            "at": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "end": schema["properties"]["end"],
            "values": {"type": "object"},
            "where": {"$ref": "#/$defs/Where", "description": "Where."},
        },
    }


@given(count=st.integers(0, 40), size=st.integers(200, 5000))
def test_walking_the_pages_gives_every_tool_once_in_order(count: int, size: int) -> None:
    listed = [tools.trigger_tool(fake.trigger(f"t{n:04}")) for n in range(count)]
    seen, cursor, first = [], None, True
    while first or cursor is not None:
        first = False
        page, cursor = tools.page(listed, cursor, size)
        assert len(page) > 0 or count == 0
        seen += page
    assert seen == listed


def test_a_walk_stays_whole_when_tools_come_and_go_between_pages() -> None:
    listed = [tools.trigger_tool(fake.trigger(f"t{n:04}")) for n in range(10)]
    page, cursor = tools.page(listed, None, 2000)
    rest = [t for t in listed if t not in page[-2:]]
    following, _ = tools.page(rest, cursor, 100_000)
    assert list(page) + list(following) == listed


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "YWZ0", "AAAA", "ä"])
def test_a_cursor_that_was_not_handed_out_is_refused(cursor: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        tools.page([], cursor, 1000)


def test_what_a_trigger_says_of_itself_is_visible_and_its_values_stay() -> None:
    hidden = "Run\u202e it\U000e0041\x1b[2J"
    kind = {"type": "string", "description": hidden, "enum": ["a\u200bb"]}
    tool = tools.trigger_tool({**fake.trigger("t", description=hidden, kind=kind), "title": hidden})
    shown = "Run\ufffd it\ufffd\ufffd[2J"
    assert tool["description"] == tool["title"] == shown
    assert tool["inputSchema"]["properties"]["kind"] == {"type": "string", "description": shown, "enum": ["a\u200bb"]}
