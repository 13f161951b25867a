from __future__ import annotations

import asyncio
import base64
import gzip
from typing import Any

import anyio
import orjson
import pytest
from pydantic import ValidationError

from core.dsl.component import Batch, Limits
from core.dsl.language.compile import check_job
from core.errors import InvalidDocument, JobFailed
from tests import waiting
from tests.dsl import rig, web
from tests.dsl.rig import Worker

pytestmark = pytest.mark.anyio

TWO = '{"n":1,"name":"a"}\n{"n":2,"name":"b c"}'


@pytest.fixture
def net(worker: Worker) -> Worker:
    worker.limits = Limits(egress_allow=("127.0.0.0/8",))
    worker.variables["TOKEN"] = "t0k"
    return worker


def lines(body: bytes) -> list[Any]:
    return [orjson.loads(line) for line in body.splitlines()]


# ---- http-post


async def test_query_auth_and_method_are_as_the_document_says(net: Worker) -> None:
    options = {
        "method": "PUT",
        "query": {"n": "${n}"},
        "auth": {"basic": {"username": "u", "password": "${dyn|TOKEN}"}},
    }
    async with web.serve(web.answer(204)) as site:
        await net.write('{"n":1}', {"http-post": {"url": site.url("/${n}"), **options}})
    (request,) = site.requests
    assert request.line.split()[:2] == ["PUT", "/1?n=1"]
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"u:t0k").decode()


async def test_a_body_goes_through_its_preprocessors_in_order(net: Worker) -> None:
    options: dict[str, Any] = {"batch": {"fixed-size": 2}, "input-field": "n"}
    async with web.serve(web.answer(200)) as site:
        await net.write(TWO, {"http-post": {"url": site.url(), **options, "preprocessors": ["gzip"]}})
        await net.write(TWO, {"http-post": {"url": site.url(), **options, "preprocessors": ["gzip", "base64"]}})
    zipped, coded = site.requests
    assert gzip.decompress(zipped.body) == b"1\n2\n"
    assert (zipped.headers["content-encoding"], zipped.headers["content-type"]) == ("gzip", "application/x-ndjson")
    assert gzip.decompress(base64.b64decode(coded.body)) == b"1\n2\n"
    assert "content-encoding" not in coded.headers
    assert coded.headers["content-type"] == "text/plain"


@pytest.mark.parametrize(
    ("batch", "body", "kind"),
    [
        ({"header": "begin", "footer": "end"}, b"begin\n1\n2\nend\n", "application/x-ndjson"),
        ({"wrap-as-json": True}, b"[1,2]", "application/json"),
    ],
)
async def test_a_batch_has_the_frame_that_the_document_gives_it(
    net: Worker, batch: dict[str, Any], body: bytes, kind: str
) -> None:
    async with web.serve(web.answer(200)) as site:
        await net.write(TWO, {"http-post": {"url": site.url(), "input-field": "n", "batch": batch}})
    (request,) = site.requests
    assert (request.body, request.headers["content-type"]) == (body, kind)


async def test_a_batch_that_is_not_full_goes_out_after_its_timeout(net: Worker) -> None:
    sent = asyncio.Event()

    async def answer(request: web.Request, writer: asyncio.StreamWriter) -> None:
        writer.write(web.answer(200))
        sent.set()

    async with web.serve(answer) as site:
        sink = {"http-post": {"url": site.url(), "batch": {"fixed-size": 100, "timeout": "20ms"}}}
        executor = net.executor({"worker-channel": "in"}, sink)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(executor.run)
                await net.env().channel("in").put(Batch([{"n": 1}]))
                await sent.wait()
                await executor.drain(2)
    assert [lines(request.body) for request in site.requests] == [[{"n": 1}]]


async def test_a_document_of_the_input_is_one_request(net: Worker) -> None:
    async with web.serve(web.answer(200, b'[{"a":1},{"a":2}]', content_type="application/json")) as source:
        async with web.serve(web.answer(200)) as site:
            await net.run(
                {"http-poll": {"url": source.url(), "document-mode": True}},
                {"http-post": {"url": site.url(), "batch": {"mode": "document"}, "json-array": True}},
            )
    assert [orjson.loads(request.body) for request in site.requests] == [[{"a": 1}, {"a": 2}]]


