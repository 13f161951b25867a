from __future__ import annotations

import asyncio
import gzip
import itertools
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.dsl.component import Event, Limits, Run
from core.dsl.connections import http_requests
from core.errors import Forbidden, JobFailed
from core.worker.executor import Executor
from tests import certificates, waiting
from tests.dsl import rig
from tests.dsl.rig import Worker

pytestmark = pytest.mark.anyio


@dataclass
class Running:
    """A job whose input listens, and a client for it."""

    worker: Worker
    executor: Executor
    port: int
    client: httpx.AsyncClient
    events: list[Event] = field(default_factory=list)


@asynccontextmanager
async def serving(
    worker: Worker,
    options: dict[str, Any] | None = None,
    sink: dict[str, Any] | None = None,
    verify: ssl.SSLContext | bool = True,
) -> AsyncIterator[Running]:
    """Run a job with this http-server input until the block ends, then drain it."""
    seen: list[Event] = []

    def keep(events: list[Event], run: Run) -> list[Event]:
        seen.extend(orjson.loads(orjson.dumps(events)))
        return rig.pass_on(events, run)

    source = {"http-server": {"address": "127.0.0.1:0", **(options or {})}}
    executor = worker.executor(source, sink or {"discard": {}}, keep)
    scheme = "https" if options and "tls" in options else "http"
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(executor.run)
            await waiting.until(lambda: listening(worker))
            port = listening(worker)
            async with httpx.AsyncClient(
                base_url=f"{scheme}://127.0.0.1:{port}", verify=verify, trust_env=False, timeout=10
            ) as client:
                yield Running(worker, executor, port, client, seen)
                await executor.drain(3)


def listening(worker: Worker) -> int:
    found = [re.search(r"listening at .*:(\d+)$", text) for _, text, _ in worker.log_lines]
    return next((int(match[1]) for match in found if match), 0)


