"""The stage of the demo: a real `sluice serve`, and a real client at each of its three doors."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import anyio
import httpx
import orjson
from anyio.abc import Process

from core import clock, errors, httpclient
from core.settings import data_root_of
from mcp_server.cli import connect

START_SECONDS = 60  # a first start, on a slow machine, compiles every module
STOP_SECONDS = 10
CALL_SECONDS = 30
LOOK_SECONDS = 0.02
LISTENS = "Sluice listens on "
LOG_LINES = 5  # of each log, when something else was seen than was expected
T = TypeVar("T")
COUNTERS = ("events_in", "events_out", "errors", "runs", "runs_failed")


class Surprise(errors.SluiceError):
    """The demo saw something that it did not expect."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one door said: a result, or an error with its code and pointers."""

    result: dict[str, Any]
    code: str = ""
    pointers: tuple[str, ...] = ()
    message: str = ""

    @staticmethod
    def of_error(error: Mapping[str, Any]) -> Answer:
        message = str(error.get("message", error.get("detail", "")))  # HTTP calls it detail
        return Answer({}, str(error["code"]), tuple(fault["pointer"] for fault in error["errors"]), message)


class Stage:
    """A throw-away home with an engine in a process of its own."""

    def __init__(self, home: Path, **settings: str) -> None:
        """`settings` are environment variables of the engine."""
        self.home = home
        self._settings = settings
        self.url = ""
        self._server: Process | None = None
        self._log: IO[bytes] | None = None
        self._http: httpx.AsyncClient | None = None

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    async def start(self, workers: int | None = None) -> None:
        """Start `sluice serve` on a free port and wait until it says where it listens. Without a number of workers it
        is told nothing but where its home is."""
        log = self.home.parent / "serve.log"
        self._log = log.open("wb")
        told = () if workers is None else ("--port", "0", "--workers", str(workers))
        self._server = await anyio.open_process(
            [program("sluice"), "serve", "--home", str(self.home), *told],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            env={**environment(), **self._settings},
        )

        def listening() -> str | None:
            said = log.read_text(encoding="utf-8", errors="replace")
            for line in said.splitlines(keepends=True):
                if not line.endswith("\n"):
                    break  # the rest of it is on its way
                if line.startswith(LISTENS):
                    return line.removeprefix(LISTENS).split()[0]
            if self._server is not None and self._server.returncode is not None:
                raise Surprise(f"'sluice serve' ended at once: {errors.shorten(said, 500)}")
            return None

        self.url = await until(listening, START_SECONDS, "sluice serve to listen")
        token = (self.home / connect.ADMIN_TOKEN).read_text(encoding="ascii").strip()
        self._http = httpclient.open_client(
            base_url=self.url, headers={"authorization": f"Bearer {token}"}, timeout=CALL_SECONDS
        )

    async def stop(self) -> int | None:
        """Stop the engine as an operator would, and its whole process group if that does not help."""
        if self._http is not None:
            await self._http.aclose()
        code = None
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                self._server.terminate()
            with anyio.move_on_after(STOP_SECONDS, shield=True):
                await self._server.wait()
            code = self._server.returncode
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)
            with anyio.CancelScope(shield=True):
                await self._server.aclose()
            self._server = None
        if self._log is not None:
            self._log.close()
        return code

    async def http(self, method: str, path: str, tenant: str = "default", **body: Any) -> Answer:
        """Call the HTTP API."""
        assert self._http is not None
        answer = await self._http.request(
            method, path, headers={"x-sluice-tenant": tenant}, json=body if method != "GET" else None
        )
        document = answer.json()
        return Answer(document) if answer.is_success else Answer.of_error(document)

    async def must(self, method: str, path: str, tenant: str = "default", **body: Any) -> dict[str, Any]:
        """Call the HTTP API; an error is a surprise."""
        answer = await self.http(method, path, tenant, **body)
        if answer.code:
            raise Surprise(f"{method} {path} answered {answer.code} {', '.join(answer.pointers)}.")
        return answer.result

    def _way(self, remote: bool) -> tuple[list[str], dict[str, str]]:
        """The flags and variables with which a client reaches the engine: through its home, or over its HTTP API."""
        if not remote:
            return ["--home", str(self.home)], environment()
        key = (self.home / connect.ADMIN_TOKEN).read_text(encoding="ascii").strip()
        other = ["--url", self.url, "--home", str(self.home.parent / "elsewhere")]
        return other, {**environment(), "SLUICE_API_KEY": key}

    def data(self, tenant: str = "default") -> Path:
        """Where the files of a tenant are."""
        return data_root_of(self.home) / tenant

    async def seen(self, deployment: str) -> str:
        """What there is to see of a deployment, for whoever waited for something else: states, counters, logs."""
        found = await self.must("GET", f"/api/deployments/{deployment}")
        lines = [f"deployment {deployment} is {found['state']}, {found['health']}"]
        for name in dict.fromkeys(one["job"] for one in found["workloads"]):
            job = await self.must("GET", f"/api/jobs/{name}")
            for one in job["workloads"]:
                counters = ", ".join(f"{one['metrics'].get(counter, 0)} {counter}" for counter in COUNTERS)
                lines.append(f"{one['id']} is {one['state']} on {one['worker']} ({counters}) {one['reason']}".rstrip())
            lines += [f"  {errors.shorten(line_text(line), 300)}" for line in job["log"][-LOG_LINES:]]
        said = (self.home.parent / "serve.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(
            [*lines, "the engine said:", *(f"  {errors.shorten(line, 300)}" for line in said[-LOG_LINES:])]
        )

    async def cli(self, *words: str, tenant: str = "default", remote: bool = False) -> Answer:
        """Run the sluice command in a process of its own."""
        flags, variables = self._way(remote)
        with anyio.fail_after(CALL_SECONDS):
            done = await self._command([*words, *flags, "--tenant", tenant, "--json"], variables)
        try:
            if done.stdout:
                return Answer(orjson.loads(done.stdout))
            return Answer.of_error(orjson.loads(done.stderr)["error"])
        except (orjson.JSONDecodeError, KeyError) as error:
            raise Surprise(
                f"'sluice {' '.join(words)}' exited with {done.returncode} and no JSON: "
                f"{errors.shorten(done.stderr.decode(errors='replace'), 300)}"
            ) from error

    async def _command(self, words: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        command = [program("sluice"), *words]
        return await anyio.run_process(command, check=False, stdin=subprocess.DEVNULL, env=variables)

    @staticmethod
    def load_client() -> None:
        """Import the MCP SDK. It takes most of a second, in which a thread can do it."""
        importlib.import_module("mcp.client.stdio")

    @contextlib.asynccontextmanager
    async def mcp(self, tenant: str, toolsets: str = "", *, remote: bool = False) -> AsyncIterator[McpClient]:
        """A real MCP client that has started sluice-mcp as Claude would."""
        from mcp import Client
        from mcp.client.stdio import StdioServerParameters

        chosen = ["--toolsets", toolsets] if toolsets else []
        flags, variables = self._way(remote)
        server = StdioServerParameters(
            command=program("sluice-mcp"),
            args=[*chosen, *flags, "--tenant", tenant, "--allow-write"],
            env=variables,
        )
        async with Client(server, read_timeout_seconds=CALL_SECONDS) as client:
            yield McpClient(client)


class McpClient:
    """The few calls that the demo makes through the MCP SDK's client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def protocol(self) -> str:
        return str(self._client.protocol_version)

    async def tools(self) -> list[str]:
        """The names of all tools."""
        names: list[str] = []
        cursor = None
        while True:
            page = await self._client.list_tools(cursor=cursor, cache_mode="bypass")
            names += [tool.name for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                return names

    async def call(self, tool: str, **arguments: Any) -> Answer:
        """Call a tool."""
        result = await self._client.call_tool(tool, arguments)
        content = result.structured_content or {}
        return Answer.of_error(content["error"]) if result.is_error else Answer(content)


@contextlib.asynccontextmanager
async def set_up(*, keep: bool) -> AsyncIterator[Stage]:
    """A stage on a throw-away home; afterwards nothing of it runs or is left, unless `keep`."""
    root = Path(tempfile.mkdtemp(prefix="sluice-demo-"))
    stage = Stage(root / "home")
    finished = False
    try:
        yield stage
        finished = True
    finally:
        if not (keep and finished):
            with anyio.CancelScope(shield=True):
                await stage.stop()
            shutil.rmtree(root, ignore_errors=True)


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Do work in a task of its own while the body does something else; the end of the body ends it."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(
    look: Any,
    seconds: float,
    what: str,
    instead: Callable[[], Awaitable[str]] | None = None,
    *,
    pause: float = LOOK_SECONDS,
) -> Any:
    """Look again and again until the (possibly async) function returns something true.

    Raises Surprise when it does not within `seconds`, with what there is to see `instead`.
    """
    deadline = clock.monotonic() + seconds
    while True:
        found = look()
        if hasattr(found, "__await__"):
            found = await found
        if found:
            return found
        if clock.monotonic() > deadline:
            told = f" What there was instead:\n{await instead()}" if instead is not None else ""
            raise Surprise(f"Waited {seconds:g} s for {what}, in vain.{told}")
        await anyio.sleep(pause)


def line_text(line: Any) -> str:
    """A line of the log of a job, as it was written."""
    return line if isinstance(line, str) else str(line.get("line", line.get("text", line)))


def program(name: str) -> str:
    """A console script of this installation."""
    beside = Path(sys.executable).with_name(name)
    if beside.exists():
        return str(beside)
    found = shutil.which(name)
    if found is None:
        raise Surprise(f"The program {name} is not installed beside {sys.executable}.")
    return found


def example(name: str) -> Path:
    """A document of examples/, which the wheel carries beside this module."""
    here = Path(__file__).resolve()
    for place in (here.parent / "examples", here.parents[2] / "examples"):
        if (place / name).exists():
            return place / name
    raise Surprise(f"The example {name} is not part of this installation.")


def environment() -> dict[str, str]:
    """The environment without settings of ours, so that the demo shows the defaults."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
