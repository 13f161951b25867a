"""Compiling a job: all faults at once, one function per batch, one bad event does not harm the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from core import documents
from core.dsl.component import REGISTRY, Run
from core.dsl.language import compile as compiler
from core.dsl.language.action import JobAborted
from core.dsl.reference import schemas
from core.errors import InvalidDocument
from core.fileroots import FileMode
from core.guard.filepolicy import FilePolicy
from core.guard.pathrules import FileRules
from tests import cases
from tests.dsl import stub
from tests.dsl.stub import Stub, document, run

HANDLER = Path(__file__).parents[2] / "examples" / "smoke_trigger_handler.yaml"


def faults(text: str) -> dict[str, str]:
    found = documents.load(text, origin="job.yaml")[0]
    with pytest.raises(InvalidDocument) as caught:
        compiler.check_job(found.data, where=found.where)
    return {f"{p.where} {p.pointer}": p.message for p in caught.value.errors}


def test_all_faults_of_a_document_are_told_at_once_with_their_places() -> None:
    told = faults(
        """\
name: my job
inputt: {}
input:
  ecko: {event: x}
actions:
  - add: {output-field: {a: 1}}
  - fliter: {condition: x}
  - filter: {condition: "x ="}
  - convert: {conversions: [{field: a, conversion: number}]}
  - {add: {}, remove: {}}
output:
  print: {steam: STDOUT}