async def test_events_that_the_document_lets_a_receiver_refuse_are_found_in_their_batch_and_left_out(
    net: Worker,
) -> None:
    events = "\n".join(f'{{"n":{n}}}' for n in (1, 2, 3))

    async def picky(request: web.Request, writer: asyncio.StreamWriter) -> None:
        refused = any(event["n"] == 2 for event in lines(request.body))
        writer.write(web.answer(422, b"no two") if refused else web.answer(200))

    sink = {"batch": {"fixed-size": 3}, "refused-statuses": [400, 422]}
    async with web.serve(picky) as site:
        report = await net.write(events, {"http-post": {"url": site.url(), **sink}})
        with pytest.raises(JobFailed, match="422"):
            await net.write(events, {"http-post": {"url": site.url(), "batch": {"fixed-size": 3}}})
    assert (report.events_out, report.errors, report.ok) == (2, 1, True)
    assert [[event["n"] for event in lines(request.body)] for request in site.requests[:4]] == [
        [1, 2, 3],
        [1],
        [2],
        [3],
    ]
    assert any("answered 422: no two" in line for line in net.warnings)


async def test_the_other_side_is_asked_again_when_it_says_so(net: Worker) -> None:
    async with web.serve(web.answer(429, retry_after="1"), web.answer(200)) as site:
        started = anyio.current_time()
        await net.write('{"n":1}', {"http-post": {"url": site.url(), "retry": {"retries": 1}}})
        assert anyio.current_time() - started >= 1
        assert len(site.requests) == 2


async def test_an_endless_answer_is_not_read_to_its_end(net: Worker) -> None:
    async def endless(request: web.Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with web.serve(endless) as site:
        with anyio.fail_after(5):
            report = await net.write('{"n":1}', {"http-post": {"url": site.url()}})
    assert report.events_out == 1


async def test_an_endpoint_that_is_not_there_fails_the_job_and_names_it(net: Worker) -> None:
    async with web.serve(web.answer(200)) as site:
        pass
    with anyio.fail_after(5), pytest.raises(JobFailed, match=f"cannot reach http://127.0.0.1:{site.port}"):
        await net.write('{"n":1}', {"http-post": {"url": site.url(), "retry": {"retries": 1}}})
    assert any("trying again" in text for text in net.warnings)


ENVELOPE = {
    "tenant_id": "tenant-a",
    "invocation_id": "inv-1",
    "response_slot": "reply",
    "nonce": "n0nce",
    "timeout_seconds": 20,
    "max_body_bytes": 100,
    "allowed_headers": ["content-type", "etag", "set-cookie"],
}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"ok", {"body": "ok", "body_encoding": "utf-8", "truncated": False}),
        (b"x" * 101, {"body": "x" * 100, "body_encoding": "utf-8", "truncated": True}),
        (b"\xff", {"body": "/w==", "body_encoding": "base64", "truncated": False}),
    ],
)
async def test_an_answer_is_reported_to_the_invocation_whose_envelope_the_event_carries(
    net: Worker, body: bytes, told: dict[str, Any]
) -> None:
    event = orjson.dumps({"n": 1, "trigger_proxy": ENVELOPE}).decode()
    async with web.serve(web.answer(200, body, etag="e1", set_cookie="s=1", content_type="text/plain")) as site:
        await net.write(event, {"http-post": {"url": site.url()}})
    assert orjson.loads(site.requests[0].body) == {"n": 1}  # the nonce does not leave
    (message,) = net.messages
    assert (message.kind, message.type) == ("system", "trigger-proxy-response")
    assert message.data is not None
    response = message.data["job_event"]
    assert response.pop("emitted_at_ns") > 0
    assert response == {
        "type": "trigger_proxy_response",
        "version": 1,
        "tenant_id": "tenant-a",
        "invocation_id": "inv-1",
        "response_slot": "reply",
        "nonce": "n0nce",
        "status": 200,
        "headers": {"etag": "e1", "content-type": "text/plain"},
        **told,
    }


