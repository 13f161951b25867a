"""Connecting to a NATS server: its deadline holds, whatever the client makes of being cancelled; and TLS."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.abc
import pytest

from core import natsclient, natstransport
from mcp_server.http import serving
from tests import certificates, waiting
from tests.external.server import PROGRAM, running

pytestmark = pytest.mark.anyio


async def connect(url: str, faults: list[str]) -> Any:
    return await natsclient.connect(url, "a test", on_fault=faults.append, on_away=lambda: None, on_back=lambda: None)


async def test_a_client_that_loses_its_cancellation_does_not_hold_up_the_next_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it does when its TLS handshake fails in the moment of the deadline."""
    from nats.aio.client import Client

    async def never(self: Client, *args: Any, **options: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await options["error_cb"](ConnectionResetError("reset"))
        await asyncio.Event().wait()

    monkeypatch.setattr(Client, "connect", never)
    monkeypatch.setattr(natsclient, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(natsclient, "CLOSE_SECONDS", 0.05)
    before, faults = asyncio.all_tasks(), list[str]()
    with anyio.fail_after(10), pytest.raises(natsclient.CannotConnect, match="reset"):
        await connect("nats://127.0.0.1:4", faults)
    assert (faults, asyncio.all_tasks() - before) == (["reset"], set()), "nothing of it is left"


async def test_what_is_written_when_a_connection_is_lost_holds_up_no_other_one() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        address = listener.extra(anyio.abc.SocketAttribute.local_address)
        lost = natstransport.Tcp()
        await lost.connect(urlsplit(f"nats://{address[0]}:{address[1]}"), 1024, 5)
        assert lost._io_writer is not None
        lost._io_writer.transport.abort()
        lost.writelines([b"PING", b"\r\n"])
        await waiting.turn()  # its socket is closed, and the next one has its number
        lost.writelines([b"PING", b"\r\n"])
        with anyio.fail_after(10):
            await (await anyio.connect_tcp(*address)).aclose()


async def test_its_connections_are_such() -> None:
    with running() as bus:
        client = await connect(bus.url, [])
        assert type(client._transport) is natstransport.Tcp
        await client.close()


async def test_over_tls_it_trusts_what_the_system_trusts_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificates.self_signed(tmp_path)
    flags = ["--tls", "--tlscert", str(made.cert), "--tlskey", str(made.key), "--user", "u", "--pass", "p"]
    held = serving.bind("127.0.0.1", 0)
    port = held.getsockname()[1]
    held.close()
    process = await anyio.open_process([str(PROGRAM), "-a", "127.0.0.1", "-p", str(port), *flags], stderr=None)
    try:

        async def listens() -> bool:
            try:
                await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
            except OSError:
                assert process.returncode is None
                return False
            return True

        await waiting.until(listens)
        url = f"tls://u:p@127.0.0.1:{port}"
        with anyio.fail_after(30):
            with pytest.raises(natsclient.CannotConnect, match=r"(?i)certificate"):
                await connect(url, [])
            monkeypatch.setenv("SSL_CERT_FILE", str(made.cert))
            client = await connect(url, [])
            assert client.is_connected
            await client.close()
    finally:
        with anyio.CancelScope(shield=True):
            process.terminate()
            await process.aclose()
