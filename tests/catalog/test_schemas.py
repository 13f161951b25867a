"""The published schemas: valid, true to the models, and no stricter than what is accepted."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.catalog import builtin, schemas
from core.documents import load
from core.dsl.component import REGISTRY
from core.dsl.language import compile as compiler
from core.model import catalog
from core.model.deployment_document import DeploymentDocument
from core.model.trigger import Definition
from tests import cases

EXAMPLES = Path(__file__).parents[2] / "examples"
KINDS = ("a text", "a map", "a list", "a number", "a whole number", "true or false")
STRUCTURAL = (
    *("unknown key", "is missing", "input should be", "string should match"),
    *(f"must be {kind};" for kind in KINDS),
)
"""How faults begin that a schema can tell; all others are rules between fields, and languages inside texts."""


@functools.cache
def validator(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schemas.schema(kind))


def fits(kind: str, data: dict[str, Any]) -> bool:
    return bool(validator(kind).is_valid(data))


def faults(kind: str, data: Any) -> list[str]:
    return [f"{fault.json_path}: {fault.message}" for fault in validator(kind).iter_errors(data)]


def test_a_schema_is_valid_and_tells_what_its_keys_mean() -> None:
    with cases.every() as case:
        for kind in schemas.KINDS:
            schema = schemas.schema(kind)
            with case(kind):
                jsonschema.Draft202012Validator.check_schema(schema)
                assert schema["$schema"].endswith("2020-12/schema")
                if kind not in ("manifest", "settings"):  # they say what they are by schema_version, and by their place
                    assert schema["properties"]["kind"]["const"] == kind
                assert schema.get("additionalProperties") is False


JOBS = {f"{cls.kind}.{cls.name}": load(cls.example)[0].data for cls in REGISTRY}


def test_the_schemas_accept_every_example() -> None:
    """That of each component is judged with the rest of it: tests/dsl/test_compile.py."""
    with cases.every() as case:
        for path in sorted((*EXAMPLES.glob("*.yaml"), *EXAMPLES.glob("*.json"))):
            with case(path.name):
                documents = load(path.read_text(encoding="utf-8"), origin=path.name)
                assert documents
                for document in documents:
                    kind = "trigger" if "target_job_name" in document.data else document.kind
                    if kind in schemas.KINDS:
                        assert faults(kind, document.data) == []


def test_the_schemas_accept_every_built_in_document() -> None:
    with cases.every() as case:
        for entry in builtin.load():
            model = entry.model
            with case(entry.type, entry.slug):
                data = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
                assert faults(model.kind, {"kind": model.kind, **data}) == []


def test_a_placeholder_may_stand_for_any_value_of_a_job() -> None:
    job = {
        "name": "j",
        "input": {"echo": {"event": "x", "json": "{{flag}}", "trigger": {"interval": "{{every}}"}}},
        "actions": [{"filter": "{{filter}}"}],
        "output": {"print": "{{where}}"},
    }
    validator("job").validate(job)
    assert not fits("job", {**job, "output": {"print": "ELSEWHERE"}})


def test_a_blueprint_may_bind_ports_and_its_jobs_are_not_refused_for_their_parameters() -> None:
    blueprint = {
        "kind": "blueprint",
        "slug": "b",
        "jobs": [{"name": "j", "input": {"port": "in"}, "output": {"file": {"path": "{{path}}", "truncate": "{{t}}"}}}],
    }
    validator("blueprint").validate(blueprint)
    assert not fits("blueprint", {**blueprint, "jobs": []})


MODELS: dict[str, Any] = {**catalog.MODELS, "trigger": Definition, "deployment": DeploymentDocument}
WISH = {
    "kind": "deployment",
    "name": "d",
    "source": "workflow:w@1",
    "values": {"a": 1},
    "placement": {"s": "g"},
    "replicas": {"s": 2},
}
TRIGGER = {"slug": "t", "target_job_name": "j", "publication": {"mcp": True}, "invoke_policy": {"allow_user": True}}
OTHERS = [("deployment", WISH), ("trigger", TRIGGER)]
OTHERS += [
    (e.model.kind, {"kind": e.model.kind, **e.model.model_dump(mode="json", by_alias=True, exclude_unset=True)})
    for e in builtin.load()
]
SCRAP = st.sampled_from([None, True, 7, -1, 1.5, "text", "", [], ["a"], {}, {"a": 1}, "x" * 300])


Place = tuple[Any, ...]  # keys and positions, from the document to a value in it


def places(node: Any, above: Place = ()) -> Iterator[Place]:
    for key in list(node) if isinstance(node, dict) else range(len(node)):
        yield (*above, key)
        if isinstance(node[key], dict | list):
            yield from places(node[key], (*above, key))


def at(document: Any, place: Place) -> Any:
    for step in place:
        document = document[step]
    return document


@st.composite
def mutated(draw: st.DrawFn, data: dict[str, Any]) -> dict[str, Any]:
    """The document with one value changed, one key more, or one key less."""
    changed = copy.deepcopy(data)
    *above, key = draw(st.sampled_from(list(places(changed))))
    node = at(changed, tuple(above))
    match draw(st.sampled_from(["change", "add", "drop"])):
        case "change":
            node[key] = draw(SCRAP)
        case "add" if isinstance(node, dict):
            node[draw(st.sampled_from(["extra", "json", "path", "name", "kind"]))] = draw(SCRAP)
        case "drop":
            del node[key]
    return changed


def refused_for_its_meaning_only(job: dict[str, Any]) -> None:
    """What the schema accepts has no fault that a schema can tell."""
    if not fits("job", job):
        return
    try:
        compiler.check_job(copy.deepcopy(job))
    except errors.InvalidDocument as error:
        for problem in error.errors:
            if "/convert/conversions/" in problem.pointer:
                continue  # {conversion: split} also reads as the short form for a field called conversion
            assert not any(word in problem.message.lower() for word in STRUCTURAL), (job, problem)


@given(st.data())
def test_what_the_job_schema_accepts_the_compiler_refuses_for_its_meaning_only(data: st.DataObject) -> None:
    refused_for_its_meaning_only(data.draw(mutated(JOBS[data.draw(st.sampled_from(sorted(JOBS)))])))


def test_a_key_that_the_schema_lets_be_left_out_is_missing_by_a_rule_alone() -> None:
    with cases.every() as case:
        for name, example in JOBS.items():
            for place in places(example):
                job = copy.deepcopy(example)
                del at(job, place[:-1])[place[-1]]
                with case(name, place):
                    refused_for_its_meaning_only(job)


@given(st.data())
def test_what_the_other_schemas_accept_their_models_accept(data: st.DataObject) -> None:
    kind, document = data.draw(st.sampled_from(OTHERS))
    changed = data.draw(mutated(document))
    try:
        MODELS[kind].model_validate(changed)
    except ValueError as error:
        assert not fits(kind, changed), str(error)
