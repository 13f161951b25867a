from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from core.dsl.component import Event, Limits, Run
from core.errors import JobFailed
from core.settings import Settings
from tests import certificates, waiting
from tests.dsl import rig
from tests.dsl.rig import Worker

pytestmark = pytest.mark.anyio


class Seen(list[Event]):
    """The events of a running job; its port, when it listens."""

    port = 0


@asynccontextmanager
async def reading(worker: Worker, source: dict[str, Any], sink: dict[str, Any] | None = None) -> AsyncIterator[Seen]:
    """Run a job with this input until the block ends, then drain it."""
    seen = Seen()

    def keep(events: list[Event], run: Run) -> list[Event]:
        seen.extend(events)
        return rig.pass_on(events, run)

    executor = worker.executor(source, sink or {"discard": {}}, keep)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(executor.run)
            if "connect" not in source[next(iter(source))]:
                await waiting.until(lambda: port_of(worker))
                seen.port = port_of(worker)
            yield seen
            await executor.drain(3)


def port_of(worker: Worker) -> int:
    found = [re.search(r"listening at .*:(\d+)$", text) for _, text, _ in worker.log_lines]
    return next((int(match[1]) for match in found if match), 0)


@pytest.mark.parametrize(
    "source",
    [
        {"tcp": {"address": "127.0.0.1:3000"}},
        {"udp": {"address": "[::1]:4222"}},
        {"http-server": {"address": "localhost:3000", "path": "/"}},
    ],
    ids=lambda source: next(iter(source)),
)
async def test_no_job_takes_the_place_of_sluice_or_nats(worker: Worker, source: dict[str, Any]) -> None:
    """Whoever comes there brings a credential, and the port is free while the server is not up."""
    worker.limits = Limits(closed_ports=Settings().ports_closed_to_jobs)
    with anyio.fail_after(5), pytest.raises(JobFailed, match="no job may listen at port"):
        await worker.executor(source, {"discard": {}}, rig.pass_on).run()


def test_the_ports_of_the_settings_are_closed_to_jobs() -> None:
    told = Settings(nats="nats://u:p@127.0.0.1:5222", closed_ports=(81,)).closing(8443)
    assert told.ports_closed_to_jobs == {81, 8443, 5222}


