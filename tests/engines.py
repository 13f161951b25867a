"""Engines for tests: a real one on a temporary home, with real worker processes."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from core import ownership
from core.engine import Engine, open_engine
from core.model.principal import EVERY_TENANT, Caller, Principal, Role, Surface
from core.operations import REGISTRY
from core.settings import Settings
from mcp_server.cli import stage
from tests import waiting

EXAMPLES = Path(__file__).parent.parent / "examples"
ADMIN = Caller(Principal("alice", Role.ADMIN, (EVERY_TENANT,)), "tenant-a", Surface.INTERNAL)
USER = Caller(Principal("bob", Role.USER, ("tenant-a",)), "tenant-a", Surface.INTERNAL)


@asynccontextmanager
async def engine_on(home: Path, **settings: Any) -> AsyncIterator[Engine]:
    """The engine of `home`; its workers are child processes.

    Jobs may use files wherever the test keeps them, unless it says otherwise (attacks/test_files.py and the demo do).
    """
    _lay_aside(home)
    chosen = Settings(home=home, **{"workers": 1, "drain_seconds": 2.0, "file_access": "anywhere", **settings})
    owned = ownership.acquire(ownership.prepare(home))
    assert owned is not None
    async with open_engine(chosen, REGISTRY, owned) as engine:
        yield engine


@contextmanager
def served(home: Path, workers: int = 0) -> Iterator[None]:
    """`sluice serve` on a home, in a process of its own with the environment of this one."""
    command = [stage.program("sluice"), "serve", "--home", str(home), "--port", "0", "--workers", str(workers)]
    log = home.parent / f"{home.name}.served.log"
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            waiting.until_now(lambda: any(line.startswith(stage.LISTENS) for line in waiting.lines(log)))
            yield
        finally:
            process.terminate()


def _lay_aside(home: Path) -> None:
    """Have a new home lie beside the directory that it is asked for in, which then holds a link to it.

    A test keeps the files of its jobs in that directory, and makes some after the start; the sandbox of workers can
    leave a directory open whole only where the home is not in it.
    """
    if not home.exists() and not home.is_symlink():
        aside = home.parent.with_name(f"{home.parent.name}-{home.name}")
        aside.mkdir(mode=0o700, exist_ok=True)
        home.symlink_to(aside)


async def deploy(engine: Engine, document: str, caller: Caller = ADMIN, **options: Any) -> dict[str, Any]:
    """Stage a job document and run it; fails when it does not come up."""
    put = await engine.call("job_put", {"document": document}, caller)
    deployed = await engine.call("job_deploy", {"name": put["name"], **options}, caller)
    states = {w["state"] for w in deployed["workloads"]}
    assert states <= {"running", "completed"}, deployed
    return deployed
