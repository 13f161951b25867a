"""Every built-in document: valid, said in words, drawn, without secrets in clear. Nothing runs here."""

from __future__ import annotations

import re
from dataclasses import replace

import orjson
import pytest

from core import documents
from core.catalog import builtin, items, picture, svg
from core.catalog.collection import Collection
from core.documents import dump
from core.dsl.language import mentions, templates
from core.jobs import staging
from core.model import secret
from core.model.catalog import Blueprint, Graph, ItemType, LibraryJob, Perspective
from core.workflows import check, modules

ITEMS = Collection(builtin.load()).entries
FILLED = pytest.mark.parametrize("one", ITEMS, ids=lambda one: f"{one.type}:{one.slug}")
GRAPHS = [one for one in ITEMS if isinstance(one.model, Graph)]
BLUEPRINTS = [one for one in ITEMS if isinstance(one.model, Blueprint)]
SENTENCE = re.compile(r"[A-Z][^\n]{20,130}\.")


def test_there_is_something_to_browse() -> None:
    count = {kind: sum(one.type is kind for one in ITEMS) for kind in ItemType}
    assert count[ItemType.WORKFLOW] >= 6 and count[ItemType.PERSPECTIVE] >= 4
    assert count[ItemType.BLUEPRINT] >= 15 and count[ItemType.JOB] >= 10


@pytest.mark.parametrize(
    "tag",
    "fan-out fan-in routing durable dedupe kv http-collect webhook schedule report file-tail replay backfill".split(),
)
def test_a_way_to_build_is_found_by_its_tag(tag: str) -> None:
    assert [one for one in ITEMS if tag in one.tags and one.type in (ItemType.WORKFLOW, ItemType.BLUEPRINT)]


@FILLED
def test_it_is_valid_without_a_warning(one: items.Entry) -> None:
    text = dump.to_yaml(items.document(one))
    if isinstance(one.model, LibraryJob):
        assert staging.stage(text).name == one.model.job["name"]
        return
    (document,) = documents.load(text)
    report = check.check(document, replace(modules.of(ITEMS), reserved=frozenset()))
    faults = [fault for fault in report.faults if fault.code != "unbound_slot"]
    assert (faults, report.warnings) == ([], ())
    assert isinstance(one.model, Perspective) or report.valid


@FILLED
def test_it_says_what_it_is(one: items.Entry) -> None:
    assert one.model.title and SENTENCE.fullmatch(one.summary), one.summary
    assert one.tags and len(set(one.tags)) == len(one.tags)


@pytest.mark.parametrize("one", [*GRAPHS, *BLUEPRINTS], ids=lambda one: one.slug)
def test_its_graph_can_be_drawn(one: items.Entry) -> None:
    graph = picture.picture(one.model)
    assert graph["nodes"]
    assert picture.mermaid(graph).startswith("flowchart")
    assert svg.svg(graph, one.title).rstrip().endswith("</svg>")


@pytest.mark.parametrize("one", BLUEPRINTS, ids=lambda one: one.slug)
def test_each_parameter_of_a_blueprint_is_described_and_has_a_default_or_an_example(one: items.Entry) -> None:
    parameters = one.model.parameters
    assert parameters.get("additionalProperties", False) is False
    for name, schema in parameters["properties"].items():
        assert schema.get("description", "").endswith("."), name
        assert "default" in schema or "examples" in schema, name
        assert ("default" in schema) is (name not in parameters.get("required", ())), name


@pytest.mark.parametrize("one", GRAPHS, ids=lambda one: one.slug)
def test_each_question_of_a_wizard_is_described_and_must_be_answered_or_has_a_default(one: items.Entry) -> None:
    for question in one.model.wizard:
        assert question.title and question.description.endswith("."), question.field
        assert question.required is (question.default is None), question.field


@pytest.mark.parametrize("one", GRAPHS, ids=lambda one: one.slug)
def test_a_slot_hints_at_modules_that_are_there(one: items.Entry) -> None:
    known = {f"{other.slug}@{other.version}" for other in BLUEPRINTS}
    for step in one.model.steps:
        if step.slot is not None:
            named = re.findall(r"[a-z0-9-]+@\d+\.\d+\.\d+", step.slot.hint)
            assert named and set(named) <= known


@pytest.mark.parametrize("one", BLUEPRINTS, ids=lambda one: one.slug)
def test_a_blueprint_requires_exactly_the_secrets_that_its_jobs_name(one: items.Entry) -> None:
    named = {reference.secret for job in one.model.jobs for reference in mentions.secrets(job)}
    assert {secret.named(name).secret for name in one.model.requires.secrets} == named
    runs = any("exec" in job["input"] for job in one.model.jobs)
    assert ("exec" in one.model.requires.features) is runs


@pytest.mark.parametrize("one", [one for one in ITEMS if isinstance(one.model, LibraryJob)], ids=lambda one: one.slug)
def test_every_value_of_the_context_of_a_library_job_is_used(one: items.Entry) -> None:
    job = one.model.job
    body = orjson.dumps({key: value for key, value in job.items() if key != "context"}).decode()
    assert [name for name in job.get("context", {}) if f"{{{{{name}}}}}" not in body] == []
    assert "{{" not in orjson.dumps(templates.stage(job, {})).decode()