"""
    )
    assert "did you mean 'input'" in told["job.yaml:2:1 /inputt"]
    assert "is not a name" in told["job.yaml:1:1 /name"]
    assert "did you mean 'echo'" in told["job.yaml:4:3 /input/ecko"]
    assert "did you mean 'output-fields'" in told["job.yaml:6:11 /actions/0/add/output-field"]
    assert "did you mean 'filter'" in told["job.yaml:7:5 /actions/1/fliter"]
    assert "write ==" in told["job.yaml:8:14 /actions/2/filter/condition"]
    assert "'num'" in next(text for place, text in told.items() if place.endswith("/conversions/0/conversion"))
    assert "exactly one key" in told["job.yaml:10:5 /actions/4"]
    assert any("print" in place for place in told)


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        ({}, "/name"),
        ({"name": "a", "input": [], "output": {"discard": {}}}, "/input"),
        ({"name": "a", "input": {"echo": {"event": "x"}}, "output": {}}, "/output"),
        ({"name": "a", "input": {"echo": {"event": "x"}}, "output": {"discard": 3}}, "/output/discard"),
        (
            {"name": "a", "input": {"echo": {"event": "x"}}, "actions": {}, "output": {"discard": {}}, "tags": 1},
            "/tags",
        ),
        ({"name": "a", "input": {"echo": 7}, "actions": 3, "output": {"discard": {}}}, "/actions"),
        ({"name": 5, "kind": "workflow"}, "/kind"),
    ],
)
def test_wrong_shapes_are_faults_and_never_crashes(data: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        compiler.check_job(data)
    assert pointer in [problem.pointer for problem in caught.value.errors]


def test_a_component_without_keys_may_come_as_null() -> None:
    job = compiler.check_job({"name": "a", "input": {"echo": {"event": "x"}}, "output": {"discard": None}})
    assert job.output.name == "discard"


def test_the_smoke_trigger_handler_builds_its_response() -> None:
    data = documents.load(HANDLER.read_text())[0].data
    job = compiler.compile_job(data, Stub(job="smoke_trigger_handler"))
    payload = {
        "invocation_id": "inv_1",
        "trigger": {"tenant_id": "tenant-a"},
        "requested_at_ns": 1739370000000000001,
    }
    (event,) = stub.through(job, [{}], Run(msg={"job_event": payload}))
    response = event["trigger_response"]
    assert response["emitted_at_ns"] == 1739370000000000001
    assert type(response["emitted_at_ns"]) is int
    assert response["tenant_id"] == "tenant-a"
    assert response["nonce"] == response["invocation_id"] == "inv_1"
    assert response["result"] == {"ok": True, "message": "Smoke check passed"}
    found = compiler.starts(orjson.dumps(data)).filter
    assert found is not None


def test_a_bad_event_is_dropped_counted_and_told_and_the_others_go_on() -> None:
    env, firing = Stub(), Run()
    actions = [
        {"add": {"output-fields": {"seen": True}}},
        {"remove": {"fields": ["id"], "error-on-missing": True}},
        {"add": {"output-fields": {"a.b": 1}}},
    ]
    kept = run([{"id": 1}, {}, {"id": 2, "a": 7}, {"id": 3}], *actions, env=env, firing=firing)
    assert kept == [{"seen": True, "a": {"b": 1}}, {"seen": True, "a": {"b": 1}}]
    assert (firing.events_in, firing.errors) == (4, 2)
    assert "actions/1 remove: the event has no field id" in env.lines[0][1]
    assert "actions/2 add: cannot set /a/b" in env.lines[1][1]
    assert "cannot set /a/b" in firing.last_error


def test_warnings_of_one_action_grow_rare_and_can_be_silenced() -> None:
    env = Stub()
    run([{} for _ in range(1000)], {"rename": {"fields": [{"a": "b"}]}}, env=env)
    assert 5 < len(env.lines) < 20
    quiet = Stub()
    run([{}], {"rename": {"fields": [{"a": "b"}], "suppress-warnings": True}}, env=quiet)
    assert quiet.lines == []


def test_abort_stops_the_job_with_its_message() -> None:
    stop = {"abort": {"condition": "n == 2", "message": "poison ${n}"}}
    with pytest.raises(JobAborted, match="poison 2"):
        run([{"n": 1}, {"n": 2}], stop)


def test_steps_show_a_job_action_by_action() -> None:
    actions = (
        {"add": {"output-fields": {"n": "7"}}},
        {"convert": {"conversions": [{"n": "num"}]}},
        {"filter": {"condition": "n > 9"}},
    )
    job = compiler.compile_job(document(*actions), Stub())
    events: list[dict[str, Any]] = [{}]
    shown = []
    for step in job.steps:
        events = step.process(events, Run())
        shown.append((step.index, step.name, [dict(event) for event in events]))
    assert shown == [(0, "add", [{"n": "7"}]), (1, "convert", [{"n": 7}]), (2, "filter", [])]


def test_values_of_users_never_become_source_text() -> None:
    hostile = '"); import os; os.system("x'
    actions = (
        {"add": {"output-fields": {"/" + hostile: hostile, "b": "${/" + hostile + "}", "c": {hostile: [hostile]}}}},
        {"rename": {"fields": [{"/" + hostile: "kept"}]}},
        {"filter": {"condition": "kept ~= '\\'); import os'"}},
    )
    assert run([{}], *actions) == [{"b": hostile, "c": {hostile: [hostile]}, "kept": hostile}]


def test_a_job_without_actions_passes_events_on() -> None:
    firing = Run()
    assert run([{"a": 1}], firing=firing) == [{"a": 1}]
    assert firing.events_in == 1


def test_every_component_is_documented_and_its_example_is_a_valid_job() -> None:
    """Also where a tenant has nothing but its data directory, for paths are relative. test_examples.py runs it."""
    rules = FileRules(FilePolicy(FileMode.TENANT, "/data"), "default")
    validator = jsonschema.Draft202012Validator(schemas.job_schema())
    with cases.every() as case:
        for component in REGISTRY:
            with case(component.kind, component.name):
                (loaded,) = documents.load(component.example)
                job = compiler.check_job(loaded.data, files=rules)
                used = {job.input.name, job.output.name, *(action.name for action in job.actions)}
                assert component.name in used
                validator.validate(loaded.data)
                assert component.__doc__
                component.model_rebuild()  # descriptions are read when a model is built, which is at its first use
                assert [name for name, field in component.model_fields.items() if not field.description] == []


def test_the_published_schema_is_one_and_refuses_what_the_compiler_refuses() -> None:
    schema = schemas.job_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for actions in ([{"ad": {}}], [{"add": {}}], [{"add": {"output-fields": {"a": 1}}, "remove": {"fields": ["a"]}}]):
        data = {**document(), "actions": actions}
        assert not validator.is_valid(data)
        with pytest.raises(InvalidDocument):
            compiler.check_job(data)
