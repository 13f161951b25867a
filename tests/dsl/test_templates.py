"""Templates: one pass over data, never more."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dsl.component import Run
from core.dsl.events import select
from core.dsl.language import schedule, templates
from core.errors import InvalidDocument
from tests import cases
from tests.dsl.stub import Stub

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab${}@|/.", max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["a", "b", "c"])
HOSTILE = st.sampled_from(["${a}", "@{job}", "{{a}}", "${secret|x}", "}", "${", "$${a}", "plain", "é", ""])
PIECES = st.one_of(
    NAMES.map(lambda name: f"${{{name}}}"),
    NAMES.map(lambda name: f"${{{name}||none}}"),
    st.text("xyz @#-", max_size=5),
    st.just("@{job}"),
)


def render(text: str, event: dict[str, Any], run: Run | None = None, env: Stub | None = None) -> str:
    return templates.template(text, env or Stub())(event, run or Run())


def reference(text: str, event: dict[str, Any]) -> str:
    """The rule again, as one pass of one regular expression."""

    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return match[1] + "{"
        if match[2]:
            return "handler"
        name, fallback = match[3], match[4]
        value = event.get(name, select.MISSING)
        if value is select.MISSING or (value is None and fallback is not None):
            return fallback or ""
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    return re.sub(r"([@$#])\1\{|@\{(job)\}|\$\{([abc])(?:\|\|(none))?\}", replace, text)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=6).map("".join), st.dictionaries(NAMES, HOSTILE | JSON, max_size=3))
def test_expansion_is_one_pass_over_data(text: str, event: dict[str, Any]) -> None:
    assert render(text, event) == reference(text, event)


@pytest.mark.soak
@settings(deadline=None, max_examples=20_000)
@given(st.lists(PIECES, max_size=6).map("".join), st.dictionaries(NAMES, HOSTILE | JSON, max_size=3))
def test_twenty_thousand_expansions_are_one_pass_over_data(text: str, event: dict[str, Any]) -> None:
    assert render(text, event) == reference(text, event)


@settings(deadline=None)
@given(st.dictionaries(NAMES, HOSTILE | JSON))
def test_staging_is_one_pass_over_data(context: dict[str, Any]) -> None:
    document = {
        "whole": {name: f"{{{{{name}}}}}" for name in context},
        "text": "".join(f"<{{{{{n}}}}}>" for n in context),
    }
    staged = templates.stage(document, context)
    assert staged["whole"] == context
    assert staged["text"] == "".join(f"<{templates.text_of(value)}>" for value in context.values())


@cases.table(
    ("text", "expected"),
    [
        ("${a.b}", "1"),
        ("${a/b}", "1"),
        ("${/a/b}", "1"),
        ("${/x.y}", "dotted"),
        ("${list.1}", "two"),
        ("${nothing||$${not expanded}}", "${not expanded}"),
        ("${nothing||a @@{job} $$ {}}", "a @{job} $$ {}"),
        ("${nothing||{}}", "{}"),
        ("${null||d}", "d"),
        ("${null}", "null"),
        ("${a}", '{"b":1}'),
        ("${big}", "1739370000000000001"),
        ("${yes}", "true"),
        ("$${a} @@{job} ##{msg|x}", "${a} @{job} #{msg|x}"),
        ("@{job}/@{worker}/@{tenant}", "handler/w1/default"),
        ("${msg|job_event.params.env}", "prod"),
        ("#{msg|job_event.params.env}", "prod"),
        ("#{other} #", "#{other} #"),
        ("${msg|job_event.missing||none}", "none"),
        ("${time|now_time_secs}", "12"),
        ("@{job}-batch-${stat|_BATCH_NUMBER}.json", "handler-batch-7.json"),
        ("${dyn|KEY}/${dyn|OTHER||x}", "value/x"),
        ("no placeholders", "no placeholders"),
    ],
)
def test_every_form_finds_its_value(text: str, expected: str) -> None:
    event = {
        "a": {"b": 1},
        "x.y": "dotted",
        "list": ["one", "two"],
        "null": None,
        "big": 1739370000000000001,
        "yes": True,
    }
    run = Run(msg={"job_event": {"params": {"env": "prod"}}}, time={"now_time_secs": 12}, stat={"_BATCH_NUMBER": 7})
    assert render(text, event, run, Stub(variables={"KEY": "value"})) == expected


@cases.table(
    ("text", "told"),
    [
        ("${", "not closed"),
        ("${}", "names no field"),
        ("${mgs|x}", "did you mean ${msg|...}"),
        ("@{jbo}", "allowed: @{job}"),
        ("${secret|a||b}", "cannot have a fallback"),
        ("${a..b}", "empty step"),
        ("${msg|}", "names nothing"),
        ("${a||${b}}", "the default ${b} has a placeholder"),
        ("${a||x-@{job}}", "has a placeholder"),
        ("${a||#{msg|b}}", "has a placeholder"),
        ("${time|scheduled_time_isoo}", "did you mean ${time|scheduled_time_iso}"),
        ("${time|now}", "allowed: now_time_secs"),
        ("${stat|nope}", "allowed: _BATCH_NUMBER"),
    ],
)
def test_a_malformed_placeholder_is_refused_with_what_is_allowed(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        templates.parse(text)


@pytest.mark.parametrize("text", ["${secret|gcp/key}", "${cred|id}", "${secrets.token}"])
def test_secrets_are_refused_on_a_worker_without_secrets(text: str) -> None:
    with pytest.raises(InvalidDocument, match="has no secrets"):
        templates.template(text, Stub())


def test_a_missing_field_becomes_empty_and_is_told_once() -> None:
    env = Stub()
    fill = templates.template("<${gone}>", env)
    assert [fill({}, Run()), fill({}, Run())] == ["<>", "<>"]
    assert len(env.lines) == 1
    assert "${gone}" in env.lines[0][1]


@cases.table(
    ("text", "event", "expected"),
    [
        ("x/${a}", {"a": "1"}, "x/1"),
        ("x/${a}", {"a": 0}, "x/0"),
        ("x/${a}", {"a": False}, "x/false"),
        ("x/${a||none}", {}, "x/none"),
        ("x/${a||none}", {"a": ""}, "x/none"),
        ("x/${a||}", {}, "x/"),
        ("x/${a.b}", {"a": {"b": "1"}}, "x/1"),
        ("x/${dyn|D}", {}, "x/set"),
    ],
)
def test_a_placeholder_of_a_path_has_a_value_or_a_default(text: str, event: dict[str, Any], expected: str) -> None:
    env = Stub(variables={"D": "set"})
    assert templates.template(text, env, required=True)(event, Run()) == expected


@cases.table(
    ("text", "event"),
    [
        *(("x/${a}", event) for event in ({}, {"a": None}, {"a": ""})),
        *(("x/${a.b}", event) for event in ({}, {"a": 1}, {"a": {"b": ""}})),
        ("x/${dyn|D}", {}),
        ("x/${msg|a}", {}),
        ("x/${b}/${a}", {"b": "1"}),
    ],
)
def test_or_it_is_a_fault_that_names_it(text: str, event: dict[str, Any]) -> None:
    render = templates.template(text, Stub(), required=True)
    with pytest.raises(templates.NoValue, match="has no value here"):
        render(event, Run())


@cases.table("count", [2, templates.MOST_IN_ONE_LITERAL, templates.MOST_IN_ONE_LITERAL + 1, 5_000])
def test_a_text_of_many_placeholders_is_filled_in_place(count: int) -> None:
    assert render("${a}-" * count, {"a": "b"}) == "b-" * count


def test_more_placeholders_than_anyone_writes_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 10000 placeholders"):
        templates.check("${a}" * (templates.MOST_PLACEHOLDERS + 2))


def test_a_template_cannot_blow_up() -> None:
    fill = templates.template("${a}" * 3, Stub())
    assert len(fill({"a": "x" * 20_000}, Run())) == 60_000
    with pytest.raises(templates.TextTooLong):
        fill({"a": "x" * 30_000}, Run())


def test_a_structure_is_fresh_for_every_event() -> None:
    fill = templates.structure({"list": ["${a}", 1, None], "in": {"b": True}}, Stub())
    first, second = fill({"a": "x"}, Run()), fill({"a": "y"}, Run())
    assert first == {"list": ["x", 1, None], "in": {"b": True}}
    assert second["list"] == ["y", 1, None]
    assert first["in"] is not second["in"]


def test_staging_keeps_types_and_asks_the_documents_own_context_last() -> None:
    document = {
        "context": {"n": 1, "own": {"deep": [1]}},
        "a": "{{n}}",
        "b": ["{{ own.deep }}"],
        "c": "n={{n}} {{own.deep}}",
    }
    assert templates.stage(document, {"n": 2}) == {"a": 2, "b": [[1]], "c": "n=2 [1]"}


def test_staging_tells_every_missing_key_with_its_pointer() -> None:
    with pytest.raises(InvalidDocument) as caught:
        templates.stage({"a": "{{pat}}", "b": {"c/d": "x {{gone.deep}}"}}, {"path": 1})
    assert [problem.pointer for problem in caught.value.errors] == ["/a", "/b/c~1d"]
    assert "did you mean path?" in caught.value.errors[0].message


def test_staging_leaves_values_apart_and_bounds_what_it_adds() -> None:
    shared = {"list": [1]}
    staged = templates.stage({"a": "{{v}}", "b": "{{v}}"}, {"v": shared})
    staged["a"]["list"].append(2)
    assert staged["b"] == shared == {"list": [1]}
    with pytest.raises(InvalidDocument, match="add more than"):
        templates.stage({"a": ["{{v}} " * 100] * 100}, {"v": "x" * 1000})


def test_every_time_that_a_template_may_name_is_one_of_a_firing() -> None:
    clocks = schedule.Clocks(1_000_000_000)
    assert all(clocks.get(name) is not None for name in templates.TIMES)
    assert clocks.get("scheduled_time_isoo") is None
