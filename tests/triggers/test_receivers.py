"""Receivers of callbacks that mean no good, or cannot do better: each ends in its class, in time and in bounds."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import json
import math
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from core import clock
from core.engine import Engine
from core.guard import dialing, egress
from core.triggers import deliveries, posting
from tests import certificates, waiting
from tests.dsl import web
from tests.engines import ADMIN, EXAMPLES, engine_on

pytestmark = pytest.mark.anyio

DEFINITION: dict[str, Any] = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
LOOPBACK = ("127.0.0.0/8",)
NO_DEADLINE = 3600.0


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine without workers: each run is refused at once, which is one update."""
    async with engine_on(tmp_path / "home", workers=0, egress_allow=LOOPBACK) as running:
        await running.call("trigger_publish", DEFINITION, ADMIN)
        yield running


async def invoke(engine: Engine, url: str) -> str:
    arguments = {"slug": "smoke_trigger", "params": {"env": "prod"}, "callback": {"url": url}}
    return str((await engine.call("trigger_invoke", arguments, ADMIN))["invocation_id"])


async def delivery(engine: Engine, invocation_id: str, *, tries: int = 0) -> dict[str, Any]:
    """The one delivery of an invocation: when it has ended, or as soon as it was tried so often."""

    async def look() -> dict[str, Any]:
        record = await engine.call("trigger_invocation_get", {"invocation_id": invocation_id}, ADMIN)
        (one,) = record["callbacks"]
        return dict(one)

    return await waiting.until(
        look, lambda one: one["outcome"] != "pending" or (tries and one["attempts"] >= tries), seconds=90
    )


# ---- what a receiver may do. The first word says what follows from it.


