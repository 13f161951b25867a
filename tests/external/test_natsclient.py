"""Connecting to a NATS server: its deadline holds, whatever the client makes of being cancelled; and TLS."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import natsclient
from tests import certificates, waiting
from tests.external.server import PROGRAM

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


async def test_over_tls_it_trusts_what_the_system_trusts_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificates.self_signed(tmp_path)
    flags = ["--tls", "--tlscert", str(made.cert), "--tlskey", str(made.key), "--user", "u", "--pass", "p"]
    command = [str(PROGRAM), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(tmp_path), *flags]
    process = await anyio.open_process(command, stderr=None, stdout=None)
    try:

        def port() -> str:
            found = [path.read_text() for path in tmp_path.glob("*.ports")]
            return found[0].rpartition(":")[2].partition('"')[0] if found else ""

        url = f"tls://u:p@127.0.0.1:{await waiting.until(port)}"
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
