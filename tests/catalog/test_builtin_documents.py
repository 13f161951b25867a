"""Every built-in document: valid, said in words, drawn, without secrets in clear. Nothing runs here."""

from __future__ import annotations

import re
from dataclasses import replace

import orjson

from core import documents
from core.catalog import builtin, items, picture, svg
from core.catalog.collection import Collection
from core.documents import dump
from core.dsl.language import mentions, templates
from core.jobs import staging
from core.model import secret
from core.model.catalog import Blueprint, Graph, ItemType, LibraryJob, Perspective
from core.workflows import check, modules
from tests import cases

ITEMS = Collection(builtin.load()).entries
GRAPHS = [one for one in ITEMS if isinstance(one.model, Graph)]
BLUEPRINTS = [one for one in ITEMS if isinstance(one.model, Blueprint)]
SENTENCE = re.compile(r"[A-Z][^\n]{20,130}\.")


def test_there_is_something_to_browse() -> None:
    count = {kind: sum(one.type is kind for one in ITEMS) for kind in ItemType}
    assert count[ItemType.WORKFLOW] >= 6 and count[ItemType.PERSPECTIVE] >= 4
    assert count[ItemType.BLUEPRINT] >= 15 and count[ItemType.JOB] >= 10


def test_a_way_to_build_is_found_by_its_tag() -> None:
    ways = "fan-out fan-in routing durable dedupe kv http-collect webhook schedule report file-tail replay backfill"
    built = [one for one in ITEMS if one.type in (ItemType.WORKFLOW, ItemType.BLUEPRINT)]
    assert set(ways.split()) - {tag for one in built for tag in one.tags} == set()


def test_each_is_valid_without_a_warning() -> None:
    known = replace(modules.of(ITEMS), reserved=frozenset())
    with cases.every() as case:
        for one in ITEMS:
            with case(one.type, one.slug):
                text = dump.to_yaml(items.document(one))
                if isinstance(one.model, LibraryJob):
                    assert staging.stage(text).name == one.model.job["name"]
                    continue
                (document,) = documents.load(text)
                report = check.check(document, known)
                faults = [fault for fault in report.faults if fault.code != "unbound_slot"]
                assert (faults, report.warnings) == ([], ())
                assert isinstance(one.model, Perspective) or report.valid


def test_each_says_what_it_is() -> None:
    with cases.every() as case:
        for one in ITEMS:
            with case(one.type, one.slug):
                assert one.model.title and SENTENCE.fullmatch(one.summary), one.summary
                assert one.tags and len(set(one.tags)) == len(one.tags)


def test_each_graph_can_be_drawn() -> None:
    with cases.every() as case:
        for one in [*GRAPHS, *BLUEPRINTS]:
            with case(one.slug):
                graph = picture.picture(one.model)
                assert graph["nodes"]
                assert picture.mermaid(graph).startswith("flowchart")
                assert svg.svg(graph, one.title).rstrip().endswith("</svg>")


def test_each_parameter_of_a_blueprint_is_described_and_has_a_default_or_an_example() -> None:
    with cases.every() as case:
        for one in BLUEPRINTS:
            parameters = one.model.parameters
            with case(one.slug):
                assert parameters.get("additionalProperties", False) is False
            for name, schema in parameters["properties"].items():
                with case(one.slug, name):
                    assert schema.get("description", "").endswith(".")
                    assert "default" in schema or "examples" in schema
                    assert ("default" in schema) is (name not in parameters.get("required", ()))


def test_each_question_of_a_wizard_is_described_and_must_be_answered_or_has_a_default() -> None:
    with cases.every() as case:
        for one in GRAPHS:
            for question in one.model.wizard:
                with case(one.slug, question.field):
                    assert question.title and question.description.endswith(".")
                    assert question.required is (question.default is None)


def test_a_slot_hints_at_modules_that_are_there() -> None:
    known = {f"{other.slug}@{other.version}" for other in BLUEPRINTS}
    with cases.every() as case:
        for one in GRAPHS:
            for step in one.model.steps:
                if step.slot is not None:
                    with case(one.slug, step.id):
                        named = re.findall(r"[a-z0-9-]+@\d+\.\d+\.\d+", step.slot.hint)
                        assert named and set(named) <= known


def test_a_blueprint_requires_exactly_the_secrets_that_its_jobs_name() -> None:
    with cases.every() as case:
        for one in BLUEPRINTS:
            with case(one.slug):
                named = {reference.secret for job in one.model.jobs for reference in mentions.secrets(job)}
                assert {secret.named(name).secret for name in one.model.requires.secrets} == named
                runs = any("exec" in job["input"] for job in one.model.jobs)
                assert ("exec" in one.model.requires.features) is runs


def test_every_value_of_the_context_of_a_library_job_is_used() -> None:
    with cases.every() as case:
        for one in ITEMS:
            if isinstance(one.model, LibraryJob):
                job = one.model.job
                with case(one.slug):
                    body = orjson.dumps({key: value for key, value in job.items() if key != "context"}).decode()
                    assert [name for name in job.get("context", {}) if f"{{{{{name}}}}}" not in body] == []
                    assert "{{" not in orjson.dumps(templates.stage(job, {})).decode()
