"""Paths of a job are judged when the document is checked, before a worker sees them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from core.dsl.component import REGISTRY, Component
from core.dsl.language import compile as compiler
from core.dsl.language.places import FilePath, refusals
from core.errors import InvalidDocument
from core.guard.pathrules import ANYWHERE, FileRules, Locator
from tests import cases
from tests.filepolicies import everywhere, only

ECHO: dict[str, Any] = {"echo": {"event": "hello"}}
PRINT: dict[str, Any] = {"print": "STDOUT"}


def told(document: dict[str, Any], access: Locator = ANYWHERE) -> dict[str, str]:
    with pytest.raises(InvalidDocument) as caught:
        compiler.check_job({"name": "j", **document}, files=access)
    return {problem.pointer: problem.message for problem in caught.value.errors}


@cases.table(
    ("document", "pointer"),
    [
        ({"input": {"files": {"path": "../x"}}, "output": PRINT}, "/input/files/paths/0"),
        ({"input": {"files": {"paths": ["/a/*", "/a/../b"]}}, "output": PRINT}, "/input/files/paths/1"),
        ({"input": {"file-store": {"path": "/a/../../x"}}, "output": PRINT}, "/input/file-store/path"),
        ({"input": ECHO, "output": {"file": {"path": "/a/${x}/../b"}}}, "/output/file/path"),
        ({"input": ECHO, "output": {"file-store": {"path": "..", "object-name": "x"}}}, "/output/file-store/path"),
        (
            {"input": ECHO, "actions": [{"enrich": {"lookup-file": "/a/../b.csv", "match": "k"}}], "output": PRINT},
            "/actions/0/enrich/lookup-file",
        ),
        (
            {
                "input": ECHO,
                "actions": [{"assert": {"schema": {"schema-file": "/proc/self/environ"}}}],
                "output": PRINT,
            },
            "/actions/0/assert/schema/schema-file",
        ),
        ({"input": {"exec": {"command": "true", "env": {"file": "../env"}}}, "output": PRINT}, "/input/exec/env/file"),
        (
            {
                "input": {
                    "echo": {"event": "x", "trigger": {"interval": {"duration": "1m", "window": {"tracked": ".."}}}}
                },
                "output": PRINT,
            },
            "/input/echo/trigger/interval/window/tracked",
        ),
        (
            {
                "input": {"http-server": {"address": "127.0.0.1:1", "tls": {"cert": "/a/../c", "key": "/a/k"}}},
                "output": PRINT,
            },
            "/input/http-server/tls/cert",
        ),
    ],
)
def test_a_path_that_no_worker_would_open_is_a_fault_of_the_document(document: dict[str, Any], pointer: str) -> None:
    assert list(told(document)) == [pointer]


def test_what_no_job_may_enter_is_refused_before_a_job_runs(tmp_path: Path) -> None:
    rules = FileRules(everywhere("", tmp_path), "acme")
    document = {
        "input": {"files": {"path": f"{tmp_path}/sluice.db"}},
        "output": {"file": {"path": f"{tmp_path}/${{a}}"}},
    }
    faults = told(document, rules)
    assert list(faults) == ["/input/files/paths/0", "/output/file/path"]
    assert all("which no job may enter (" in fault for fault in faults.values())


def test_what_is_outside_the_file_roots_is_refused_before_a_job_runs(tmp_path: Path) -> None:
    rules = FileRules(only(tmp_path), "acme")
    faults = told({"input": ECHO, "output": {"file-store": {"path": f"{tmp_path}2/secret", "object-name": "x"}}}, rules)
    assert "file_roots" in faults["/output/file-store/path"]


@pytest.mark.parametrize("more", [{}, {"retention": {"age": "1d"}, "fingerprinting": True}])
def test_a_store_that_is_only_read_may_lie_where_nothing_is_written(more: dict[str, Any]) -> None:
    document = {"name": "j", "input": {"file-store": {"path": "/in", **more}}, "output": PRINT}
    rules = FileRules(only("/in:ro"), "acme")
    if more:
        assert "can only be read" in told(document, rules)["/input/file-store/path"]
    else:
        compiler.check_job(document, files=rules)


def _ways(model: type[BaseModel], way: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The way to every key of a component whose type is marked as a path, however deep it stands."""
    for name, field in model.model_fields.items():
        at = (*way, name)
        parts = list(_within(field.annotation))
        if any(isinstance(one, FilePath) for one in (*field.metadata, *parts)):
            yield at
        for inner in parts:
            if _is_model(inner) and len(at) < 6:
                yield from _ways(inner, at)


def _within(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in (*getattr(annotation, "__metadata__", ()), *get_args(annotation)):
        yield from _within(inner)


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


WAYS = [(component, way) for component in REGISTRY for way in dict.fromkeys(_ways(component))]


def _declared(model: type[BaseModel], way: tuple[str, ...], path: str) -> BaseModel:
    """A declaration of nothing but the one key, unchecked, so that no other key decides whether it is seen."""
    name, *rest = way
    annotation = model.model_fields[name].annotation
    value: Any = (path,) if "tuple" in str(annotation) else path
    if rest:
        inner = next(one for one in _within(annotation) if _is_model(one) and tuple(rest) in _ways(one))
        value = _declared(inner, tuple(rest), path)
    return model.model_construct(**{**dict.fromkeys(model.model_fields), name: value})


@cases.table(("component", "way"), WAYS, ids=[f"{c.kind}-{c.name}-{'-'.join(w)}" for c, w in WAYS])
def test_every_path_key_of_every_component_is_judged_before_a_job_runs(
    component: type[Component], way: tuple[str, ...]
) -> None:
    assert [one.why for one in refusals(_declared(component, way, "/etc/passwd"), ANYWHERE, "")]
    assert not list(refusals(_declared(component, way, "in/file"), ANYWHERE, ""))


def test_the_components_that_touch_files_are_among_those_with_path_keys() -> None:
    found = {(component.kind, component.name) for component, _ in WAYS}
    assert {("input", "files"), ("input", "file-store"), ("output", "file"), ("output", "file-store")} <= found
    assert {("action", "enrich"), ("action", "assert"), ("input", "http-server"), ("input", "exec")} <= found


@cases.table("path", ["/data/@{job}/${day}.jsonl", "data/x", "/data/a..b", "/dev/shm/x"])
def test_a_path_whose_fixed_parts_are_allowed_waits_for_the_worker(path: str) -> None:
    compiler.check_job({"name": "j", "input": ECHO, "output": {"file": {"path": path}}})


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        (
            {"input": ECHO, "actions": [{"enrich": {"lookup-file": "${dyn|P}.csv", "match": ["k"]}}], "output": PRINT},
            "/actions/0/enrich/lookup-file",
        ),
        (
            {"input": ECHO, "actions": [{"assert": {"schema": {"schema-file": "@{tenant}.json"}}}], "output": PRINT},
            "/actions/0/assert/schema/schema-file",
        ),
    ],
)
def test_a_path_in_which_nothing_is_filled_in_has_no_placeholder(document: dict[str, Any], pointer: str) -> None:
    assert "nothing is filled in here" in told(document)[pointer]
