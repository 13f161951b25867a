"""Our side: an engine with a real worker process and the smoke trigger of the examples, and the commands beside it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench import wire
from core import ownership
from core.engine import Engine, open_engine
from core.model.principal import EVERY_TENANT, Caller, Principal, Role, Surface
from core.operations import REGISTRY
from core.settings import Settings

EXAMPLES = Path(__file__).parent.parent / "examples"
TENANT = "tenant-a"
CALLER = Caller(Principal("bench", Role.ADMIN, (EVERY_TENANT,)), TENANT, Surface.INTERNAL)
SLUG = "smoke_trigger"
PARAMS: dict[str, Any] = {"env": "prod"}
WAITING_JOB = """
name: waiting-{number}
input: {{echo: {{event: "{{}}", json: true, trigger: {{message: {{filter-kind: user, filter-tag: never.{number}}}}}}}}}
output: {{discard: {{}}}}
"""
MAIN = "from mcp_server.cli.main import main; main()"

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}


@asynccontextmanager
async def engine(home: Path, workers: int = 1, **settings: Any) -> AsyncIterator[Engine]:
    """The engine of a home directory in this process; its workers are child processes."""
    owned = ownership.acquire(ownership.prepare(home))
    if owned is None:
        raise RuntimeError(f"another engine runs in {home}")
    async with open_engine(Settings(home=home, workers=workers, **settings), REGISTRY, owned) as running:
        names = [worker["name"] for worker in running.fleet.worker_rows()]
        if not await running.fleet.wait(lambda: all(running.fleet.workers[n].connected for n in names), 30):
            raise RuntimeError("the workers did not start")
        yield running


async def deploy(running: Engine, document: str, **options: Any) -> list[str]:
    """Stage a job and run it; the ids of its workloads. Raises RuntimeError when it fails."""
    put = await running.call("job_put", {"document": document}, CALLER)
    deployed = await running.call("job_deploy", {"name": put["name"], **options}, CALLER)
    if any(workload["state"] == "failed" for workload in deployed["workloads"]):
        raise RuntimeError(f"{put['name']} did not come up: {deployed}")
    return [workload["id"] for workload in deployed["workloads"]]


async def prepare(running: Engine) -> None:
    """Publish the smoke trigger of the examples and deploy its handler, unless the home has them already."""
    if running.triggers.get(TENANT, SLUG) is None:
        await running.call("trigger_publish", orjson.loads((EXAMPLES / "smoke_trigger.json").read_bytes()), CALLER)
        await deploy(running, (EXAMPLES / "smoke_trigger_handler.yaml").read_text())
    ids = [one.id for one in running.fleet.workload_views(tenant=TENANT)]
    if not await running.fleet.wait(lambda: running.fleet.settled(ids), 30):
        raise RuntimeError("the handler did not start")
    await invoke(running)


async def invoke(session: Any) -> None:
    """One invocation to its terminal state, on an engine or an attached session."""
    check(await session.call("trigger_invoke", {"slug": SLUG, "params": PARAMS}, CALLER))


def check(record: dict[str, Any]) -> None:
    """A benchmark of calls that fail measures nothing."""
    if record["state"] != "succeeded":
        raise RuntimeError(f"the invocation did not succeed: {record}")


@dataclass(frozen=True, slots=True)
class Served:
    """A `sluice serve` process."""

    pid: int
    port: int
    token: str


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[Served]:
    """`sluice serve` with one worker on a prepared home."""
    command = wire.python("-c", MAIN, "serve", "--port", "0", "--workers", "1", "--allow-write", "--home", str(home))
    async with wire.process(*command, stderr=asyncio.subprocess.PIPE) as pipes:
        assert pipes.process.stderr is not None
        said = b""
        while (found := re.search(rb"listens on http://[^:]+:(\d+)", said)) is None:
            line = await pipes.process.stderr.readline()
            if not line:
                raise RuntimeError(f"sluice serve did not start: {said.decode()}")
            said += line
        drain = asyncio.create_task(pipes.process.stderr.read())
        token = (home / "admin.token").read_text().strip()
        yield Served(pipes.process.pid, int(found[1]), token)
        drain.cancel()


def mcp_command(home: Path) -> tuple[str, ...]:
    """`sluice-mcp` over stdio; it owns the home when nobody else does."""
    return wire.python("-c", MAIN, "mcp", "--allow-write", "--home", str(home), "--tenant", TENANT)


def rpc(method: str, number: int = 1, **params: Any) -> bytes:
    """A request of the present protocol as one line."""
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, "_meta": META}}
    return orjson.dumps(request) + b"\n"


def answered(line: bytes) -> dict[str, Any]:
    """The result in an answer. Raises RuntimeError when it is an error, of the protocol or of the tool."""
    answer = orjson.loads(line)
    result: dict[str, Any] = answer.get("result") or {}
    if "error" in answer or result.get("isError"):
        raise RuntimeError(f"the server refused: {line[:2000].decode()}")
    return result