async def hang(request: web.Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.get_running_loop().create_future()


async def hang_after_headers(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    await asyncio.get_running_loop().create_future()


async def hang_within_headers(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nx: y")
    await asyncio.get_running_loop().create_future()


async def a_byte_now_and_then(request: web.Request, writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 10_000:
        writer.write(bytes([byte]))
        await writer.drain()
        await waiting.pause(0.02)  # a byte now and then


async def a_flood_of_interim_answers(request: web.Request, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        await writer.drain()
        await waiting.pause(0.01)  # the loop is everyone's


async def ten_thousand_headers(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: %s\r\n" % (n, b"v" * 100) for n in range(10_000)) + b"\r\n")


async def a_header_of_200_kilobytes(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n")


async def reset(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def close_without_a_word(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def close_within_headers(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-le")


async def nonsense(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\x01 what?\r\n\r\n")


async def another_protocol(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.7\r\n")


async def a_body_without_end(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def close_within_the_body(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort")


async def bad_chunks(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nnot a chunk\r\n-1\r\n\r\n")


async def an_interim_answer_first(request: web.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n" + web.answer(200))


BOMB = gzip.compress(gzip.compress(b"0" * 50_000_000))
PASSING = [
    *(hang, hang_within_headers, a_byte_now_and_then, a_flood_of_interim_answers, ten_thousand_headers),
    *(a_header_of_200_kilobytes, reset, close_without_a_word, close_within_headers, nonsense, another_protocol),
]
ACCEPTED: dict[str, web.Handler | bytes] = {
    "200": web.answer(200),
    "204": web.answer(204),
    "299": web.answer(299),
    "a bomb": web.answer(200, BOMB, content_encoding="gzip"),
    "a page with a cookie": web.answer(200, b"<script>", content_type="text/html", set_cookie="a=b"),
    "a hang after the headers": hang_after_headers,
    "a body without end": a_body_without_end,
    "a body that is cut off": close_within_the_body,
    "bad chunks": bad_chunks,
    "an interim answer first": an_interim_answer_first,
}


@pytest.mark.parametrize("receiver", PASSING, ids=lambda one: one.__name__)
async def test_an_answer_that_never_comes_or_makes_no_sense_is_a_passing_fault(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, receiver: web.Handler
) -> None:
    monkeypatch.setattr(posting, "DEADLINE_SECONDS", 0.3)
    monkeypatch.setattr(posting, "PAUSES_SECONDS", (0.02,) * 4)
    with anyio.fail_after(30):
        async with web.serve(receiver) as site:
            told = await delivery(engine, await invoke(engine, site.url()))
    assert (told["outcome"], told["attempts"], len(told["tries"])) == ("dead", 5, 5)
    assert all(entry["reason"] and entry["seconds"] < 2 for entry in told["tries"])
    assert len({request.headers["webhook-id"] for request in site.requests}) == 1
    assert len(site.requests) == 5


@pytest.mark.parametrize("receiver", ACCEPTED)
async def test_a_success_counts_whatever_comes_before_it_or_behind_its_headers(engine: Engine, receiver: str) -> None:
    with anyio.fail_after(5):
        async with web.serve(ACCEPTED[receiver]) as site:
            told = await delivery(engine, await invoke(engine, site.url()))
    assert (told["outcome"], told["attempts"], "reason" in told["tries"][0]) == ("delivered", 1, False)


@pytest.mark.parametrize(
    ("status", "retry_after", "least", "most"),
    [
        (429, "120", 119.9, 121),
        (503, "120", 119.9, 121),
        (429, "IN 120 S", 118, 121),  # as a date
        (429, "1000000000", 3599, 3601),
        (429, "1e9", 1.6, 2.5),
        (429, "-5", 1.6, 2.5),
        (429, "0", 1.6, 2.5),
        (429, "soon", 1.6, 2.5),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", 1.6, 2.5),
        (500, "120", 1.6, 2.5),  # it does not say when it will be well
        (408, "120", 1.6, 2.5),
    ],
    ids=str,
)
async def test_the_next_try_is_when_the_receiver_wants_it_within_bounds(
    engine: Engine, status: int, retry_after: str, least: float, most: float
) -> None:
    if retry_after == "IN 120 S":
        at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=120)
        retry_after = at.strftime("%a, %d %b %Y %H:%M:%S GMT")
    with anyio.fail_after(10):
        async with web.serve(web.answer(status, retry_after=retry_after)) as site:
            told = await delivery(engine, await invoke(engine, site.url()), tries=1)
    (entry,) = told["tries"]
    due = datetime.datetime.fromisoformat(told["next_try_at"]).timestamp()
    assert (told["outcome"], entry["status"]) == ("pending", status)
    assert least <= due - entry["at_ns"] / clock.NANOSECONDS - entry["seconds"] <= most + 1


# ---- certificates


@pytest.mark.parametrize(
    ("host", "days", "fault"),
    [
        ("127.0.0.1", 1, ""),
        ("127.0.0.1", -1, "expired"),
        ("elsewhere.example", 1, "IP address mismatch"),
        ("127.0.0.1", None, "self-signed"),
    ],
    ids=["sound", "expired", "of another host", "self-signed"],
)
async def test_only_a_sound_certificate_is_believed(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    host: str,
    days: int | None,
    fault: str,
) -> None:
    authority = certificates.Authority.make(tmp_path)
    monkeypatch.setattr(posting, "PAUSES_SECONDS", (0.02,) * 4)
    monkeypatch.setattr(egress, "client_context", lambda insecure: authority.trusting)
    with anyio.fail_after(20):
        tls = authority.serving(host, days=days) if days else certificates.self_signed(tmp_path, host).serving
        async with web.serve(web.answer(204), tls=tls) as site:
            told = await delivery(engine, await invoke(engine, site.url()))
    assert (told["outcome"], told["attempts"]) == (("dead", 5) if fault else ("delivered", 1))
    assert len(site.requests) == (0 if fault else 1), "nothing was sent to it"
    assert fault in told["tries"][-1].get("reason", "")


async def test_plain_text_is_no_answer_to_https(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "DEADLINE_SECONDS", 0.3)
    monkeypatch.setattr(posting, "PAUSES_SECONDS", (0.02,) * 4)
    with anyio.fail_after(20):
        async with web.serve(web.answer(204)) as site:
            told = await delivery(engine, await invoke(engine, site.url().replace("http:", "https:")))
    assert (told["outcome"], told["attempts"], site.requests) == ("dead", 5, [])


async def test_a_handshake_that_hangs_leaves_no_connection_behind() -> None:
    closed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        closed.set_result(await reader.read())  # up to the end, which comes when the other side has closed
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    client = egress.Egress(LOOPBACK)
    async with server:
        with anyio.fail_after(5):
            with pytest.raises(dialing.Unreachable, match="within"):
                url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
                await client.request("POST", url, content=b"{}", deadline_seconds=0.2)
            assert (await closed)[:1] == b"\x16", "a TLS hello came, and nothing after it"
    await client.aclose()


# ---- bounds: time, memory, and the others


async def test_the_deadline_of_ten_seconds_is_kept_and_nothing_piles_up(engine: Engine) -> None:
    slow = (hang, hang_within_headers, a_byte_now_and_then, a_flood_of_interim_answers)
    large = (a_body_without_end, ten_thousand_headers, web.answer(200, BOMB, content_encoding="gzip"))
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(40))
        sites = [await stack.enter_async_context(web.serve(one)) for one in (*slow, *large)]
        memory = psutil.Process().memory_info().rss
        runs = [await invoke(engine, site.url()) for site in sites]
        for _ in range(40):
            await invoke(engine, sites[len(slow)].url())
        told = [await delivery(engine, run, tries=1) for run in runs]
        grown = psutil.Process().memory_info().rss - memory
    assert all(9 <= one["tries"][0]["seconds"] <= 11 for one in told[: len(slow)]), told
    assert all(one["tries"][0]["seconds"] < 5 for one in told[len(slow) :]), told
    assert grown < 20 * 1024 * 1024


@pytest.mark.parametrize("where", ["sites of their own", "addresses of the same site"])
async def test_receivers_that_hang_delay_no_other_and_no_run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(posting, "DEADLINE_SECONDS", NO_DEADLINE)
    bad, healthy = 50, 30
    delays: list[float] = []
    all_there, all_hang = anyio.Event(), anyio.Event()
    hanging = 0

    async def answer(request: web.Request, writer: asyncio.StreamWriter) -> None:
        nonlocal hanging
        if "/bad/" in request.line:
            hanging += 1
            if hanging == bad:
                all_hang.set()
            await hang(request, writer)
        delays.append((clock.now_ns() - json.loads(request.body)["emitted_at"]) / clock.NANOSECONDS)
        writer.write(web.answer(204))
        if len(delays) == healthy:
            all_there.set()

    async with web.serve(answer, host="0.0.0.0") as site:
        with anyio.fail_after(60):
            for n in range(bad):
                host = f"127.0.0.{n + 2}" if where == "sites of their own" else "127.0.0.1"
                for _ in range(3):
                    await invoke(engine, site.url(f"/bad/{n}", host=host))
            await all_hang.wait()
            for _ in range(healthy):
                await invoke(engine, site.url("/good"))
            await all_there.wait()
    assert hanging == bad, "one request each, while none of them accepts"
    assert math.ceil(max(delays)) <= 1, f"the slowest of {healthy} took {max(delays):.3f} s"


async def test_a_site_gets_a_bounded_number_of_requests_at_once_whatever_the_addresses(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "DEADLINE_SECONDS", NO_DEADLINE)
    at_once = 0
    full, gate = anyio.Event(), anyio.Event()

    async def wait_for_the_gate(request: web.Request, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once
        at_once += 1
        if at_once == deliveries.SITE_LANES:
            full.set()
        await gate.wait()
        at_once -= 1
        writer.write(web.answer(204))

    async with web.serve(wait_for_the_gate) as site:
        with anyio.fail_after(60):
            runs = [await invoke(engine, site.url(f"/{n}")) for n in range(150)]
            await full.wait()
            for run in runs:  # time in which a further request would come
                await engine.call("trigger_invocation_get", {"invocation_id": run}, ADMIN)
            assert at_once == deliveries.SITE_LANES
            gate.set()
            told = [await delivery(engine, run) for run in runs]
    assert {one["outcome"] for one in told} == {"delivered"}, "and every one has its turn"


async def test_two_addresses_of_a_site_are_shown_alike_and_not_told(engine: Engine) -> None:
    with anyio.fail_after(20):
        async with web.serve(web.answer(204)) as site:
            shown = [await delivery(engine, await invoke(engine, site.url(path))) for path in ("/s3cret", "/0ther")]
    assert {one["receiver"] for one in shown} == {f"http://127.0.0.1:{site.port}"}
    stored = await engine.database.read(lambda db: "\n".join(db.conn.iterdump()))
    assert "s3cret" not in stored