async def test_the_answer_of_the_last_try_is_reported_also_when_it_is_no_success(net: Worker) -> None:
    event = orjson.dumps({"trigger_proxy": ENVELOPE}).decode()
    async with web.serve(web.answer(503), web.answer(404, b"no")) as site:
        with pytest.raises(JobFailed, match="answered 404"):
            await net.write(event, {"http-post": {"url": site.url(), "retry": {"retries": 1}}})
    assert [message.data["job_event"]["status"] for message in net.messages if message.data] == [404]


async def test_the_envelope_bounds_the_time_and_nothing_is_reported_without_an_answer(net: Worker) -> None:
    async def silent(request: web.Request, writer: asyncio.StreamWriter) -> None:
        await waiting.pause(60)  # no answer in any time that is waited for

    event = orjson.dumps({"trigger_proxy": {**ENVELOPE, "timeout_seconds": 0.05}}).decode()
    async with web.serve(silent) as site:
        with anyio.fail_after(5), pytest.raises(JobFailed, match=r"within 0\.05 s"):
            await net.write(event, {"http-post": {"url": site.url()}})
    assert not net.messages


@pytest.mark.parametrize("envelope", ["x", {}, {**ENVELOPE, "tenant_id": ""}, {**ENVELOPE, "nonce": 5}])
async def test_what_is_no_envelope_reports_nothing(net: Worker, envelope: Any) -> None:
    event = orjson.dumps({"n": 1, "trigger_proxy": envelope}).decode()
    async with web.serve(web.answer(200)) as site:
        await net.write(event, {"http-post": {"url": site.url()}})
    assert not net.messages


# ---- http-get


async def test_each_event_is_a_get_request(net: Worker) -> None:
    options = {"query": {"who": "${name}"}, "headers": {"x-n": "${n}"}, "auth": {"bearer": "${dyn|TOKEN}"}}
    async with web.serve(web.answer(200, b"ignored")) as site:
        report = await net.write(TWO, {"http-get": {"url": site.url("/p/${name}?n=${n}"), **options}})
    assert [request.line.split()[:2] for request in site.requests] == [
        ["GET", "/p/a?n=1&who=a"],
        ["GET", "/p/b%20c?n=2&who=b+c"],
    ]
    assert site.requests[0].headers["authorization"] == "Bearer t0k"
    assert report.events_out == 2


async def test_a_get_that_fails_is_tried_again_and_then_fails_the_job(net: Worker) -> None:
    async with web.serve(web.answer(502), web.answer(200)) as site:
        await net.write('{"n":1}', {"http-get": {"url": site.url(), "retry": {"retries": 1}}})
        assert len(site.requests) == 2
    for status, told in ((404, "answered 404"), (302, "not followed")):
        async with web.serve(web.answer(status, location="/x")) as site:
            with pytest.raises(JobFailed, match=told):
                await net.write('{"n":1}', {"http-get": {"url": site.url(), "retry": {"retries": 3}}})
            assert len(site.requests) == 1


async def test_a_missing_field_is_an_empty_text_in_an_address(net: Worker) -> None:
    async with web.serve(web.answer(200)) as site:
        await net.write('{"n":1}', {"http-get": {"url": site.url("/a/${none}")}})
    assert site.requests[0].line.split()[1] == "/a/"
    assert any("${none} has no value" in text for text in net.warnings)


# ---- splunk-hec


async def test_events_travel_in_their_envelopes(net: Worker) -> None:
    options = {
        "token": "${dyn|TOKEN}",
        "index": "main",
        "host": "${name}",
        "source": "${none||}",
        "fields": {"team": "red"},
        "time-field": "n",
        "batch": {"fixed-size": 10},
        "gzip": True,
    }
    async with web.serve(web.answer(200, b'{"text":"Success","code":0}')) as site:
        report = await net.write(TWO, {"splunk-hec": {"url": site.url(), **options}})
    (request,) = site.requests
    assert request.line.split()[:2] == ["POST", "/services/collector/event"]
    assert request.headers["authorization"] == "Splunk t0k"
    assert lines(gzip.decompress(request.body))[0] == {
        "index": "main",
        "host": "a",
        "time": 1,
        "fields": {"team": "red"},
        "event": {"n": 1, "name": "a"},
    }
    assert report.events_out == 2


