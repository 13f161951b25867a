"""The clients of the scenario with killed sessions: one speaks MCP to a process of its own, one uses the HTTP API.

Each makes its calls until they are answered, starting its process anew when that one was killed; and keeps a ledger of
what it was told, outside of everything that is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from mcp_server.cli import stage
from tests import waiting

TENANT = "tenant-a"
AGAIN = ("busy", "unconfirmed", "storage_unavailable")  # what a client has to repeat, and may, since its call has a key
ANSWER_SECONDS = 60.0
PAUSE_SECONDS = 0.02


class Gone(Exception):
    """The process ended while a call was under way."""


@dataclass
class Ledger:
    """What was told: the invocation of each key, and the values that were set."""

    runs: dict[str, str] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)

    def run(self, key: str, record: dict[str, Any]) -> bool:
        """Note an answer; whether the run has come to its end."""
        told = self.runs.setdefault(key, record["invocation_id"])
        assert told == record["invocation_id"], f"{key} was answered with two invocations"
        assert record["state"] in ("accepted", "dispatched", "succeeded"), record
        return bool(record["state"] == "succeeded")


class Program:
    """A process that is started anew whenever it was killed. One that ends by itself is a fault."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        self._command = command
        self._log = log
        self.process: asyncio.subprocess.Process | None = None
        self.killed: set[int] = set()
        self.starts = 0

    async def start(self, **pipes: Any) -> asyncio.subprocess.Process:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command, stderr=log, env=stage.environment(), start_new_session=True, limit=2**24, **pipes
            )
        self.starts += 1
        return self.process

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def kill(self) -> None:
        assert self.process is not None
        self.killed.add(self.process.pid)
        self.process.send_signal(signal.SIGKILL)

    async def ended(self) -> None:
        """Wait for the end. Raises AssertionError when nobody killed it."""
        assert self.process is not None
        await self.process.wait()
        assert self.process.pid in self.killed, f"{self.name} ended by itself: {self._log.read_text()[-2000:]}"

    async def stop(self) -> None:
        """End it in good order, as its user would, and then what is left of it."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 15)
            except TimeoutError:
                os.killpg(self.process.pid, signal.SIGKILL)
                await self.process.wait()


class McpSession:
    """One MCP client with its sluice-mcp."""

    def __init__(self, name: str, home: Path) -> None:
        command = [stage.program("sluice-mcp"), "--home", str(home), "--tenant", TENANT, "--allow-write"]
        log = home.parent / f"{name}.log"
        self.program = Program(name, [*command, "--toolsets", "triggers,kv"], log)
        self._id = 0

    async def open(self) -> None:
        pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
        await self.program.start(**pipes)
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        await self._ask("initialize", hello)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured content of a result. Raises Gone when the process was killed meanwhile."""
        answer = await self._ask("tools/call", {"name": tool, "arguments": arguments})
        assert "result" in answer, answer
        return dict(answer["result"]["structuredContent"])

    def _send(self, message: dict[str, Any]) -> None:
        assert self.program.process is not None and self.program.process.stdin is not None
        self.program.process.stdin.write(orjson.dumps(message) + b"\n")

    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._id += 1
        process = self.program.process
        assert process is not None and process.stdout is not None
        async with asyncio.timeout(ANSWER_SECONDS):
            try:
                self._send({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
                while line := await process.stdout.readline():
                    message: dict[str, Any] = orjson.loads(line)  # stdout belongs to the protocol, always
                    if message.get("id") == self._id:
                        return message
            except ConnectionError:
                pass
        raise Gone

    async def work(self, ledger: Ledger, keys: list[str], done: Callable[[], None]) -> None:
        """Make every call, whatever happens to the process."""
        await self._reopen()
        for number, key in enumerate(keys):
            while not await self._one(ledger, key, number):
                pass
            done()

    async def _one(self, ledger: Ledger, key: str, number: int) -> bool:
        try:
            if number % 4 == 3:
                answer = await self.call("kv_set", namespace="kills", key=key, value=number)
            else:
                answer = await self.call("trigger_invoke_smoke_trigger", env=key, _idempotency_key=key)
        except Gone:
            await self.program.ended()
            await self._reopen()
            return False
        if "error" in answer:
            assert answer["error"]["code"] in AGAIN, (key, answer)
            return await _pause()
        if number % 4 == 3:
            ledger.values[key] = number
            return True
        return ledger.run(key, answer)

    async def _reopen(self) -> None:
        """Start the process; again when it is killed before it says a word."""
        while True:
            try:
                return await self.open()
            except Gone:
                await self.program.ended()


async def _pause() -> bool:
    await waiting.pause(PAUSE_SECONDS)  # a client that was told to try again, or whose server starts
    return False


class HttpClient:
    """A client of `sluice serve`, which it starts anew as a supervisor would."""

    def __init__(self, home: Path, port: int) -> None:
        command = [stage.program("sluice"), "serve", "--home", str(home), "--port", str(port), "--workers", "1"]
        self.program = Program("serve", command, home.parent / "serve.log")
        self._home = home
        self._url = f"http://127.0.0.1:{port}"

    async def work(self, ledger: Ledger, keys: list[str], done: Callable[[], None]) -> None:
        await self.program.start(stdin=asyncio.subprocess.DEVNULL)
        async with httpx.AsyncClient(base_url=self._url, timeout=ANSWER_SECONDS, trust_env=False) as client:
            for key in keys:
                while not await self._one(client, ledger, key):
                    pass
                done()

    async def _one(self, client: httpx.AsyncClient, ledger: Ledger, key: str) -> bool:
        if not self.program.running:
            await self.program.ended()
            await self.program.start(stdin=asyncio.subprocess.DEVNULL)
        token = self._home / "admin.token"
        if not token.exists():  # the very first start is not through
            return await _pause()
        headers = {"authorization": f"Bearer {token.read_text().strip()}", "x-sluice-tenant": TENANT}
        body = {"params": {"env": key}, "idempotency_key": key}
        try:
            answer = await client.post("/api/triggers/smoke_trigger/invoke", json=body, headers=headers)
        except httpx.TransportError:
            return await _pause()
        record = answer.json()
        if answer.status_code == 503:
            assert record["code"] in AGAIN, record
            return await _pause()
        assert answer.status_code in (200, 202), record
        return ledger.run(key, record)
