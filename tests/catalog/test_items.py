"""The items of the catalog: what comes with Sluice, and how one is picked."""

from __future__ import annotations

import orjson
import pytest

from core import errors
from core.catalog import blueprints, builtin, graph, items, picture
from core.jobs import staging
from core.model.catalog import Blueprint, LibraryJob, Perspective, Workflow


def version(slug: str, text: str) -> items.Entry:
    return items.entry(Blueprint(slug=slug, version=text, jobs=({"name": "x"},)))


def test_every_type_of_item_comes_with_sluice() -> None:
    assert {one.type.value for one in builtin.load()} == {"workflow", "perspective", "blueprint", "job"}


def test_every_builtin_library_job_is_a_valid_job() -> None:
    jobs = [one.model.job for one in builtin.load() if isinstance(one.model, LibraryJob)]
    assert len(jobs) >= 10
    for job in jobs:
        assert staging.stage(orjson.dumps(job).decode())


def test_every_builtin_blueprint_and_workflow_is_wired_completely() -> None:
    lookup = items.finder(builtin.load())
    for one in builtin.load():
        if isinstance(one.model, Blueprint):
            assert blueprints.check_blueprint(one.model) == []
        if isinstance(one.model, Workflow):
            assert graph.wire(one.model, lookup).findings == []


def test_a_builtin_perspective_is_not_complete_but_has_no_other_fault() -> None:
    lookup = items.finder(builtin.load())
    for one in (one for one in builtin.load() if isinstance(one.model, Perspective)):
        assert {found.code for found in graph.wire(one.model, lookup).findings} == {"unbound_slot"}  # type: ignore[arg-type]


def test_pick_takes_the_newest_or_the_given_version() -> None:
    every = [version("a", "1.0.0"), version("a", "2.0.0")]
    assert items.pick(every, "a").version == "2.0.0"
    assert items.pick(every, "a", "blueprint", "1.0.0").version == "1.0.0"
    with pytest.raises(errors.NotFound) as caught:
        items.pick(every, "a", None, "3.0.0")
    assert "1.0.0, 2.0.0" in caught.value.hint


def test_pick_guesses_what_was_meant() -> None:
    with pytest.raises(errors.NotFound, match="did you mean echo-source"):
        items.pick(builtin.load(), "echo-sorce")


def test_pick_asks_for_the_type_when_a_slug_is_shared() -> None:
    every = [version("a", "1.0.0"), items.entry(LibraryJob(slug="a", job={}))]
    with pytest.raises(errors.InvalidParams) as caught:
        items.pick(every, "a")
    assert caught.value.errors[0].pointer == "/type"


def test_the_quickstart_asks_for_path_and_guid_prefix() -> None:
    asked = items.wizard(items.pick(builtin.load(), "quickstart-file-store-roundtrip"))
    assert [(field["field"], field["required"], field["default"]) for field in asked] == [
        ("path", True, None),
        ("guid_prefix", False, "demo"),
    ]


def test_the_parameters_of_a_blueprint_are_asked_for_like_a_wizard() -> None:
    asked = items.wizard(items.pick(builtin.load(), "echo-source"))
    assert [(field["field"], field["default"]) for field in asked] == [("event", "{}"), ("interval", "5s")]


def test_a_parameter_that_may_be_null_is_asked_for_by_its_other_type() -> None:
    asked = {one["field"]: one for one in items.wizard(items.pick(builtin.load(), "http-poll-source"))}
    assert (asked["events_field"]["type"], asked["events_field"]["default"]) == ("string", None)


def test_a_document_reads_back_as_the_same_model() -> None:
    for one in builtin.load():
        if not isinstance(one.model, LibraryJob):
            assert type(one.model).model_validate(items.document(one)) == one.model


def test_the_picture_of_a_workflow_has_its_steps_and_channels() -> None:
    drawn = picture.picture(items.pick(builtin.load(), "quickstart-file-store-roundtrip").model)  # type: ignore[arg-type]
    assert [node["id"] for node in drawn["nodes"]] == ["generate", "print"]
    assert drawn["edges"] == [
        {"kind": "channel", "from": "generate", "to": "print", "channel": "roundtrip", "transport": "file-store"}
    ]


def test_the_picture_of_a_blueprint_has_its_jobs_and_ports() -> None:
    drawn = picture.picture(items.pick(builtin.load(), "file-printer").model)  # type: ignore[arg-type]
    assert {node["id"] for node in drawn["nodes"]} == {"print", "port:in"}
    assert drawn["edges"] == [{"kind": "port", "from": "port:in", "to": "print"}]