async def test_a_field_can_be_the_event_and_an_address_be_given_whole(net: Worker) -> None:
    events = '{"m":"x","t":"1.5"}\n{"t":2}\n{"m":{"a":1},"t":"noon"}'
    async with web.serve(web.answer(200)) as site:
        options = {"token": "t", "input-field": "m", "time-field": "t", "batch": {}}
        report = await net.write(events, {"splunk-hec": {"url": site.url("/hec"), **options}})
    assert site.requests[0].line.split()[1] == "/hec"
    assert lines(site.requests[0].body) == [{"time": "1.5", "event": "x"}, {"event": {"a": 1}}]
    assert report.errors == 2  # no field m; noon is no time


async def test_one_invalid_event_is_left_out_and_the_others_are_sent(net: Worker) -> None:
    invalid = web.answer(400, b'{"text":"Invalid data format","code":6,"invalid-event-number":1}')
    async with web.serve(invalid, web.answer(200)) as site:
        events = '{"n":1}\n{"n":2}\n{"n":3}'
        report = await net.write(events, {"splunk-hec": {"url": site.url(), "token": "t", "batch": {}}})
    assert [line["event"]["n"] for line in lines(site.requests[1].body)] == [1, 3]
    assert report.errors == 1
    assert any("Invalid data format" in text for text in net.warnings)


@pytest.mark.parametrize(
    ("answer", "told", "tries"),
    [
        (web.answer(403, b'{"text":"Invalid token","code":4}'), "answered 403", 1),
        (web.answer(400, b'{"text":"No data","code":5}'), "answered 400", 1),
        (web.answer(503, b'{"text":"Server is busy","code":9}'), "answered 503", 2),
    ],
)
async def test_a_collector_that_does_not_accept_fails_the_job(
    net: Worker, answer: bytes, told: str, tries: int
) -> None:
    async with web.serve(answer) as site:
        with pytest.raises(JobFailed, match=told):
            await net.write('{"n":1}', {"splunk-hec": {"url": site.url(), "token": "t", "retry": {"retries": 1}}})
        assert len(site.requests) == tries


async def test_a_token_that_is_not_set_is_told_before_anything_is_sent(net: Worker) -> None:
    async with web.serve(web.answer(200)) as site:
        with pytest.raises(JobFailed, match="splunk-hec: the secret is empty"):
            await net.write('{"n":1}', {"splunk-hec": {"url": site.url(), "token": "${dyn|NONE}"}})
        assert site.connections == 0


# ---- elasticsearch


def bulk(*statuses: int, action: str = "index") -> bytes:
    items = [
        {action: {"status": s, **({"error": {"type": "oops", "reason": f"because {s}"}} if s >= 300 else {})}}
        for s in statuses
    ]
    return web.answer(200, orjson.dumps({"errors": max(statuses) >= 300, "items": items}))


async def test_documents_go_out_in_bulk_with_index_and_id(net: Worker) -> None:
    options = {
        "index": "logs-${name}",
        "id-field": "n",
        "auth": {"api-key": "${dyn|TOKEN}"},
        "batch": {"fixed-size": 10},
        "gzip": True,
    }
    async with web.serve(bulk(201, 200)) as site:
        report = await net.write(TWO, {"elasticsearch": {"url": site.url("/?pipeline=p"), **options}})
    (request,) = site.requests
    assert request.line.split()[:2] == ["POST", "/_bulk?pipeline=p"]
    assert request.headers["authorization"] == "ApiKey t0k"
    assert request.headers["content-type"] == "application/x-ndjson"
    assert lines(gzip.decompress(request.body)) == [
        {"index": {"_index": "logs-a", "_id": "1"}},
        {"n": 1, "name": "a"},
        {"index": {"_index": "logs-b c", "_id": "2"}},
        {"n": 2, "name": "b c"},
    ]
    assert (report.events_out, report.errors) == (2, 0)