async def raw(port: int, data: bytes) -> bytes:
    """What the server says to these bytes until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await reader.read()
    finally:
        writer.close()


# ---- what becomes an event


async def test_a_request_is_one_event_with_its_method_address_headers_and_body(worker: Worker) -> None:
    async with serving(worker, {"source-ip-field": "client.ip"}) as job:
        reply = await job.client.post("/in/x?a=1&b=2&b=3&e=", content="hi\nyou", headers={"X-Team": "red"})
        assert (reply.status_code, reply.content) == (200, b"")
    (event,) = job.events
    headers = event.pop("headers")
    assert event == {
        "method": "POST",
        "url": "/in/x?a=1&b=2&b=3&e=",
        "query": {"a": "1", "b": ["2", "3"], "e": ""},
        "body": "hi\nyou",
        "client": {"ip": "127.0.0.1"},
    }
    assert headers["x-team"] == "red"


@pytest.mark.parametrize(
    ("options", "target", "body", "events"),
    [
        ({"only-body": True}, "/", b"a\nb\n", [{"_raw": "a"}, {"_raw": "b"}]),
        ({"only-body": True, "ignore-linebreaks": True}, "/", b"a\nb", [{"_raw": "a\nb"}]),
        ({"only_body": True, "ignore-line-breaks": True}, "/", b"a\nb", [{"_raw": "a\nb"}]),
        ({"only-body": True, "json": True}, "/", b'{"n": 1}', [{"n": 1}]),
        ({"only-body": True, "json": True}, "/", b'[{"n": 1}, 2]', [{"n": 1}, {"_raw": 2}]),
        ({"only-body": True, "json": True}, "/", b'{"n": 1}\n{"n": 2}\n', [{"n": 1}, {"n": 2}]),
        ({"only-body": True, "json": True}, "/", b"", []),
        ({"only-body": True, "query": "k"}, "/?k=v&o=1", b"a", [{"_raw": "a", "k": "v"}]),
        ({"only-body": True, "query": "k"}, "/", b"a", [{"_raw": "a", "k": None}]),
    ],
)
async def test_only_body_makes_events_of_the_body_alone(
    worker: Worker, options: dict[str, Any], target: str, body: bytes, events: list[Event]
) -> None:
    async with serving(worker, options) as job:
        assert (await job.client.post(target, content=body)).status_code == 200
    assert job.events == events


async def test_json_parses_the_body_and_query_captures_one_parameter(worker: Worker) -> None:
    async with serving(worker, {"json_body": True, "query": "id"}) as job:
        await job.client.post("/?id=7&x=1", content=b'{"n": 1}')
    assert (job.events[0]["body"], job.events[0]["query"]) == ({"n": 1}, "7")


async def test_what_is_not_json_or_not_utf8_stays_as_text_and_is_counted(worker: Worker) -> None:
    async with serving(worker, {"json": True}) as job:
        assert (await job.client.post("/", content=b"{nope")).status_code == 200
        assert (await job.client.post("/", content=b'"a\xff"')).status_code == 200
    assert [event["body"] for event in job.events] == ["{nope", '"a�"']
    assert worker.reports[-1].errors == 3  # the second is neither
    assert any("not JSON" in text for text in worker.warnings)
    assert any("not UTF-8" in text for text in worker.warnings)


async def test_the_response_is_the_documents_own_filled_from_the_event_as_it_arrived(worker: Worker) -> None:
    options = {"custom-response": '{"got": "${body.n}"}', "content-type": "application/json", "json": True}
    async with serving(worker, options) as job:
        reply = await job.client.post("/", json={"n": 5})
        assert reply.json() == {"got": "5"}
        assert reply.headers["content-type"] == "application/json"
        head = await job.client.head("/")
        assert (head.status_code, head.content) == (200, b"")


async def test_another_path_is_not_found_and_makes_no_event(worker: Worker) -> None:
    async with serving(worker, {"path": "/in"}) as job:
        assert (await job.client.get("/other")).status_code == 404
        assert (await job.client.get("/in/")).status_code == 404
        assert (await job.client.get("/in?x=1")).status_code == 200
    assert [event["url"] for event in job.events] == ["/in?x=1"]


async def test_gzip_bodies_are_understood_and_bounded(worker: Worker) -> None:
    whole = gzip.compress(b"hello")
    cases = [
        (whole, "gzip", 200),
        (whole[:-4], "gzip", 400),
        (b"no gzip", "gzip", 400),
        (gzip.compress(b"0" * 100_000), "gzip", 413),
        (whole, "br", 415),
    ]
    async with serving(worker, {"max-body-bytes": 10_000}) as job:
        for body, coding, status in cases:
            reply = await job.client.post("/", content=body, headers={"content-encoding": coding})
            assert reply.status_code == status
    assert [event["body"] for event in job.events] == ["hello"]


# ---- the answer and the output


async def test_the_answer_waits_until_the_output_has_accepted_the_event(worker: Worker) -> None:
    async with serving(worker, sink={"worker-channel": "next"}) as job:
        async with anyio.create_task_group() as group:
            replies: list[int] = []

            async def post() -> None:
                replies.append((await job.client.post("/", content="x")).status_code)

            group.start_soon(post)
            batch = await worker.env().channel("next").get()
            assert not replies
            batch.settle(None)
        assert replies == [200]


async def test_a_sender_is_told_to_come_again_when_the_output_takes_too_long(worker: Worker) -> None:
    async with serving(worker, {"timeout": "50ms"}, {"worker-channel": "next"}) as job:
        reply = await job.client.post("/", content="x")
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
        (await worker.env().channel("next").get()).settle(None)


async def test_a_failing_output_is_a_503_and_the_reason_of_the_job(worker: Worker) -> None:
    executor = worker.executor(
        {"http-server": {"address": "127.0.0.1:0"}}, {"http-post": {"url": "http://127.0.0.1:9/"}}
    )
    async with anyio.create_task_group() as group:
        told: list[str] = []

        async def run() -> None:
            with pytest.raises(JobFailed, match="may not reach"):
                await executor.run()
            told.append("failed")

        group.start_soon(run)
        await waiting.until(lambda: listening(worker))
        async with httpx.AsyncClient(trust_env=False) as client:
            reply = await client.post(f"http://127.0.0.1:{listening(worker)}/", content="x")
        assert (reply.status_code, reply.headers["connection"]) == (503, "close")
    assert told == ["failed"]


async def test_draining_answers_what_is_under_way_and_refuses_the_rest(worker: Worker) -> None:
    async with serving(worker, sink={"worker-channel": "next"}) as job:
        replies: list[int] = []

        async def post() -> None:
            replies.append((await job.client.post("/", content="x")).status_code)

        async with anyio.create_task_group() as group:
            group.start_soon(post)
            batch = await worker.env().channel("next").get()
            idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", job.port)
            group.start_soon(job.executor.drain, 3)
            assert await idle_reader.read() == b""  # an idle connection ends at once
            idle_writer.close()
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", job.port)
            assert not replies
            batch.settle(None)
        assert replies == [200]
    assert worker.reports[-1].ok


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.soak)])
async def test_many_senders_at_once_are_all_answered(worker: Worker, count: int) -> None:
    async with serving(worker) as job:
        replies = await asyncio.gather(*(job.client.post(f"/{n}", content=str(n)) for n in range(count)))
        assert {reply.status_code for reply in replies} == {200}
    assert sorted(int(event["body"]) for event in job.events) == list(range(count))


async def test_requests_that_come_together_on_one_connection_are_answered_in_order(worker: Worker) -> None:
    one = b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n"
    last = b"GET /9 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with serving(worker, {"custom-response": "${url};"}) as job:
        answer = await raw(job.port, b"".join(one % n for n in range(9)) + last)
    assert re.findall(rb"/\d;", answer) == [b"/%d;" % n for n in range(10)]


# ---- hostile and broken senders


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n7d1\r\n" + b"x" * 2001 + b"\r\n", b"413"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 300 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000, b"431"),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", b"400"),
    ],
    ids=[
        "no-http",
        "two-lengths",
        "long-body",
        "long-chunks",
        "long-target",
        "many-headers",
        "endless-head",
        "connect",
    ],
)
async def test_what_is_no_acceptable_request_gets_a_status_and_a_close(
    worker: Worker, data: bytes, status: bytes
) -> None:
    async with serving(worker, {"max-body-bytes": 2000}) as job:
        answer = await raw(job.port, data)
        assert answer.split(b" ")[1] == status
        assert b"connection: close" in answer
        assert (await job.client.get("/")).status_code == 200  # others are served on
    assert len(job.events) == 1


async def test_a_request_that_does_not_come_in_time_is_refused(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_requests, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(http_requests, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(http_requests, "IDLE_SECONDS", 0.1)
    async with serving(worker) as job:
        assert (await raw(job.port, b"GET / HTTP/1.1\r\nhost: x\r\n")).split(b" ")[1] == b"408"
        late = await raw(job.port, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nabc")
        assert late.split(b" ")[1] == b"408"
        assert await raw(job.port, b"") == b""  # who says nothing is closed


async def test_a_sender_that_asks_first_is_told_to_go_on(worker: Worker) -> None:
    async with serving(worker) as job:
        reader, writer = await asyncio.open_connection("127.0.0.1", job.port)
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 100")
        writer.write(b"hi")
        assert b"200 OK" in await reader.readuntil(b"content-length: 0\r\n\r\n")
        writer.close()
    assert job.events[0]["body"] == "hi"


async def test_an_offer_to_speak_another_protocol_is_passed_over(worker: Worker) -> None:
    async with serving(worker) as job:
        offer = b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
        assert b"200 OK" in await raw(job.port, offer)


async def test_one_connection_more_than_allowed_is_told_to_come_again(worker: Worker) -> None:
    async with serving(worker, {"max-connections": 1}) as job:
        reader, writer = await asyncio.open_connection("127.0.0.1", job.port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")  # it is counted
        refused = await raw(job.port, b"")
        assert refused.split(b" ")[1] == b"503"
        assert b"retry-after: 5" in refused
        writer.close()


def test_bodies_that_wait_are_bounded_over_all_connections() -> None:
    held = http_requests.Held(10)
    first, second = http_requests.Reader(8, held), http_requests.Reader(8, held)
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\n"
    first.feed(head + b"12345678")
    with pytest.raises(http_requests.Refused, match="too many"):
        second.feed(head + b"12345")
    first.close()
    second.close()
    assert held.bytes == 0


# ---- TLS and the address


async def test_tls_with_a_certificate_of_the_document(worker: Worker, tmp_path: Path) -> None:
    made = certificates.self_signed(tmp_path)
    tls = {"cert": str(made.cert), "key": str(made.key)}
    async with serving(worker, {"tls": tls}, verify=made.trusting) as job:
        assert (await job.client.post("/", content="secret")).status_code == 200
        assert await raw(job.port, b"GET / HTTP/1.1\r\n\r\n") != b"200"  # plain text is no handshake
    assert job.events[0]["body"] == "secret"


async def test_a_certificate_that_cannot_be_used_fails_the_job_with_the_reason(worker: Worker, tmp_path: Path) -> None:
    made = certificates.self_signed(tmp_path)
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    for tls, told in (
        ({"cert": str(bad), "key": str(made.key)}, "cannot be used"),
        ({"cert": str(made.cert), "key": str(tmp_path / "none")}, "does not exist"),
    ):
        with pytest.raises(JobFailed, match=told):
            await worker.read({"http-server": {"address": "127.0.0.1:0", "tls": tls}})


async def test_an_address_in_use_fails_the_job_with_a_plain_reason(worker: Worker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(JobFailed, match=f"cannot listen at {address}: the address is in use"):
            await worker.read({"http-server": {"address": address}})


async def test_only_loopback_is_open_unless_the_administrator_opens_more(worker: Worker) -> None:
    for address in ("0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"):
        with pytest.raises(JobFailed, match="may not listen at"):
            await worker.read({"http-server": {"address": address}})
    worker.limits = Limits(listen_allow=("192.0.2.0/24",))
    with pytest.raises(JobFailed, match=r"cannot listen at 192\.0\.2\.1"):  # allowed, but not ours
        await worker.read({"http-server": {"address": "192.0.2.1:0"}})
    worker.limits = Limits(listen_allow=("0.0.0.0",))
    async with serving(worker, {"address": ":0"}) as job:
        assert (await job.client.get("/")).status_code == 200


@pytest.mark.parametrize("address", ["8443", "host:99999", "example.com:80", "1.2.3:80", "127.0.0.1:80/x", ""])
def test_an_address_that_is_none_is_refused_in_the_document(address: str) -> None:
    with pytest.raises(ValidationError):
        rig.declare("input", {"http-server": {"address": address}})


def test_a_refused_address_is_not_worth_another_try() -> None:
    assert not issubclass(Forbidden, JobFailed)


def read_in_parts(data: bytes, cuts: list[int]) -> list[tuple[str, bytes, bytes, bool]]:
    """The requests in these bytes when they arrive in parts; ends at the first refusal."""
    reader = http_requests.Reader(1000, http_requests.Held(10_000))
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    out = []
    for at, end in itertools.pairwise(edges):
        try:
            reader.feed(data[at:end])
        except http_requests.Refused as refused:
            out.append((str(refused.answer.status), b"", b"", False))
            break
        while reader.complete:
            request = reader.complete.popleft()
            out.append((request.method, request.target, bytes(request.body), request.keep_alive))
    return out


REQUESTS = [
    b"GET /a?b=c HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello",
    b"POST /c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
]


@given(st.lists(st.sampled_from(REQUESTS[:3]), min_size=1, max_size=4), st.lists(st.integers(0, 1000), max_size=8))
def test_requests_are_the_same_however_they_are_cut(requests: list[bytes], cuts: list[int]) -> None:
    data = b"".join(requests)
    assert read_in_parts(data, cuts) == read_in_parts(data, [])
    assert len(read_in_parts(data, cuts)) == len(requests)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.tuples(st.sampled_from(REQUESTS), st.integers(0, 200), st.binary(max_size=4)).map(
            lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
        ),
    ),
    st.lists(st.integers(0, 200), max_size=3),
)
def test_any_bytes_are_requests_or_refused(data: bytes, cuts: list[int]) -> None:
    for method, _, body, _ in read_in_parts(data, cuts):
        assert method.isascii()
        assert len(body) <= 1000
