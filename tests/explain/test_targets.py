"""What does not fit between a trigger and its job, as pure facts; that the calls mend it is tried with an engine."""

from __future__ import annotations

from typing import Any

import pytest

from core.documents import load
from core.dsl.language import answering
from core.dsl.language.compile import check_job, filter_of
from core.explain import targets
from core.explain.targets import Mismatch, Target
from core.model.trigger import Definition
from core.operations import REGISTRY

LISTENS = "echo: {event: '{}', json: true, trigger: {message: {filter-tag: go}}}"


def document(output: str = "respond", source: str = LISTENS) -> dict[str, Any]:
    (loaded,) = load(f"name: handler\ninput: {{{source}}}\noutput: {output}")
    return loaded.data


def definition(**more: Any) -> Definition:
    wanted = {"slug": "s", "tenant_id": "t", "target_job_name": "handler", "target_message_tag": "go"}
    return Definition(**{**wanted, "response_slot": "s.reply", "publication": {"mcp": True}, **more})


def found(wanted: Definition, job: dict[str, Any] | None, **more: Any) -> list[Mismatch]:
    """The mismatches, whose calls fit the schemas of their operations."""
    filter = filter_of(check_job(job).input) if job is not None else None
    out = targets.mismatches(wanted, Target(job, filter, **more))
    for one in out:
        assert one.mend
        for call in one.mend:
            REGISTRY[call.operation].validate(dict(call.arguments))
    return out


def test_what_fits_has_no_mismatch() -> None:
    assert found(definition(), document()) == []
    assert found(definition(response_slot=""), document("{print: STDOUT}")) == []
    assert found(definition(), document("discard"), answered_elsewhere=True) == []


@pytest.mark.parametrize(
    ("more", "code", "calls"),
    [
        ({}, "target_not_deployed", ["job_put", "job_deploy"]),
        ({"staged": document()}, "target_not_deployed", ["job_deploy"]),
        ({"listening": ["other"]}, "target_not_deployed", ["trigger_revise"]),
        ({"listening": ["other", "another"]}, "target_not_deployed", ["job_put", "job_deploy"]),
    ],
)
def test_a_job_that_is_not_deployed(more: dict[str, Any], code: str, calls: list[str]) -> None:
    (one,) = found(definition(), None, **more)
    assert (one.code, [call.operation for call in one.mend]) == (code, calls)
    assert "No job handler is deployed in tenant t" in one.message


def test_a_job_that_listens_to_another_tag_is_sent_that_tag() -> None:
    (one,) = found(definition(target_message_tag="gone"), document())
    assert one.code == "filter_does_not_match"
    assert one.mend[0].arguments["target_message_tag"] == "go"
    assert '"tag":"go"' in one.message


@pytest.mark.parametrize("source", ["echo: {event: x}", "internal-messages: {filter-kind: system}"])
def test_a_job_that_takes_no_such_message_is_let_listen(source: str) -> None:
    (one,) = found(definition(), document(source=source))
    put, deploy = one.mend
    (mended,) = load(put.arguments["document"])
    filter = filter_of(check_job(mended.data).input)
    assert filter is not None and filter.matches(targets.message(definition()))
    assert deploy.operation == "job_deploy"


def test_an_input_that_takes_no_message_can_only_be_seen() -> None:
    (one,) = found(definition(), document(source="files: {paths: [a.log]}"))
    assert [call.operation for call in one.mend] == ["job_get"]


@pytest.mark.parametrize(("output", "kept"), [("discard", False), ("{file: /tmp/x}", True), ("{print: STDOUT}", True)])
def test_a_job_that_never_answers_is_let_answer_beside_what_it_does(output: str, kept: bool) -> None:
    (one,) = found(definition(), document(output))
    assert one.code == "never_answers"
    (mended,) = load(one.mend[0].arguments["document"])
    assert answering.of(mended.data).fits("s.reply")
    assert (mended.data["output"] == document(output)["output"]) is kept


ENVELOPE = '{type: trigger_response, response_slot: "%s"}'


def by_hand(slot: str) -> dict[str, Any]:
    return {**document("{message: {input-field: r}}"), "emit": {"data": load(ENVELOPE % slot)[0].data}}


def test_a_job_that_answers_elsewhere_moves_the_slot_of_the_trigger() -> None:
    (one,) = found(definition(), by_hand("other.reply"))
    assert one.code == "answers_in_another_slot"
    assert one.mend[0].arguments["response_slot"] == "other.reply"
    assert found(definition(), by_hand("s.reply")) == []
    assert found(definition(), by_hand("${msg|slot}")) == []


def test_an_answer_that_a_script_makes_counts_as_one() -> None:
    script = {"script": {"code": 'event.type = "trigger_response"'}}
    assert found(definition(), {**document("{message: {}}"), "actions": [script]}) == []


def test_what_a_deployment_manages_is_mended_there() -> None:
    (one,) = found(definition(), document("discard"), deployment="d")
    assert [(call.operation, dict(call.arguments)) for call in one.mend] == [("deployment_get", {"name": "d"})]


def test_each_call_keeps_what_the_ones_before_have_mended() -> None:
    wanted = definition(target_message_tag="gone", publication={})
    deaf, hidden = found(wanted, by_hand("s.reply"))
    assert (deaf.code, hidden.code) == ("filter_does_not_match", "published_nowhere")
    last = hidden.mend[0].arguments
    assert (last["target_message_tag"], last["publication"]["mcp"]) == ("go", True)
    deaf, mute = found(definition(), document("discard", "echo: {event: x}"))
    (mended,) = load(mute.mend[0].arguments["document"])
    assert found(definition(), mended.data) == []


def test_a_definition_that_is_too_long_to_repeat_is_pointed_at() -> None:
    long = {"type": "object", "description": "x" * targets.MOST_ARGUMENTS}
    (one,) = found(definition(parameter_schema=long, publication={}), document())
    assert [call.operation for call in one.mend] == ["trigger_get"]
    assert "make it an MCP tool" in one.mend[0].why


@pytest.mark.parametrize(
    ("output", "told"),
    [("{file: /tmp/x}", "file /tmp/x"), ("discard", "discard"), ("{message: {tag: a}}", "message a")],
)
def test_where_events_go_is_told_in_a_few_words(output: str, told: str) -> None:
    assert targets.output(document(output)) == told