async def test_only_the_documents_that_were_refused_for_now_are_sent_again(net: Worker) -> None:
    async with web.serve(bulk(201, 429, 400, 503), bulk(201, 429), bulk(201)) as site:
        events = "\n".join(f'{{"n":{n}}}' for n in range(4))
        options = {"index": "i", "batch": {"fixed-size": 4}, "retry": {"retries": 3}}
        report = await net.write(events, {"elasticsearch": {"url": site.url(), **options}})
    sent = [[doc["n"] for doc in lines(request.body)[1::2]] for request in site.requests]
    assert sent == [[0, 1, 2, 3], [1, 3], [3]]
    assert (report.events_out, report.errors) == (3, 1)
    assert any("a document was refused: 400 oops: because 400" in text for text in net.warnings)


async def test_documents_that_stay_refused_fail_the_job(net: Worker) -> None:
    async with web.serve(bulk(429)) as site:
        with pytest.raises(JobFailed, match="1 documents were refused for now: 429 oops"):
            options = {"index": "i", "retry": {"retries": 1}}
            await net.write('{"n":1}', {"elasticsearch": {"url": site.url(), **options}})
        assert len(site.requests) == 2


async def test_a_document_that_is_there_already_counts_as_created(net: Worker) -> None:
    async with web.serve(bulk(409, action="create")) as site:
        options = {"index": "i", "id-field": "n", "action": "create"}
        report = await net.write('{"n":1}', {"elasticsearch": {"url": site.url(), **options}})
    assert (report.events_out, report.errors) == (1, 0)
    assert lines(site.requests[0].body)[0] == {"create": {"_index": "i", "_id": "1"}}


async def test_events_that_cannot_be_documents_are_counted_and_not_sent(net: Worker) -> None:
    events = '{"k":"a","d":{"x":1}}\n{"d":{}}\n{"k":true,"d":{}}\n{"k":"b","d":5}\n{"k":"c"}'
    async with web.serve(bulk(201)) as site:
        options = {"index": "i", "id-field": "k", "input-field": "d"}
        report = await net.write(events, {"elasticsearch": {"url": site.url(), **options}})
        await net.write('{"n":1}', {"elasticsearch": {"url": site.url(), "index": "${none}"}})
    assert [lines(request.body)[1] for request in site.requests] == [{"x": 1}]
    assert report.errors == 4
    assert any("the index is empty" in text for text in net.warnings)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (web.answer(401, b"{}"), "answered 401"),
        (web.answer(200, b"<html>"), "not JSON"),
        (web.answer(200, b'{"items": []}'), "result of each document"),
        (web.answer(200, b'{"items": [{"index": {}}]}'), "without a status"),
        (web.answer(200, b'{"items": [5]}'), "without a status"),
        (web.answer(200, b"[]"), "result of each document"),
    ],
)
async def test_an_answer_that_is_none_of_a_cluster_fails_the_job(net: Worker, answer: bytes, told: str) -> None:
    async with web.serve(answer) as site:
        with pytest.raises(JobFailed, match=told):
            await net.write('{"n":1}', {"elasticsearch": {"url": site.url(), "index": "i"}})


@pytest.mark.parametrize(
    "document",
    [
        {"splunk-hec": {"url": "http://x/"}},
        {"splunk-hec": {"url": "http://x/", "token": "t", "auth": {"bearer": "t"}}},
        {"elasticsearch": {"url": "http://x/"}},
        {"elasticsearch": {"url": "ftp://x/", "index": "i"}},
        {"http-get": {"url": "http://u:p@x/"}},
        {"http-get": {"url": "http://x/", "body": "b"}},
        {"http-post": {"url": "http://x/", "preprocessors": ["zip"]}},
        {"http-post": {"url": "http://x/", "refused-statuses": [429]}},
        {"http-post": {"url": "http://x/", "refused-statuses": [500]}},
        {"http-post": {"url": "http://x/", "json-array": True, "batch": {"footer": "x"}}},
        {"elasticsearch": {"url": "http://x/", "index": "i", "batch": {"header": "x"}}},
    ],
)
def test_what_cannot_work_is_refused_in_the_document(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rig.declare("output", document)


@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_component_that_was_left_out_is_refused_with_the_reason(kind: str) -> None:
    document = {"name": "j", "input": {"echo": {"event": "x"}}, "output": {"print": "STDOUT"}} | {kind: {"cluster": {}}}
    with pytest.raises(InvalidDocument) as refused:
        check_job(document)
    assert "left out on purpose: Needs numeric libraries" in refused.value.errors[0].message
