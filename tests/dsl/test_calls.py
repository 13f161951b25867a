"""The http action against real servers: calls in flight, order, faults, retries, the cache, and what it never does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from core import clock
from core.dsl.component import Limits, Run, Tally
from core.dsl.language import compile as compiler
from core.errors import InvalidDocument, JobFailed
from core.model.kv import KV
from core.worker.executor import Executor
from tests import cases
from tests.dsl import web
from tests.dsl.rig import Worker
from tests.kv import stores

pytestmark = pytest.mark.anyio


@pytest.fixture
def net(worker: Worker) -> Worker:
    worker.limits = Limits(egress_allow=("127.0.0.0/8",))
    return worker


def document(events: Sequence[Any], *actions: Any, sink: Any = "print", **more: Any) -> dict[str, Any]:
    text = "\n".join(json.dumps(event) for event in events)
    return {
        "name": "job",
        "input": {"echo": {"json": True, "event": text}},
        "actions": list(actions),
        "output": sink,
        **more,
    }


async def run(
    worker: Worker, events: Sequence[Any], *actions: Any, tally: Tally | None = None, replica: int = 0
) -> list[Any]:
    """Take events through actions on a worker in miniature; what was printed."""
    before = len(worker.printed)
    env = worker.env()
    env.tally, env.workload = tally or env.tally, f"default/job#{replica}"
    job = compiler.compile_job(document(events, *actions), env)
    with anyio.fail_after(20):
        await Executor(job, env, on_run=worker.reports.append).run()
    return [json.loads(line) for line in worker.printed[before:]]


def answer_json(value: Any, status: int = 200) -> bytes:
    return web.answer(status, json.dumps(value).encode(), content_type="application/json")


class Gate:
    """A server whose answers wait until as many requests are there as shall be at once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._now = 0
        self.most = 0
        self._full = asyncio.Event()

    async def __call__(self, request: web.Request, writer: asyncio.StreamWriter) -> None:
        self._now += 1
        self.most = max(self.most, self._now)
        if self._now >= self._size:
            self._full.set()
        await self._full.wait()
        writer.write(answer_json({"path": request.line.split()[1]}))
        self._now -= 1


# ---- calls ---------------------------------------------------------------------------------------------------------


async def test_as_many_calls_as_said_are_in_flight_and_events_keep_their_order(net: Worker) -> None:
    gate, tally = Gate(8), Tally()
    async with web.serve(gate) as site:
        action = {"http": {"url": site.url("/x/${n}"), "concurrency": 8}}
        found = await run(net, [{"n": n} for n in range(40)], action, tally=tally)
    assert [event["response"]["path"] for event in found] == [f"/x/{n}" for n in range(40)]
    assert gate.most == 8
    assert (tally.calls, tally.calls_failed) == (40, 0)


async def test_request_and_answer_are_as_the_document_says(net: Worker) -> None:
    net.variables["TOKEN"] = "t0k"
    async with web.serve(web.answer(201, b"hello", content_type="text/plain", x_a="1")) as site:
        action = {
            "http": {
                "url": site.url("/a/${who}?q=${who}"),
                "method": "POST",
                "headers": {"x-who": "${n}"},
                "query": {"more": "${n}"},
                "auth": {"bearer": "${dyn|TOKEN}"},
                "body": {"text": "${who}", "number": "${n}", "whole": ["${who} has ${n}"]},
                "response": {"body-field": "a.body", "status-field": "a.status", "headers-field": "a.headers"},
            }
        }
        (found,) = await run(net, [{"who": "x/../y?&#é", "n": 7}], action)
    (request,) = site.requests
    encoded = "x%2F..%2Fy%3F%26%23%C3%A9"
    assert request.line.split()[:2] == ["POST", f"/a/{encoded}?q={encoded}&more=7"]
    assert (request.headers["x-who"], request.headers["authorization"]) == ("7", "Bearer t0k")
    whole = ["x/../y?&#é has 7"]
    assert json.loads(request.body) == {"text": "x/../y?&#é", "number": 7, "whole": whole}, "7 is a number"
    assert (found["a"]["status"], found["a"]["body"], found["a"]["headers"]["x-a"]) == (201, "hello", "1")


async def test_an_event_is_the_body_unless_a_field_is_named_and_get_has_none(net: Worker) -> None:
    async with web.serve(web.answer(204)) as site:
        for more in ({"method": "put"}, {"method": "post", "input-field": "n"}, {}):
            assert await run(net, [{"n": 1}], {"http": {"url": site.url(), **more}}) == [{"n": 1, "response": None}]
    assert [request.body for request in site.requests] == [b'{"n":1}', b"1", b""]


