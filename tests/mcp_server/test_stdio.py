"""The MCP server as a process of its own, over real pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import anyio
import mcp
import psutil
import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests import cases

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.mcp_server.stdio_server", "--allow-write"]
HANDSHAKE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class Process:
    """The server with its pipes, spoken to line by line."""

    def __init__(self, command: list[str], variables: dict[str, str]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | variables
        self.popen = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.popen.stdin and self.popen.stdout and self.popen.stderr
        self.stdin, self.stdout, self.stderr = self.popen.stdin, self.popen.stdout, self.popen.stderr

    def send(self, message: dict[str, Any] | str) -> None:
        self.stdin.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
        self.stdin.flush()

    def ask(self, message: dict[str, Any] | str) -> dict[str, Any]:
        self.send(message)
        answer: dict[str, Any] = json.loads(self.stdout.readline())
        return answer


@contextmanager
def started(command: list[str] = COMMAND, **variables: str) -> Iterator[Process]:
    process = Process(command, variables)
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.wait(5)
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


@pytest.fixture
def process() -> Iterator[Process]:
    with started() as process:
        yield process


@pytest.fixture
def silent() -> Iterator[TextIO]:
    with Path(os.devnull).open("w") as file:
        yield file


def shake_hands(process: Process) -> None:
    assert process.ask(HANDSHAKE)["result"]["serverInfo"]["name"] == "sluice"
    process.send(INITIALIZED)


@pytest.mark.anyio
@pytest.mark.parametrize("era", ["legacy", "auto", "2026-07-28"])
async def test_the_python_client_lists_and_calls(era: str, silent: TextIO) -> None:
    beats: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        beats.append(progress)

    parameters = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], cwd=ROOT)
    with anyio.fail_after(20):
        async with mcp.Client(stdio_client(parameters, errlog=silent), mode=era) as client:
            listed = [tool.name for tool in (await client.list_tools()).tools]
            ran = await client.call_tool("trigger_invoke_smoke", {"value": "a"})
            wrong = await client.call_tool("trigger_invoke_smoke", {"bad": 1})
            with pytest.raises(mcp.MCPError):
                await client.call_tool("nope", {})
            await client.call_tool(
                "deployment_apply", {"plan_id": "p", "wait_seconds": 0.3}, progress_callback=on_progress
            )
    assert "trigger_invoke_smoke" in listed
    assert ran.structured_content["state"] == "succeeded"
    assert wrong.structured_content["error"]["errors"][0]["pointer"] == "/bad"
    assert len(beats) >= 2


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_stdout_carries_the_protocol_alone_and_the_end_of_stdin_ends_the_server(variables: dict[str, str]) -> None:
    with started(**variables) as process:
        shake_hands(process)
        listed = process.ask({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert "trigger_invoke_smoke" in [tool["name"] for tool in listed["result"]["tools"]]
        before = time.monotonic()
        out, err = process.popen.communicate(timeout=5)
        assert time.monotonic() - before <= 2
        assert process.popen.returncode == 0
    assert out == ""
    assert "ended in good order" in err
    for moment in ("at its start", "while it serves", "behind its end", "at exit"):
        for writer in ("print", "descriptor 1", "C", "a child", "a thread", "the stream of the start"):
            assert f"stray: {writer}, {moment}" in err
    assert ("stray: print, before it serves" in err) == (not variables)


@pytest.mark.parametrize("closed", ["", "2>&-"], ids=["stderr", "no stderr"])
def test_the_command_keeps_what_is_printed_around_it_off_the_wire(tmp_path: Path, closed: str) -> None:
    """The real command, called by a program that prints before and behind it (a wrapper, a .pth file, a library)."""
    program = (
        "import atexit, sys; print('stray: before'); atexit.register(print, 'stray: at exit'); "
        "from mcp_server.cli import main; sys.argv = sys.argv[:1] + sys.argv[2:]; main.main_mcp()"
    )
    arguments = [sys.executable, "-c", program, "--", "--home", str(tmp_path)]
    command = ["bash", "-c", f'exec "$@" {closed}', "bash", *arguments]
    with started(command, SLUICE_WORKERS="0") as process:
        shake_hands(process)
        assert process.ask({"jsonrpc": "2.0", "id": 5, "method": "tools/list"})["id"] == 5
        out, err = process.popen.communicate(timeout=10)
        assert process.popen.returncode == 0
    assert out == ""
    if not closed:
        assert "stray: before" in err and "stray: at exit" in err


def test_stdin_may_end_while_a_call_is_running(process: Process) -> None:
    shake_hands(process)
    arguments = {"plan_id": "p", "wait_seconds": 60}
    call = {"name": "deployment_apply", "arguments": arguments}
    process.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    before = time.monotonic()
    process.popen.communicate(timeout=5)
    assert time.monotonic() - before <= 2
    assert process.popen.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_although_the_client_says_nothing(process: Process, number: signal.Signals) -> None:
    shake_hands(process)
    process.popen.send_signal(number)
    assert process.popen.wait(5) == 0
    assert "ended in good order" in process.stderr.read()


def test_a_line_that_is_no_message_does_not_end_the_session(process: Process) -> None:
    shake_hands(process)
    with cases.every() as case:
        lines = ["", "nonsense", "[]", '{"jsonrpc": "2.0"}', '{"jsonrpc": "2.0", "id": 1, "method": 5}']
        for number, line in enumerate(lines, 77):
            with case(line):
                process.send(line)
                process.send({"jsonrpc": "2.0", "id": number, "method": "ping"})
                while (answer := json.loads(process.stdout.readline())).get("id") != number:
                    assert "error" in answer
                assert answer["result"] == {}


def test_ten_megabytes_in_an_argument_are_refused_clearly(process: Process) -> None:
    shake_hands(process)
    call = {"name": "trigger_invoke_smoke", "arguments": {"value": "x" * 10_000_000}}
    answer = process.ask({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    assert answer["result"]["structuredContent"]["error"]["code"] == "invalid_params"
    assert len(json.dumps(answer)) < 2000


def test_a_line_without_end_is_refused_and_takes_bounded_memory(process: Process) -> None:
    shake_hands(process)
    before = psutil.Process(process.popen.pid).memory_info().rss
    part = "x" * 1_000_000
    for _ in range(150):
        process.stdin.write(part)
    process.send("")
    process.send({"jsonrpc": "2.0", "id": 77, "method": "ping"})
    while (answer := json.loads(process.stdout.readline())).get("id") != 77:
        assert answer["error"]["code"] == -32700
    assert answer["result"] == {}
    assert psutil.Process(process.popen.pid).memory_info().rss - before < 150 * 1024 * 1024


def test_a_line_that_is_no_message_is_answered_and_the_session_goes_on(process: Process) -> None:
    with cases.every() as case:
        for line, id, code in (
            ("{bad", None, -32700),
            ("5", None, -32600),
            ("[]", None, -32600),
            ('{"jsonrpc":"2.0","id":null,"method":"tools/list"}', None, -32600),
            ('{"jsonrpc":"2.0","id":11,"method":"tools/list","params":{"cursor":"\\ud800"}}', 11, -32700),
            ('{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x","name":"y"}}', "a", -32700),
            ('{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}', None, -32700),
            ('{"jsonrpc":"2.0","id":9223372036854775808,"method":"ping"}', None, -32700),
        ):
            with case(line):
                answer = process.ask(line)
                assert (answer["id"], answer["error"]["code"]) == (id, code)
    shake_hands(process)
