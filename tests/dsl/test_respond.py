"""The respond output: which response a run sends, and what it says when there is nobody to answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from core.documents import load
from core.dsl.component import Batch, Run
from core.dsl.language.compile import check_job, compile_job
from core.dsl.outputs.respond import ANSWERED
from core.errors import InvalidDocument
from core.model.trigger import MOST_RESPONSE_BYTES
from core.triggers import responses
from core.worker import preview
from core.worker.executor import Executor
from core.worker.runs import Delivery
from tests import waiting
from tests.dsl import rig
from tests.dsl.rig import Worker

pytestmark = pytest.mark.anyio

INVOKED: dict[str, Any] = {
    "type": "trigger_invoke",
    "version": 1,
    "invocation_id": "inv_1",
    "trigger": {"id": "trg_1", "slug": "smoke", "revision": 1, "tenant_id": "tenant-a"},
    "caller": {"username": "alice", "role": "admin"},
    "params": {"env": "prod", "depth": 2, "tags": ["a"], "quote": '"'},
    "requested_at_ns": 1739370000000000001,
    "response_slot": "smoke.reply",
}
EXPECTED = responses.Expected("inv_1", "tenant-a", "smoke.reply")


@asynccontextmanager
async def handling(
    worker: Worker, output: str, actions: str = "[]", event: str = "{}", emit: str = "[]"
) -> AsyncIterator[Executor]:
    """A handler at work."""
    text = f"""