async def test_several_events_share_a_request_and_each_gets_its_answer(net: Worker) -> None:
    async def double(request: web.Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer_json({"results": [n * 2 for n in json.loads(request.body)]}))

    async with web.serve(double) as site:
        batch = {"fixed-size": 4, "answers-field": "results"}
        action = {"http": {"url": site.url(), "method": "post", "input-field": "n", "batch": batch}}
        found = await run(net, [{"n": n} for n in range(10)] + [{"m": 1}], action)
    assert [event["response"] for event in found] == [n * 2 for n in range(10)]
    assert sorted(len(json.loads(request.body)) for request in site.requests) == [2, 4, 4]
    assert net.reports[-1].refused == 1


async def test_of_a_shared_request_that_is_refused_each_event_is_sent_alone(net: Worker) -> None:
    async def picky(request: web.Request, writer: asyncio.StreamWriter) -> None:
        sent = json.loads(request.body)
        writer.write(web.answer(422, b"no two") if 2 in sent else answer_json(sent))

    async with web.serve(picky) as site:
        action = {"http": {"url": site.url(), "method": "post", "input-field": "n", "batch": {"fixed-size": 3}}}
        found = await run(net, [{"n": n} for n in range(5)], action)
    assert [event["n"] for event in found] == [0, 1, 3, 4]
    assert net.reports[-1].refused == 1


# ---- faults --------------------------------------------------------------------------------------------------------


def by_number(request: web.Request, writer: asyncio.StreamWriter) -> bytes:
    n = int(request.line.split()[1].rpartition("/")[2])
    return web.answer(404, b"nothing") if n == 2 else answer_json(n)


