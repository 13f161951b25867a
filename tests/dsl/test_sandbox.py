"""The Lua sandbox: plain data in and out, and every call ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dsl.events.sandbox import Sandbox, ScriptError
from tests import cases

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)
BOX = Sandbox()
SAME = BOX.script("")


def run(code: str, event: dict[str, Any] | None = None) -> Any:
    return Sandbox(instructions=1_000_000).script(code)(1, {"a": 1} if event is None else event)


@settings(deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), JSON, max_size=4))
def test_an_event_that_is_not_changed_comes_back_equal(event: dict[str, Any]) -> None:
    back = SAME(1, event)
    assert back == event
    assert list(back) == list(event)


@cases.table(
    "name",
    ["os", "io", "debug", "require", "load", "loadstring", "dofile", "loadfile", "package", "python", "coroutine",
     "pcall",
     "xpcall", "setmetatable", "getmetatable", "rawget", "rawset", "collectgarbage", "print", "warn", "_G"],
)  # fmt: skip
def test_nothing_that_reaches_outside_is_there(name: str) -> None:
    assert run(f"event.found = ({name} ~= nil)")["found"] is False


@cases.table(
    "code",
    [
        "while true do end",
        "for i = 1, 1e18 do end",
        "goto x ::x:: goto x",
        "local function f() return f() end f()",
        "local function f() f() end f()",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} for i = 1, 1e18 do t[i] = i end",
        "return ('x'):rep(1e12)",
        "return (''):rep(1e15)",
        "return string.rep('a', 5000):find('a-a-a-a-b')",
        "return (('a'):rep(9000)):match('(a*)(a*)(a*)b')",
        "return table.unpack({}, 1, 1e9)",
        "table.sort({3, 1, 2}, function() while true do end end)",
        "return table.move({}, 1, 1e15, 2)",
        "return string.format('%99999999d', 1)",
        "local t = {} t.t = t return t",
        "return 1/0",
        "return {[true] = 1}",
        "return '\\xff'",
        "return event.a.b.c",
        "return matches('a', '(')",
        "error({})",
    ],
)
def test_a_hostile_script_ends_with_an_error(code: str) -> None:
    with pytest.raises(ScriptError):
        run(code)


def test_a_sandbox_works_on_after_a_script_used_up_its_budget() -> None:
    box = Sandbox(memory_mb=16, instructions=100_000)
    for code in ("while true do end", "local s = 'x' while true do s = s .. s end"):
        with pytest.raises(ScriptError):
            box.script(code)(1, {})
    assert box.script("event.ok = true")(1, {}) == {"ok": True}


def test_globals_of_one_call_are_gone_in_the_next() -> None:
    script = BOX.script("event.seen = leaked leaked = 1")
    assert script(1, {}) == {}
    assert script(1, {}) == {}


def test_long_use_of_one_state_does_not_use_up_the_budget() -> None:
    box = Sandbox(instructions=20_000)
    script = box.script("for i = 1, 1000 do event.n = i end")
    for _ in range(200):
        assert script(1, {})["n"] == 1000


def test_linear_time_patterns_are_there() -> None:
    assert run("event.ok = matches(('a'):rep(60) .. '!', '^(a+)+$')")["ok"] is False
    assert run("event.parts = {} for w in ('a b'):gmatch('%a+') do table.insert(event.parts, w) end")["parts"] == [
        "a",
        "b",
    ]


def test_syntax_errors_are_told_when_the_script_is_compiled() -> None:
    with pytest.raises(ValueError, match="script:1"):
        BOX.script("x = = 1")