name: handler
input: {{echo: {{trigger: {{message: {{filter-tag: smoke.invoke}}}}, json: true, event: '{event}'}}}}
actions: {actions}
output: {output}
emit: {emit}
"""
    (loaded,) = load(text)
    executor = Executor(compile_job(loaded.data, worker.env()), worker.env(), on_run=worker.reports.append)
    task = asyncio.create_task(executor.run())
    await rig.opened(executor)
    with anyio.fail_after(5):
        yield executor
        await executor.drain(2)
        await task


async def answers(
    worker: Worker,
    output: str,
    actions: str = "[]",
    event: str = "{}",
    body: dict[str, Any] = INVOKED,
    emit: str = "[]",
) -> tuple[list[dict[str, Any]], str | None]:
    """(what the handler sent for one message, why the run failed)."""
    settled: list[str | None] = []
    async with handling(worker, output, actions, event, emit) as executor:
        message = {"id": "msg_1", "message_data": {"job_event": body}}
        executor.deliver(Delivery(1, 1, message, settled.append))
    (reason,) = settled
    return [message.data["job_event"] for message in worker.messages if message.data], reason


async def test_one_line_writes_the_whole_envelope(worker: Worker) -> None:
    (sent,), reason = await answers(worker, '{respond: {result: {env: "${msg|job_event.params.env}", ok: true}}}')
    assert responses.fault(sent, EXPECTED, "tenant-a") is None
    assert (sent["outcome"], sent["result"], reason) == ("succeeded", {"env": "prod", "ok": True}, None)
    assert (worker.messages[0].kind, worker.messages[0].type) == ("user", "user-generated")


async def test_a_text_that_is_one_placeholder_keeps_the_type_of_its_value(worker: Worker) -> None:
    output = """{respond: {result: {
        all: "${msg|job_event.params}", n: "${n}", list: ["${n}", "${msg|job_event.params.tags}"], text: "n=${n}",
        gone: "${none||no}", quote: "${msg|job_event.params.quote}"}}}"""
    (sent,), _ = await answers(worker, output, event='{"n": 3}')
    assert sent["result"] == {
        "all": INVOKED["params"],
        "n": 3,
        "list": [3, ["a"]],
        "text": "n=3",
        "gone": "no",
        "quote": '"',
    }


async def test_without_a_result_the_event_is_it(worker: Worker) -> None:
    (sent,), _ = await answers(worker, "respond", event='{"rows": 12}')
    assert sent["result"] == {"rows": 12}


async def test_a_result_may_be_one_field_and_must_be_an_object(worker: Worker) -> None:
    (sent,), _ = await answers(worker, '{respond: {result: "${sum}"}}', event='{"sum": {"rows": 12}}')
    assert sent["result"] == {"rows": 12}
    worker.messages.clear()
    (sent,), reason = await answers(worker, '{respond: {result: "${sum}"}}', event='{"sum": 12}')
    assert reason == "respond: the result is no object"
    assert (sent["outcome"], sent["error_code"], sent["error_message"]) == ("failed", "run_failed", reason)


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ('{respond: {error: "no ${x}"}}', {"outcome": "failed", "error_message": "no disk"}),
        (
            '{respond: {error: {code: "e_${x}", message: why}, result: {x: "${x}"}}}',
            {"outcome": "failed", "error_code": "e_disk", "error_message": "why", "result": {"x": "disk"}},
        ),
        (
            '{respond: {outcome: "${o}", error: oh}}',
            {"outcome": "succeeded", "result": {"x": "disk", "o": "succeeded"}},
        ),
        ("{respond: {outcome: failed}}", {"outcome": "failed"}),
    ],
)
async def test_the_outcome_decides_what_is_told(worker: Worker, output: str, told: dict[str, Any]) -> None:
    (sent,), reason = await answers(worker, output, event='{"x": "disk", "o": "succeeded"}')
    assert {key: sent[key] for key in ("outcome", "error_code", "error_message", "result") if key in sent} == told
    assert responses.fault(sent, EXPECTED, "tenant-a") is None
    assert reason is None


async def test_an_outcome_that_a_template_gets_wrong_fails_the_run(worker: Worker) -> None:
    (sent,), reason = await answers(worker, '{respond: {outcome: "${o}"}}', event='{"o": "done"}')
    assert reason == "respond: the outcome is 'done'; allowed: succeeded, failed"
    assert (sent["outcome"], sent["error_message"]) == ("failed", reason)


async def test_a_run_that_fails_answers_with_why(worker: Worker) -> None:
    (sent,), reason = await answers(worker, "respond", "[{abort: {message: the disk is full}}]")
    assert reason is not None
    assert "the disk is full" in reason
    assert (sent["outcome"], sent["error_code"], sent["error_message"]) == ("failed", "run_failed", reason)
    assert responses.fault(sent, EXPECTED, "tenant-a") is None


async def test_a_run_of_which_no_event_comes_through_answers_too(worker: Worker) -> None:
    (sent,), reason = await answers(worker, "respond", "[{filter: {condition: 'n > 1'}}]", '{"n": 1}')
    assert reason is None
    assert (sent["outcome"], sent["error_code"]) == ("failed", "no_answer")
    assert "no event came through" in sent["error_message"]


async def test_a_job_that_lets_the_caller_wait_says_nothing_for_a_failed_run(worker: Worker) -> None:
    sent, reason = await answers(worker, "{respond: {on-error: wait}}", "[{abort: {message: stop}}]")
    assert sent == []
    assert reason is not None


async def test_only_the_first_event_of_a_run_is_the_answer(worker: Worker) -> None:
    sent, reason = await answers(worker, "respond", event='{"n": 1}\\n{"n": 2}'.replace("\\n", "\n\n"))
    assert [one["result"] for one in sent] == [{"n": 1}]
    assert reason is None
    assert worker.reports[-1].errors == 1
    assert "has answered already" in worker.warnings[-1]


@pytest.mark.parametrize("body", [{"type": "other"}, {}, {"type": "trigger_invoke", "trigger": {}}])
async def test_a_message_that_is_no_invocation_has_nobody_to_answer(worker: Worker, body: dict[str, Any]) -> None:
    sent, reason = await answers(worker, "respond", body=body)
    assert sent == []
    assert reason is not None
    assert reason.startswith("respond: there is nobody to answer: the message is no invocation")
    assert not worker.reports[-1].ok


async def test_a_job_that_fires_by_itself_has_nobody_to_answer(worker: Worker) -> None:
    report = await worker.write('{"n": 1}', {"respond": {}})
    assert (report.errors, worker.messages) == (1, [])
    assert "the run was not started by an invocation" in worker.warnings[0]


async def test_a_trigger_without_a_slot_waits_for_no_answer_and_the_log_says_so(worker: Worker) -> None:
    body = {key: value for key, value in INVOKED.items() if key != "response_slot"}
    sent, reason = await answers(worker, "respond", body=body)
    assert (sent, reason) == ([], None)
    assert worker.warnings == ["respond: nobody waits for an answer: the trigger has no response_slot"]


async def test_a_response_that_is_too_large_answers_with_that(worker: Worker) -> None:
    (sent,), _ = await answers(worker, "respond", event=f'{{"x": "{"a" * MOST_RESPONSE_BYTES}"}}')
    assert sent["error_message"] == f"respond: the response is larger than {MOST_RESPONSE_BYTES} bytes"


async def test_a_job_that_reads_messages_answers_each_of_them(worker: Worker) -> None:
    settled: list[BaseException | None] = []
    sink = rig.declare("output", {"respond": {"result": {"ok": True}}}).open(worker.env())
    events = [{"message_data": {"job_event": {**INVOKED, "invocation_id": id}}} for id in ("inv_1", "inv_2")]
    await sink.write(Batch(events, settled.append), Run())
    sent = [message.data["job_event"]["invocation_id"] for message in worker.messages if message.data]
    assert (sent, settled) == (["inv_1", "inv_2"], [None])


async def test_a_run_that_waits_and_fails_answers_before_its_message_is_done(worker: Worker) -> None:
    """A job with an action that waits goes another way through the executor; its store is not there."""
    actions = "[{worker-kv: {namespace: n, operation: {push: {value-field: n}}}}]"
    sent_before: list[int] = []
    async with handling(worker, "respond", actions, '{"n": 1}') as executor:
        message = {"id": "msg_1", "message_data": {"job_event": INVOKED}}
        executor.deliver(Delivery(1, 1, message, lambda reason: sent_before.append(len(worker.messages))))
    (sent,) = [message.data["job_event"] for message in worker.messages if message.data]
    assert (sent["outcome"], sent["error_code"]) == ("failed", "run_failed")
    assert sent_before == [1]


async def test_a_trace_shows_the_answer_and_who_cannot_be_answered(worker: Worker) -> None:
    declared = rig.declare("output", {"respond": {"result": {"n": "${n}"}}})
    run = Run("trace", {"job_event": INVOKED})
    (answer,), (fault,) = preview.output(declared, worker.env(), run, [{"n": 1}, {"n": 2}])
    assert answer["data"]["job_event"]["result"] == {"n": 1}
    assert (fault["event"], fault["message"]) == (1, ANSWERED)
    sent, (fault,) = preview.output(declared, worker.env(), Run("trace"), [{"n": 1}])
    assert (sent, fault["message"][:28]) == ([], "there is nobody to answer: t")


# ---- beside an output that does the work


async def test_a_job_that_writes_elsewhere_answers_beside_it_with_figures(worker: Worker) -> None:
    emit = '{respond: {result: {rows: "${stat|events_out}", env: "${msg|job_event.params.env}"}}}'
    (sent,), reason = await answers(worker, "{print: STDOUT}", event='{"n": 1}', emit=emit)
    assert responses.fault(sent, EXPECTED, "tenant-a") is None
    assert (sent["outcome"], sent["result"], reason) == ("succeeded", {"rows": 1, "env": "prod"}, None)
    assert worker.printed == ['{"n":1}']
    worker.messages.clear()
    (sent,), _ = await answers(worker, "{print: STDOUT}", emit="{respond: {}}")
    assert sent["result"]["events_out"] == 1


@pytest.mark.parametrize(
    ("actions", "code"),
    [("[{abort: {message: full}}]", "run_failed"), ("[{filter: {condition: 'false'}}]", "no_answer")],
)
async def test_beside_an_output_too_a_run_that_comes_to_nothing_is_answered(
    worker: Worker, actions: str, code: str
) -> None:
    (sent,), _ = await answers(worker, "{print: STDOUT}", actions, emit="{respond: {result: {ok: true}}}")
    assert (sent["outcome"], sent["error_code"]) == ("failed", code)


async def test_an_output_that_has_done_its_work_is_not_undone_when_there_is_nobody_to_answer(worker: Worker) -> None:
    sent, reason = await answers(worker, "{print: STDOUT}", body={}, emit="{respond: {}}")
    assert (sent, reason, worker.printed) == ([], None, ["{}"])
    assert "there is nobody to answer" in worker.warnings[0]


@pytest.mark.parametrize(
    ("emit", "told"),
    [
        ({"respond": {}, "on": "batch"}, "no other on"),
        ({"respond": {}, "tag": "t"}, "no tag"),
        ({"respond": {"result": {"n": "${n}"}}}, "reads an event"),
    ],
)
def test_an_answer_beside_an_output_is_one_and_reads_no_event(emit: dict[str, Any], told: str) -> None:
    job = {"name": "j", "input": {"echo": {"event": "x"}}, "output": {"print": "STDOUT"}, "emit": emit}
    with pytest.raises(InvalidDocument) as caught:
        check_job(job)
    assert told in caught.value.errors[0].message


async def test_a_run_that_is_finished_while_its_job_is_drained_is_answered(worker: Worker) -> None:
    settled: list[str | None] = []
    async with handling(worker, "{worker-channel: c}", emit="{respond: {}}") as executor:
        message = {"id": "msg_1", "message_data": {"job_event": INVOKED}}
        executor.deliver(Delivery(1, 1, message, settled.append))
        taken = await worker.env("reader").channel("c").get()
        draining = asyncio.create_task(executor.drain(5))
        await waiting.until(lambda: executor._stopping)
        taken.settle(None)
        await draining
    (sent,) = [message.data["job_event"] for message in worker.messages if message.data]
    assert (sent["outcome"], settled) == ("succeeded", [None])
