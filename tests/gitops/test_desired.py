"""The texts of a manifest's files: kinds, names, scope and shape, every fault with its place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.documents import dump
from core.gitops import desired
from core.gitops.files import File
from core.model.gitops import Kind, Manifest

DEV = Manifest.model_validate({"schema_version": "v1", "scope": {"tenant_id": "t", "environment": "dev"}})
JOB = "name: j\ninput: {echo: {event: x}}\noutput: {print: STDOUT}\n"


def parse(*files: tuple[str, str], manifest: Manifest = DEV) -> desired.Parsed:
    return desired.parse(
        manifest, [File(Kind(kind), f"{number}.yaml", text) for number, (kind, text) in enumerate(files)]
    )


def faults(*files: tuple[str, str]) -> list[tuple[str | None, str]]:
    return [(problem.where, problem.message) for problem in parse(*files).problems]


def test_every_fault_of_every_file_is_told_at_once() -> None:
    found = faults(
        ("job", "name: [\n"),
        ("job", "kind: trigger\nname: a\n"),
        ("job", "name: 'no job'\n"),
        ("workflow", "slug: w\n"),
        ("workflow", "kind: workflow\nslug: No Slug\n"),
        ("deployment", "kind: deployment\nname: d\nsorce: workflow:w\n"),
        ("deployment", "kind: deployment\nname: e\nsource: job:x\n"),
        ("deployment", "kind: deployment\nname: f\nsource: workflow:w\ntenant: other\nenvironment: prod\n"),
        ("context", "kind: context\nenvironment: prod\nvalues: {a: 1}\n"),
        ("context", "kind: context\nenvironment: dev\njob: j\nvalues: {a: 1}\n"),
        ("trigger", "slug: t\ntenant_id: other\ntarget_job_name: j\n"),
    )
    assert [where for where, _ in found] == [
        "0.yaml:1:8",
        "1.yaml:1:1",
        "2.yaml:1:1",
        "3.yaml:1:1",
        "4.yaml:2:1",
        "5.yaml:3:1",
        "6.yaml:3:1",
        "7.yaml:4:1",
        "7.yaml:5:1",
        "8.yaml:2:1",
        "9.yaml:1:1",
        "10.yaml:2:1",
    ]
    told = "\n".join(message for _, message in found)
    for words in (
        "the manifest includes this file as job, and it is a trigger",
        "write kind: workflow",
        "did you mean 'source'?",
        "belongs to tenant other; this manifest is for t",
        "belongs to environment prod; this manifest is for environment dev",
        "give at most one of environment, group, worker and job",
    ):
        assert words in told


def test_a_thing_that_is_there_twice_is_told_with_both_places() -> None:
    assert faults(("job", JOB), ("job", JOB)) == [
        ("1.yaml:1:1", "job j is there twice; the other one is at 0.yaml:1:1")
    ]
    context = "kind: context\nenvironment: dev\nvalues:\n  a: 1\n"
    assert faults(("context", context), ("context", f"{context}  b: 2\n")) == [
        ("1.yaml:4:3", "context environment:dev/a is set twice; the other one is at 0.yaml:4:3")
    ]
    elsewhere = "kind: context\ngroup: dev\nvalues: {a: 1}\n"
    assert faults(("context", context), ("context", elsewhere)) == []


def test_documents_of_one_file_keep_their_texts_and_places() -> None:
    second = f"# the second\n{JOB.replace('name: j', 'name: k # here')}"
    text = f"# the first\n{JOB}---\n{second}"
    parsed = parse(("job", text))
    assert parsed.problems == []
    assert [(one.name, one.document.where("/name")) for one in parsed.written] == [
        ("j", "0.yaml:2:1"),
        ("k", "0.yaml:7:1"),
    ]
    assert [one.text.rstrip() for one in parsed.written] == [f"# the first\n{JOB}".rstrip(), second.rstrip()]


NAMES = st.from_regex(r"[a-z][a-z0-9_.:-]{0,10}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=4, unique_by=lambda one: one[0]))
def test_any_number_of_documents_in_a_file_says_the_same_as_a_file_for_each(found: list[tuple[str, Any]]) -> None:
    documents = [{"name": name, "input": value} for name, value in found]
    parsed = parse(("job", "---\n".join(map(dump.to_yaml, documents))))
    assert parsed.problems == []
    assert [one.document.data for one in parsed.written] == documents
    again = [parse(("job", one.text)).written[0].document.data for one in parsed.written]
    assert again == documents


@pytest.mark.parametrize("place", [("global", ""), ("environment", "dev"), ("group", "a.b:c"), ("job", "x")])
def test_the_name_of_a_context_value_leads_back_to_its_place(place: tuple[str, str]) -> None:
    assert desired.context_place(desired.context_name(*place, "key-1")) == (*place, "key-1")


def test_a_scope_without_an_environment_takes_deployments_without_one() -> None:
    manifest = Manifest.model_validate({"schema_version": "v1", "scope": {"tenant_id": "t"}})
    document = "kind: deployment\nname: d\nsource: workflow:w\n"
    assert parse(("deployment", document), manifest=manifest).problems == []
    found = parse(("deployment", f"{document}environment: dev\n"), manifest=manifest).problems
    assert [one.message for one in found] == ["belongs to environment dev; this manifest is for no environment"]
