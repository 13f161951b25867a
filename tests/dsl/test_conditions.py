"""Conditions: Lua's answer, whether Lua or Python works it out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dsl.component import Run
from core.dsl.events.codegen import Builder
from core.dsl.language import conditions
from tests import cases
from tests.dsl import stub
from tests.dsl.stub import Stub, run

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from(["", "a", "b", "1"])
)
OPERANDS = st.sampled_from(
    ["x", "y.z", "event.x", 'event["y"].z', "0", "1", "2.5", '"a"', "'b'", "true", "false", "nil"]
)
EXPRESSIONS = st.recursive(
    st.builds("{} {} {}".format, OPERANDS, st.sampled_from(["==", "~=", "<", ">", "<=", ">="]), OPERANDS) | OPERANDS,
    lambda inner: st.one_of(
        st.builds("({}) and ({})".format, inner, inner),
        st.builds("({}) or {}".format, inner, inner),
        st.builds("not ({})".format, inner),
        st.builds("not {}".format, inner),
    ),
    max_leaves=4,
)


def holds(text: str, event: dict[str, Any], inline: bool = True) -> bool | str:
    """What a condition says about an event; "failed" when it cannot be worked out."""
    code = Builder(Stub(), lambda text: None)
    outcome: list[str] = []

    def failed(error: BaseException, event: Any, run: Run) -> bool:
        outcome.append("failed")
        return False

    if inline:
        name = conditions.emit(text, code, failed)
    else:
        name = code.local()
        with code.block("try"):
            code.line(f"{name} = {conditions._emit_lua(conditions.parse(text), code)}")
        with code.block(f"except {code.bind(Exception)} as error"):
            code.line(f"{name} = {code.bind(failed)}(error, event, run)")
    body = ["    " + line for line, _ in code.lines] + [f"    return {name}"]
    answer = code.function("event, run", body, "test")(event, Run())
    return outcome[0] if outcome else answer


@settings(deadline=None)
@given(EXPRESSIONS, VALUES, VALUES)
def test_python_and_lua_agree(text: str, x: Any, z: Any) -> None:
    event = {"x": x, "y": {"z": z}}
    assert holds(text, event) == holds(text, event, inline=False)


@cases.table(
    ("text", "expected"),
    [
        ('level == "error"', True),
        ('type == "k"', True),
        ('type(n) == "number" and n % 5 == 0', True),
        ("2 * count()", True),
        ("count() == 1", True),
        ('event["odd name"] == 3', True),
        ("tags[1] == 'a' and #tags == 2", True),
        ("user.name:upper() == 'ADA'", True),
        ('matches(level, "^err")', True),
        ("not missing", True),
        ("missing.deeper == nil", True),
        ("zero", True),
        ("nothing", False),
        ("math.max(n, 3) == 10", True),
        ("event ~= nil and event.n == 10", True),
    ],
)
def test_fields_functions_and_truth_are_those_of_lua(text: str, expected: bool) -> None:
    event = {
        "level": "error", "type": "k", "n": 10, "odd name": 3, "tags": ["a", "b"], "user": {"name": "ada"}, "zero": 0,
        "nothing": None,
    }  # fmt: skip
    assert bool(run([event], {"filter": {"condition": text}})) is expected


@cases.table(
    ("text", "told"),
    [
        ("x = 1", "write =="),
        ("while true do end", "use the script action"),
        ("(function() end)()", "without 'function'"),
        ("cuont() > 1", "did you mean count"),
        ("os.exit()", "no function os.exit"),
        ("x ==", "not valid Lua"),
        ("x) or (true", "closes nothing"),
        ("", "empty"),
        ("x -- note", "comment"),
        ("x ! y", "not valid Lua"),
    ],
)
def test_a_condition_that_is_not_one_expression_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        conditions.parse(text)


def test_a_condition_that_fails_does_not_hold_and_is_told() -> None:
    env = Stub()
    kept = run([{"n": "text"}, {"n": 7}, {}], {"filter": {"condition": "n > 5"}}, env=env)
    assert kept == [{"n": 7}]
    assert "attempt to compare string with number" in env.lines[0][1]
    assert "attempt to compare nil with number" in env.lines[1][1]


@pytest.mark.parametrize("text", ["n > 5", "n > 5 and string.len(n) > 0"], ids=["python", "lua"])
def test_events_for_which_a_condition_fails_are_counted_once_and_are_no_errors(text: str) -> None:
    firing, events = Run(), [{"n": 1}, {}, {"n": "a"}, {"n": 7}]
    mark = {"add": {"condition": text, "output-fields": {"big": True}, "suppress-warnings": True}}
    assert len(run(events, mark, {"filter": {"condition": f"not ({text})"}}, firing=firing)) == 1
    assert (firing.conditions_failed, firing.errors) == (2, 0)


def test_a_condition_decides_whether_an_action_runs() -> None:
    add = {"add": {"condition": "n > 1", "output-fields": {"big": True}}}
    assert run([{"n": 1}, {"n": 2}], add) == [{"n": 1}, {"n": 2, "big": True}]
    always, never = {"condition": True, "output-fields": {"a": 1}}, {"condition": "false", "output-fields": {"b": 1}}
    assert run([{}], {"add": always}, {"add": never}) == [{"a": 1}]


def test_count_goes_on_over_batches_and_after_a_split() -> None:
    from core.dsl.language import compile as compiler
    from tests.dsl.stub import document

    split = {"script": {"code": "return array{{n = event.n}, {n = event.n}}"}}
    job = compiler.compile_job(document(split, {"filter": {"condition": "count() % 2 == 1"}}), Stub())
    firing = Run()
    assert stub.through(job, [{"n": 1}, {"n": 2}, {"n": 3}], firing) == [{"n": 1}, {"n": 1}, {"n": 3}, {"n": 3}]
    assert stub.through(job, [{"n": 4}, {"n": 5}], firing) == [{"n": 5}, {"n": 5}]
    assert firing.events_in == 5
