"""The value that a failure comes from: found when the reason names it, marked when it only may be it, else not told."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from core.catalog import items
from core.contexts.layers import Given, Level
from core.explain import origins, responsible
from core.explain.origins import Kind
from core.explain.responsible import Change, Fault, Responsible
from core.model.catalog import Blueprint, Workflow
from core.model.deployment import Job, Role, State
from core.operations import REGISTRY

SOURCE = """
kind: workflow
slug: mirror
wizard:
  - {field: path, type: path, required: true}
  - {field: archive, type: path}
  - {field: address, default: "http://127.0.0.1:9001/in"}
  - {field: port, type: integer, default: 8088}
  - {field: kind, default: json}
channels:
  spool: {transport: file-store, with: {path: "{{wizard.path}}"}}
steps:
  - id: post
    use: blueprint:post@1.0.0
    with: {url: "{{wizard.address}}", listen: "127.0.0.1:{{port}}", root: "{{base}}/x", kind: "{{kind}}", own: /srv/own}
    in: channel:spool
  - {id: keep, use: "blueprint:keep@1.0.0", with: {paths: ["{{archive}}"], also: "{{path}}"}}
"""
ENTRY = items.entry(Workflow.model_validate(yaml.safe_load(SOURCE)))
BASE = {"base": Given("/srv/base", Level.ENVIRONMENT, "prod")}


def job(name: str, document: dict[str, Any], *, role: Role = Role.STEP, origin: str = "blueprint:x@1.0.0") -> Job:
    return Job(name, name, role, origin, "default", 1, document, "")


WRITER = job("spool", {"output": {"file-store": {"path": "/data/in"}}}, role=Role.WRITER, origin="channel spool")
POST = job(
    "post",
    {
        "input": {"http": {"address": "127.0.0.1:8088"}},
        "actions": [{"convert": {"to": "json"}}],
        "output": {"http-post": {"url": "http://127.0.0.1:9001/in", "file": "/srv/base/x/log", "own": "/srv/own"}},
    },
)


def found(reason: str, of: Job = POST, values: dict[str, Any] | None = None, at: str = "") -> list[Responsible]:
    wish = State("workflow:mirror@1", values={"path": "/data/in"} if values is None else values)
    faults = [Fault(of.name, reason)]
    return responsible.find(faults, {of.name: of}, lambda one: origins.of_job(ENTRY, wish, one, BASE), lambda _: at)


def told(reason: str, of: Job = POST, **more: Any) -> list[tuple[str, bool]]:
    return [(one.setting.name, one.sure) for one in found(reason, of, **more)]


@pytest.mark.parametrize(
    ("reason", "of", "expected"),
    [
        ("/data/in is not a directory", WRITER, [("path", True)]),
        ("[Errno 13] Permission denied: '/data/in'", WRITER, [("path", True)]),
        ("/data/in/part-1.json cannot be written", WRITER, [("path", False)]),
        ("/data/input is not a directory", WRITER, []),
        ("/mnt/data/in is not a directory", WRITER, []),
        ("the disk is full", WRITER, []),
        ("http://127.0.0.1:9001/in answered 500", POST, [("address", True)]),
        ("cannot connect to http://127.0.0.1:9001", POST, [("address", False)]),
        ("127.0.0.1:8088 is taken", POST, [("port", True)]),
        ("/srv/base/x/log cannot be opened", POST, [("base", False)]),
        ("/srv/own is full", POST, [("steps.post.with.own", True)]),
        ("the body is no json", POST, []),
        ("nothing gives {{base}} a value", POST, [("base", True)]),
    ],
)
def test_the_reason_of_a_failure_leads_to_the_value_that_it_names(
    reason: str, of: Job, expected: list[tuple[str, bool]]
) -> None:
    assert told(reason, of) == expected


def test_of_two_fields_with_one_value_none_is_sure() -> None:
    keep = job("keep", {"input": {"files": {"paths": ["/data/in"]}}, "output": {"x": {"also": "/data/in"}}})
    both = {"path": "/data/in", "archive": "/data/in"}
    assert sorted(told("/data/in is no file", keep, values=both)) == [("archive", False), ("path", False)]
    assert told("/data/in is no file", keep, values={**both, "archive": "/data/in/old"}) == [("path", True)]


def test_a_relative_path_is_found_where_its_tenant_has_its_files() -> None:
    writer = job("spool", {"output": {"file-store": {"path": "in"}}}, role=Role.WRITER, origin="channel spool")
    deep = job("spool", {"output": {"file-store": {"path": "in/x"}}}, role=Role.WRITER, origin="channel spool")
    reason = "/srv/data/t/in/x is not a directory"
    assert told(reason, deep, values={"path": "in/x"}, at="/srv/data/t") == [("path", True)]
    assert told(reason, deep, values={"path": "in/x"}) == []
    assert told("'in' is taken", writer, values={"path": "in"}) == [("path", False)]
    word = {"values": {"path": "in"}, "at": "/srv/data/t"}
    assert told("/srv/data/t/in is not a directory", writer, **word) == [("path", True)]
    assert told("/srv/data/t/in/part-1 cannot be written", writer, **word) == [("path", False)]
    assert told("/srv/data/t/inner is full", writer, **word) == told("in /srv/data/t", writer, **word) == []


def test_a_parameter_of_a_blueprint_is_a_field() -> None:
    schema = {"type": "object", "properties": {"path": {"type": "string"}, "n": {"type": "integer", "default": 3}}}
    source = items.entry(Blueprint(slug="b", parameters=schema, jobs=({"input": {}},)))
    one = job("b", {"input": {"files": {"paths": ["/data/in"]}}})
    wish = State("blueprint:b@1.0.0", values={"path": "/data/in"})
    assert origins.answers(source, wish.values) == {"path": "/data/in", "n": 3}
    (only,) = responsible.find(
        [Fault("b", "/data/in is gone")], {"b": one}, lambda of: origins.of_job(source, wish, of, {}), lambda _: ""
    )
    assert (only.setting.kind, only.setting.name, only.place) == (Kind.FIELD, "path", "input.files.paths[0]")


def test_the_value_before_is_told_with_the_revision_that_changed_it() -> None:
    then = [(4, {"path": "/b"}), (3, {"path": "/b"}), (2, {"path": "/a"}), (1, {"path": "/b"})]
    assert responsible.change_of("path", "/b", then, 5) == Change("/a", 2, 3)
    assert responsible.change_of("path", "/c", then, 5) == Change("/b", 4, 5)
    assert responsible.change_of("path", "/b", then[:2], 5) is None
    assert responsible.change_of("other", 1, then, 5) is None


def test_the_call_changes_that_value_alone_and_no_credential_is_told() -> None:
    (path,) = found("/data/in is not a directory", WRITER)
    (call,) = responsible.calls("d", "workflow:mirror@1", path)
    assert call.arguments == {"name": "d", "source": "workflow:mirror@1"} and "values.path" in call.why
    (base,) = found("/srv/base/x is gone")
    (call,) = responsible.calls("d", "workflow:mirror@1", base)
    assert call.arguments == {"environment": "prod", "values": {"base": "<another base>"}}
    assert responsible.to_dict(base)["value"] == "/srv/base"
    REGISTRY[call.operation].validate(dict(call.arguments))
    (own,) = found("/srv/own is full")
    assert responsible.calls("d", "workflow:mirror@1", own) == []
    token = responsible.Responsible(origins.Setting(Kind.FIELD, "api_token", "abc-def"), ("post",), "x", True)
    assert responsible.calls("d", "s", token) == [] and responsible.to_dict(token)["value"] == "***"
    assert "abc-def" not in responsible.sentence(token)
