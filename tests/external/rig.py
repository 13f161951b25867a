"""An engine and workers of "other machines" (processes with a home of their own) on one real NATS server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from core.engine import Engine
from tests.engines import ADMIN, EXAMPLES, deploy

HANDLER = (EXAMPLES / "smoke_trigger_handler.yaml").read_text()
DEFINITION: dict[str, Any] = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
FAST = {"heartbeat_seconds": 0.5, "drain_seconds": 1.0, "reconcile_patience_seconds": 30.0}


@dataclass
class Machine:
    """One `sluice worker` process."""

    process: asyncio.subprocess.Process
    said: list[str] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    reading: asyncio.Task[None] | None = None
    silent: bool = False  # it says nothing any more

    async def read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode())
            self.heard.set()
        self.silent = True
        self.heard.set()

    async def says(self, text: str) -> None:
        while not any(text in line for line in self.said):
            assert not self.silent, "".join(self.said)
            self.heard.clear()
            await self.heard.wait()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        code = await self.process.wait()
        if self.reading is not None:
            await self.reading
        return code


@asynccontextmanager
async def machine(
    home: Path,
    url: str,
    key: Path,
    name: str = "edge-1",
    group: str = "default",
    cwd: Path | None = None,
    **settings: str,
) -> AsyncIterator[Machine]:
    """A worker that runs while the body does; then it is killed, if it has not ended. `key` is the file of a token, or
    with .key a copy of that of the installation, for which alone `group` says anything."""
    environment = {**os.environ, **{f"SLUICE_{key.upper()}": value for key, value in settings.items()}}
    program = str(Path(sys.executable).with_name("sluice"))
    flags = ["--url", url, "--home", str(home), "--token-file", str(key), "--name", name]
    if key.suffix == ".key":  # a copy of the key of the installation
        flags = ["--nats", url, "--home", str(home), "--key-file", str(key), "--name", name, "--group", group]
    process = await asyncio.create_subprocess_exec(
        program,
        "worker",
        *flags,
        env=environment,
        cwd=cwd,
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    made = Machine(process)
    made.reading = asyncio.create_task(made.read())
    try:
        yield made
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        with anyio.fail_after(20, shield=True):
            await made.ended()


async def token(engine: Engine, file: Path, **wanted: Any) -> Path:
    """A file with a token that lets as many workers in as a test has; `wanted` says otherwise."""
    wanted = {"group": "default", "uses": 100, "approval": "auto", **wanted}
    made = await engine.call("worker_token_create", wanted, ADMIN)
    keep(file, made["token"])
    return file


def keep(file: Path, text: str) -> None:
    """Write a secret as its readers want it: for nobody else."""
    file.touch(mode=0o600)
    file.write_text(text)


async def admit(engine: Engine, *tenants: str) -> None:
    """Name the tenants that workers of other machines serve in the default group."""
    await engine.call("worker_group_update", {"name": "default", "tenants": list(tenants or (ADMIN.tenant,))}, ADMIN)


async def online(engine: Engine, name: str = "edge-1", seconds: float = 20.0) -> None:
    fleet = engine.fleet
    assert await fleet.wait(lambda: name in fleet.workers and fleet.workers[name].online, seconds), name


async def lost(engine: Engine, name: str = "edge-1", seconds: float = 20.0) -> None:
    fleet = engine.fleet
    assert await fleet.wait(lambda: not fleet.workers[name].online, seconds), name


async def publish(engine: Engine, handler: str = HANDLER) -> None:
    await engine.call("trigger_publish", DEFINITION, ADMIN)
    await deploy(engine, handler)


async def invoke(engine: Engine, **more: Any) -> dict[str, Any]:
    call = {"slug": "smoke_trigger", "params": {"env": "prod"}, "wait_timeout_seconds": 30, **more}
    return await engine.call("trigger_invoke", call, ADMIN)