async def send(port: int, data: bytes, **options: Any) -> None:
    """Connect, say this, and wait until the other side closes too."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    writer.write(data)
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()
    await reader.read()
    writer.close()


@asynccontextmanager
async def speaking(*texts: bytes, **options: Any) -> AsyncIterator[int]:
    """A server that says one text to each connection and closes it; the last connection stays open and silent."""
    left = list(texts)
    over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if left:
            writer.write(left.pop(0))
        else:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        server.close()


# ---- tcp


async def test_each_line_of_a_connection_is_an_event_also_one_without_a_line_end(worker: Worker) -> None:
    async with reading(worker, {"tcp": {"address": "127.0.0.1:0", "source-ip-field": "from"}}) as seen:
        await send(seen.port, b"one\r\ntwo\n\nlast")
        await waiting.until(lambda: len(seen) == 3)
    assert seen == [{"_raw": text, "from": "127.0.0.1"} for text in ("one", "two", "last")]
    assert worker.reports[-1].ok


async def test_json_lines_are_parsed_and_others_are_kept_and_counted(worker: Worker) -> None:
    async with reading(worker, {"tcp": {"address": "127.0.0.1:0", "json": True}}) as seen:
        await send(seen.port, b'{"n": 1}\nnope\n\xff\n')
        await waiting.until(lambda: len(seen) == 3)
    assert seen == [{"n": 1}, {"_raw": "nope"}, {"_raw": "�"}]
    assert worker.reports[-1].errors == 2


async def test_a_line_that_is_too_long_ends_its_connection_and_no_other(worker: Worker) -> None:
    async with reading(worker, {"tcp": {"address": "127.0.0.1:0", "max-line-bytes": 1000}}) as seen:
        other = await asyncio.open_connection("127.0.0.1", seen.port)
        with contextlib.suppress(ConnectionError):  # it may be told before it has said all
            await send(seen.port, b"x" * 5_000_000)
        other[1].write(b"still here\n")
        await waiting.until(lambda: seen)
        other[1].close()
    assert seen == [{"_raw": "still here"}]
    assert any("longer than 1000 bytes; its connection was closed" in text for text in worker.warnings)
    assert worker.reports[-1].ok


async def test_while_the_output_waits_the_sender_is_not_read(worker: Worker) -> None:
    channel = worker.env().channel("slow")

    async def take() -> None:
        while True:
            (await channel.get()).settle(None)

    source = {"tcp": {"address": "127.0.0.1:0"}}
    async with anyio.create_task_group() as group:
        async with reading(worker, source, {"worker-channel": "slow"}) as seen:
            _, writer = await asyncio.open_connection("127.0.0.1", seen.port)
            sent = 0
            with pytest.raises(TimeoutError):
                while sent < 2000:
                    writer.write(b"x" * 99_999 + b"\n")
                    sent += 1
                    async with asyncio.timeout(0.5):
                        await writer.drain()
            held_back = sent - len(seen)
            assert held_back > 0  # in the buffers of the system and of the sender
            group.start_soon(take)
            await waiting.until(lambda: len(seen) == sent)
            writer.close()
        group.cancel_scope.cancel()


async def test_a_connection_too_many_is_closed_and_counted(worker: Worker) -> None:
    async with reading(worker, {"tcp": {"address": "127.0.0.1:0", "max-connections": 1}}) as seen:
        _, first = await asyncio.open_connection("127.0.0.1", seen.port)
        first.write(b"a\n")
        await waiting.until(lambda: seen)
        reader, second = await asyncio.open_connection("127.0.0.1", seen.port)
        assert await reader.read() == b""
        second.close()
        first.close()
    assert worker.reports[-1].errors == 1


async def test_tls_of_a_listener(worker: Worker, tmp_path: Path) -> None:
    made = certificates.self_signed(tmp_path)
    tls = {"cert": str(made.cert), "key": str(made.key)}
    async with reading(worker, {"tcp": {"address": "127.0.0.1:0", "tls": tls}}) as seen:
        await send(seen.port, b"secret\n", ssl=made.trusting)
        await waiting.until(lambda: seen)
    assert seen == [{"_raw": "secret"}]


async def test_a_client_reads_what_the_other_side_says_and_connects_again(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.dsl.inputs.tcp.AGAIN_SECONDS", 0.01)
    worker.limits = Limits(egress_allow=("127.0.0.0/8",))
    async with (
        speaking(b"a\nb", b"c\n") as port,
        reading(worker, {"tcp": {"connect": f"127.0.0.1:{port}"}}) as seen,
    ):
        await waiting.until(lambda: len(seen) == 3)
    assert [event["_raw"] for event in seen] == ["a", "b", "c"]
    assert any("connecting again" in text for text in worker.warnings)


async def test_a_client_checks_the_certificate_unless_told_otherwise(worker: Worker, tmp_path: Path) -> None:
    made = certificates.self_signed(tmp_path)
    worker.limits = Limits(egress_allow=("127.0.0.0/8",))
    async with speaking(b"a\n", ssl=made.serving) as port:
        with pytest.raises(JobFailed, match="certificate"):
            await worker.read({"tcp": {"connect": f"localhost:{port}", "tls": {}}})
        source = {"tcp": {"connect": f"localhost:{port}", "tls": {}, "insecure": True}}
        async with reading(worker, source) as seen:
            await waiting.until(lambda: seen)
        assert seen == [{"_raw": "a"}]


async def test_a_client_passes_the_same_guard_as_http_and_tells_who_cannot_be_reached(worker: Worker) -> None:
    async with speaking(b"a\n") as port:
        with pytest.raises(JobFailed, match="may not reach"):
            await worker.read({"tcp": {"connect": f"localhost:{port}"}})
    worker.limits = Limits(egress_allow=("127.0.0.0/8",))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{closed.getsockname()[1]}"
        with anyio.fail_after(5), pytest.raises(JobFailed, match=f"cannot reach {where}"):
            await worker.read({"tcp": {"connect": where, "retry": {"retries": 1}}})
    assert any("trying again" in text for text in worker.warnings)


async def test_an_address_in_use_or_not_open_fails_the_job(worker: Worker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(JobFailed, match="in use"):
        await worker.read({"tcp": {"address": f"127.0.0.1:{taken.getsockname()[1]}"}})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(JobFailed, match="in use"):
            await worker.read({"udp": {"address": f"127.0.0.1:{taken.getsockname()[1]}"}})
    for name in ("tcp", "udp"):
        with pytest.raises(JobFailed, match="may not listen"):
            await worker.read({name: {"address": "0.0.0.0:0"}})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"address": "127.0.0.1:1", "connect": "a:1"},
        {"address": "127.0.0.1:1", "tls": {}},
        {"connect": "a"},
        {"connect": ":80"},
        {"connect": "a:0"},
        {"address": "127.0.0.1:1", "tls": {"cert": "x"}},
    ],
)
def test_a_tcp_input_that_contradicts_itself_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rig.declare("input", {"tcp": body})


# ---- udp


@pytest.mark.parametrize(
    ("options", "datagram", "events"),
    [
        ({}, b"a\nb\n", [{"_raw": "a"}, {"_raw": "b"}]),
        ({"ignore-linebreaks": True}, b"a\nb", [{"_raw": "a\nb"}]),
        ({"json": True, "source-ip-field": "ip"}, b'{"n": 1}', [{"n": 1, "ip": "127.0.0.1"}]),
        ({"json": True}, b"nope", [{"_raw": "nope"}]),
        ({}, b"\xff", [{"_raw": "�"}]),
    ],
)
async def test_a_datagram_is_events(
    worker: Worker, options: dict[str, Any], datagram: bytes, events: list[Event]
) -> None:
    async with reading(worker, {"udp": {"address": "127.0.0.1:0", **options}}) as seen:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", ("127.0.0.1", seen.port))
            sender.sendto(datagram, ("127.0.0.1", seen.port))
        await waiting.until(lambda: len(seen) == len(events))
    assert seen == events


async def test_datagrams_wait_in_the_system_while_the_output_is_slow_and_come_in_order(worker: Worker) -> None:
    async with reading(worker, {"udp": {"address": "127.0.0.1:0"}}) as seen:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(500):
                sender.sendto(b"%d" % number, ("127.0.0.1", seen.port))
        await waiting.until(lambda: len(seen) == 500)
    assert [int(event["_raw"]) for event in seen] == list(range(500))
    assert worker.reports[-1].events_in == 500