async def some_missing(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(by_number(request, writer))


async def test_a_refused_event_is_counted_and_the_others_go_on(net: Worker) -> None:
    tally = Tally()
    async with web.serve(some_missing) as site:
        found = await run(net, [{"n": n} for n in range(4)], {"http": {"url": site.url("/${n}")}}, tally=tally)
    assert [event["n"] for event in found] == [0, 1, 3]
    assert (net.reports[-1].refused, net.reports[-1].errors, tally.calls_failed) == (1, 1, 1)
    assert any("answered 404: nothing" in line for line in net.warnings)


async def test_it_may_go_on_as_it_is_or_with_what_went_wrong(net: Worker) -> None:
    events = [{"n": 2}, {"n": 3}]
    async with web.serve(some_missing) as site:
        action = {"url": site.url("/${n}"), "on-error": "skip"}
        assert await run(net, events, {"http": action}) == [{"n": 2}, {"n": 3, "response": 3}]
        assert (net.reports[-1].errors, net.reports[-1].refused) == (1, 0)
        told, fine = await run(net, events, {"http": {**action, "on-error": "field", "error-field": "why"}})
    assert fine == {"n": 3, "response": 3}
    assert (told["why"]["code"], told["why"]["status"]) == ("refused", 404)
    assert told["why"]["message"].endswith("/2 answered 404"), "what a service says may be what it was sent"
    assert any("answered 404: nothing" in line for line in net.warnings)


async def test_with_a_status_field_every_status_is_an_answer(net: Worker) -> None:
    async with web.serve(some_missing) as site:
        action = {"http": {"url": site.url("/${n}"), "response": {"status-field": "status"}}}
        assert await run(net, [{"n": 2}, {"n": 3}], action) == [
            {"n": 2, "status": 404, "response": "nothing"},
            {"n": 3, "status": 200, "response": 3},
        ]
    async with web.serve(web.answer(503)) as site:
        action = {"http": {"url": site.url(), "retry": {"retries": 1}, "response": {"status-field": "status"}}}
        assert (await run(net, [{}], action))[0]["status"] == 503
    assert len(site.requests) == 2


async def test_a_status_of_a_shared_request_is_the_answer_to_all_of_its_events(net: Worker) -> None:
    shared = {"method": "post", "batch": {"fixed-size": 3}, "retry": None, "response": {"status-field": "status"}}
    async with web.serve(web.answer(503, b"down", content_type="text/plain")) as site:
        found = await run(net, [{"n": n} for n in range(3)], {"http": {"url": site.url(), **shared}})
    assert found == [{"n": n, "status": 503, "response": "down"} for n in range(3)]


@pytest.mark.parametrize(
    ("values", "config"),
    [
        (["Anna", "Łukasz", "Müller"], {"headers": {"x-customer": "${v}"}}),
        (["a", "Łukasz"], {"idempotency-key": "${v}", "method": "post"}),
        (["a", "x" * 9000], {"path": "/${v}"}),
        (["a", "x" * 9000], {"path": "/?q=${v}"}),
    ],
    ids=["header", "key", "path", "parameter"],
)
async def test_a_value_of_which_no_request_can_be_made_costs_no_other_event(
    net: Worker, values: list[str], config: dict[str, Any]
) -> None:
    config = dict(config)
    async with web.serve(answer_json(1)) as site:
        action = {"url": site.url(config.pop("path", "/")), **config}
        assert await run(net, [{"v": v} for v in values], {"http": action}) == [{"v": values[0], "response": 1}]
        assert net.reports[-1].refused == len(values) - 1
        found = await run(net, [{"v": v} for v in values], {"http": {**action, "on-error": "field"}})
    assert [event["error"]["code"] for event in found if "error" in event] == ["unsendable"] * (len(values) - 1)


@pytest.mark.parametrize("status", [401, 503])
async def test_an_outage_fails_the_run_and_nothing_is_accepted(net: Worker, status: int) -> None:
    async with web.serve(answer_json(1), web.answer(status)) as site:
        with pytest.raises(JobFailed, match=f"answered {status}"):
            await run(net, [{"n": n} for n in range(3)], {"http": {"url": site.url(), "concurrency": 1}})
    assert net.printed == []
    assert net.reports[-1].refused == 0


async def test_an_address_that_is_closed_fails_the_run_however_faults_are_taken(worker: Worker) -> None:
    async with web.serve(web.answer(200)) as site:
        with pytest.raises(JobFailed, match="may not reach"):
            await run(worker, [{}], {"http": {"url": site.url(), "on-error": "skip"}})
    assert site.connections == 0


async def test_what_may_pass_is_tried_again_as_the_other_side_asks(net: Worker) -> None:
    async with web.serve(web.answer(503), web.answer(429, retry_after="0"), answer_json(1)) as site:
        found = await run(net, [{}], {"http": {"url": site.url(), "retry": {"retries": 2}}})
    assert (found, len(site.requests)) == ([{"response": 1}], 3)
    async with web.serve(web.answer(429, retry_after="60"), answer_json(1)) as site:
        action = {"url": site.url(), "retry": {"retries": 2, "timeout": "5s"}, "on-error": "field"}
        (found,) = await run(net, [{}], {"http": action})  # at once: it would have been beyond the time of retry
    assert (found["error"]["code"], found["error"]["status"], len(site.requests)) == ("unreachable", 429, 1)


async def test_what_is_not_repeatable_is_tried_again_only_when_nothing_was_done_or_with_a_key(net: Worker) -> None:
    retry: dict[str, Any] = {"retry": {"retries": 1}, "on-error": "field", "method": "post"}
    async with web.serve(web.answer(503), answer_json(1)) as site:
        (found,) = await run(net, [{}], {"http": {"url": site.url(), **retry}})
        assert (found["error"]["code"], found["error"]["status"]) == ("unreachable", 503)
    async with web.serve(web.answer(503), answer_json(1)) as site:
        assert await run(net, [{"n": 7}], {"http": {"url": site.url(), "idempotency-key": "k-${n}", **retry}}) == [
            {"n": 7, "response": 1}
        ]
        assert [request.headers["idempotency-key"] for request in site.requests] == ["k-7", "k-7"]
    async with web.serve(web.answer(429), answer_json(1)) as site:
        assert await run(net, [{}], {"http": {"url": site.url(), **retry}}) == [{"response": 1}]
    async with web.serve(answer_json(1)) as site:  # one key for many events would make one of them
        (found,) = await run(net, [{}], {"http": {"url": site.url(), "idempotency-key": "${n}", **retry}})
    assert (found["error"]["code"], site.requests) == ("unsendable", [])


@pytest.mark.parametrize(
    ("answer", "more", "why"),
    [
        (web.answer(200, b"x" * 100), {"max-response-bytes": 99}, "longer than 99 bytes"),
        (web.answer(200, b"{", content_type="application/json"), {}, "not JSON"),
        (web.answer(200, b""), {"response": {"format": "json"}}, "empty"),
        (web.answer(200, b"\xff", content_type="text/plain"), {}, "UTF-8"),
        (web.answer(302, location="http://127.0.0.1/else"), {}, "redirects are not followed"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_a_fault_of_its_event(
    net: Worker, answer: bytes, more: dict[str, Any], why: str
) -> None:
    async with web.serve(answer) as site:
        (found,) = await run(net, [{}], {"http": {"url": site.url(), "on-error": "field", **more}})
    assert why in found["error"]["message"]
    assert "response" not in found


# ---- addresses and secrets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["..", ".", "", None])
async def test_no_value_makes_another_address(net: Worker, value: Any) -> None:
    async with web.serve(answer_json(1)) as site:
        found = await run(net, [{"v": value}, {"v": "%2e%2e"}], {"http": {"url": site.url("/a/${v}/b")}})
    assert [event["v"] for event in found] == ["%2e%2e"]
    assert [r.line.split()[1] for r in site.requests] == ["/a/%252e%252e/b"]


@cases.table(
    ("config", "why"),
    [
        ({"url": "${url}"}, "could choose the host"),
        ({"url": "https://${host}/x"}, "could choose the host"),
        ({"url": "https://a.example.com${x}"}, "could choose the host"),
        ({"url": "${dyn|BASE}${x}"}, "could choose the host"),
        ({"url": "https://${msg|host}/"}, "could choose the host"),
        ({"url": "https://a.example.com/?k=${secret|k}"}, "secret"),
        ({"url": "https://a.example.com/", "query": {"k": "${secret|k}"}}, "secret"),
        ({"url": "https://a.example.com/", "body": {"k": ["${cred|k}"]}}, "secret"),
        ({"url": "https://a.example.com/", "auth": {"api-key": {"key": "${secret|k}", "in": "query"}}}, "in: header"),
        ({"url": "https://a.example.com/${x}", "method": "post", "batch": {}}, "several share"),
        ({"url": "https://a.example.com/", "batch": {}}, "batch is for"),
        ({"url": "https://a.example.com/", "cache": {}, "auth": {"bearer": "${who}"}}, "nothing of an event"),
        ({"url": "https://a.example.com/", "on-error": "dlq:bad"}, "on-error with send"),
        ({"url": "https://a.example.com/", "concurrency": 64, "max-response-bytes": 32000000}, "at most"),
        ({"url": "https://a.example.com/", "rate-limit": "often"}, "not a rate"),
        ({"url": "https://a.example.com/", "timeout": "1h"}, "at most 600s"),
        ({"url": "ftp://a.example.com/"}, "http"),
        ({"url": "https://a.example.com/", "headers": {"content-length": "1"}}, "set by the client itself"),
        ({"url": "https://a.example.com/", "headers": {"${v}": "1"}}, "is not a header name"),
    ],
)
def test_what_cannot_be_right_is_refused_before_it_runs(config: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        compiler.check_job(document([{}], {"http": config}))
    assert why in str(refused.value)


def test_the_address_is_what_a_plan_hears_of() -> None:
    checked = compiler.check_job(document([{}], {"http": {"url": "https://a.example.com/${x}?q=${y}"}}))
    (need,) = compiler.needs_of(checked)
    assert (need.pointer, need.what, need.known) == ("/actions/0/http/url", "egress", True)
    assert need.address.startswith("https://a.example.com/")


# ---- pace and memory -----------------------------------------------------------------------------------------------


async def test_calls_are_spread_over_the_time_that_the_document_gives_them(net: Worker) -> None:
    at: list[float] = []

    async def note(request: web.Request, writer: asyncio.StreamWriter) -> None:
        at.append(clock.monotonic())
        writer.write(answer_json(1))

    async with web.serve(note) as site:
        await run(net, [{} for _ in range(6)], {"http": {"url": site.url(), "rate-limit": "25/s", "concurrency": 6}})
    assert at[-1] - at[0] >= 0.17  # five pauses of 40 ms, less what the first answer took


async def test_the_same_request_is_sent_once_until_its_time_is_over(net: Worker) -> None:
    tally = Tally()
    async with web.serve(some_missing) as site:
        action = {"http": {"url": site.url("/${n}"), "cache": {"ttl": "1m"}, "on-error": "skip"}}
        events = [{"n": n} for n in (1, 1, 1, 2, 2, 3)]
        found = await run(net, events, action, tally=tally)
        assert [event.get("response") for event in found] == [1, 1, 1, None, None, 3]
        assert sorted(r.line.split()[1] for r in site.requests) == ["/1", "/2", "/2", "/3"]  # a fault is not kept
        assert (tally.cache_hits, tally.cache_misses, tally.calls) == (2, 4, 4)
        found[0]["response"] = "changed"
        assert await run(net, [{"n": 1}], action) == [{"n": 1, "response": 1}]  # another instance: nothing is shared
    assert len(site.requests) == 5


@pytest.mark.parametrize("bound", [{"max-entries": 1}, {"max-bytes": 1024}])
async def test_memory_of_answers_is_bounded(net: Worker, bound: dict[str, Any]) -> None:
    tally = Tally()
    async with web.serve(answer_json("x" * 700)) as site:
        action = {"http": {"url": site.url("/${n}"), "cache": bound, "concurrency": 1}}
        await run(net, [{"n": n} for n in (1, 1, 2, 1)], action, tally=tally)
    assert (tally.cache_hits, tally.cache_misses) == (1, 3)


async def test_answers_in_the_kv_store_are_there_for_others_and_after_a_restart(net: Worker, tmp_path: Path) -> None:
    async with stores.local(tmp_path) as kept, web.serve(answer_json({"a": 1})) as site:
        net.store = kept.store
        action = {"http": {"url": site.url(), "cache": {"namespace": "answers", "ttl": "1m"}}}
        assert await run(net, [{}], action) == [{"response": {"a": 1}}]
        assert await run(net, [{}], action) == [{"response": {"a": 1}}]
    assert len(site.requests) == 1


async def test_an_answer_from_which_the_store_took_a_secret_is_asked_for_again(net: Worker, tmp_path: Path) -> None:
    async with stores.local(tmp_path) as kept, web.serve(answer_json({"path": "9123456"})) as site:

        class Masking:
            """The store as a worker has it whose tenant has the secret 1234."""

            def __getattr__(self, name: str) -> Any:
                return getattr(kept.store, name)

            async def apply(self, namespace: str, ops: Any) -> Any:
                return await kept.store.apply(
                    namespace, [op._replace(value=op.value.replace("1234", "***")) for op in ops]
                )

        net.store = cast(KV, Masking())
        action = {"http": {"url": site.url(), "cache": {"namespace": "answers", "ttl": "1m"}}}
        for asked in (1, 2):
            assert await run(net, [{}, {}], action) == [{"response": {"path": "9123456"}}] * 2
            assert len(site.requests) == asked


# ---- waiting and ends ----------------------------------------------------------------------------------------------


async def test_what_is_answered_goes_on_before_the_rest_is_called(net: Worker) -> None:
    """A part at a time: an output has the first answers while later calls still wait, and memory stays bounded."""
    printed: list[int] = []

    async def note(request: web.Request, writer: asyncio.StreamWriter) -> None:
        printed.append(len(net.printed))
        writer.write(answer_json(1))

    async with web.serve(note) as site:
        await run(net, [{} for _ in range(40)], {"http": {"url": site.url(), "concurrency": 1}})
    assert printed[15:17] == [0, 16]
    assert len(net.printed) == 40


async def test_a_job_that_is_stopped_ends_its_calls_and_accepts_nothing(net: Worker) -> None:
    asked = asyncio.Event()

    async def never(request: web.Request, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with web.serve(never) as site:
        env = net.env()
        job = compiler.compile_job(document([{}, {}], {"http": {"url": site.url()}}), env)
        executor = Executor(job, env, on_run=net.reports.append)
        with anyio.fail_after(5):
            task = asyncio.create_task(executor.run())
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert net.printed == []


async def test_a_condition_says_for_which_events_a_call_is_made(net: Worker) -> None:
    async with web.serve(answer_json(1)) as site:
        action = {"http": {"url": site.url("/${n}"), "condition": "n > 1"}}
        found = await run(net, [{"n": n} for n in range(4)], action)
    assert ["response" in event for event in found] == [False, False, True, True]
    assert len(site.requests) == 2


def test_the_dry_form_calls_nobody_and_says_so(worker: Worker) -> None:
    env = worker.env()
    job = compiler.compile_job(document([{}], {"http": {"url": "https://a.example.com/${n}", "method": "post"}}), env)
    assert job.steps[0].process([{"n": "x y"}], Run()) == [{"n": "x y"}]
    ((level, text, fields),) = worker.log_lines
    assert (level, fields["method"]) == ("info", "POST")
    assert text == "would call POST https://a.example.com/x%20y; a trace makes no call, so response is not set"


def test_a_key_that_is_looked_for_at_the_wrong_place_leads_to_the_right_one() -> None:
    body = {"url": "https://a.example.com/", "output-field": "answer"}
    document = {"name": "j", "input": {"echo": {"event": "x"}}, "actions": [{"http": body}], "output": {"discard": {}}}
    with pytest.raises(InvalidDocument) as caught:
        compiler.check_job(document)
    [fault] = caught.value.errors
    assert fault.message == "unknown key 'output-field'; write response: {body-field: NAME}"
