"""Engines for tests: a real one on a temporary home, with real worker processes."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from core import ownership
from core.engine import Engine, open_engine
from core.fleet.connection import LOCAL
from core.model.principal import EVERY_TENANT, Caller, Principal, Role, Surface
from core.operations import REGISTRY
from core.settings import Settings
from core.store.database import open_database
from mcp_server.cli import stage
from tests import answers, waiting

HOMES = "SLUICE_TEST_HOMES"  # set by conftest.py
EXAMPLES = Path(__file__).parent.parent / "examples"
ADMIN = Caller(Principal("alice", Role.ADMIN, (EVERY_TENANT,)), "tenant-a", Surface.INTERNAL)
USER = Caller(Principal("bob", Role.USER, ("tenant-a",)), "tenant-a", Surface.INTERNAL)

answers.watch()


@asynccontextmanager
async def engine_on(home: Path, **settings: Any) -> AsyncIterator[Engine]:
    """The engine of `home`; its workers are child processes.

    Several are all there at the start, so that the replicas of a test have more than one place to go. Jobs may use
    files wherever the test keeps them, unless it says otherwise (attacks/test_files.py and the demo do).
    """
    if settings.get("workers") != 0:
        _lay_aside(home)
    chosen = Settings(home=home, **{"workers": 1, "drain_seconds": 2.0, "file_access": "anywhere", **settings})
    ownership.prepare(home)
    await _begin_with_schema(chosen.database)
    owned = ownership.acquire(home)
    assert owned is not None
    async with open_engine(chosen, REGISTRY, owned) as engine:
        if chosen.workers > 1:
            await online(engine)
        yield engine


async def online(engine: Engine) -> None:
    """Wait for all worker processes of an engine: what is deployed before is placed on those that are there."""
    local = [worker for worker in engine.fleet.workers.values() if worker.kind == LOCAL]
    assert await engine.fleet.wait(lambda: all(worker.online for worker in local), waiting.SECONDS)


@contextmanager
def served(home: Path, workers: int | str = 0) -> Iterator[None]:
    """`sluice serve` on a home, in a process of its own with the environment of this one."""
    command = [stage.program("sluice"), "serve", "--home", str(home), "--port", "0", "--workers", str(workers)]
    log = home.parent / f"{home.name}.served.log"
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            waiting.until_now(
                lambda: any(line.startswith(stage.LISTENS) for line in waiting.lines(log)), seconds=2 * waiting.SECONDS
            )
            yield
        finally:
            process.terminate()


_migrated: list[bytes] = []  # an empty database with the present schema, once one was made in this process


async def _begin_with_schema(database: Path) -> None:
    """Give a new home a copy of an empty database: the migration steps cost more than the rest of a start."""
    if not _migrated:
        with tempfile.TemporaryDirectory() as place:
            template = Path(place) / database.name
            await open_database(template).close()
            _migrated.append(template.read_bytes())
    _copy_into_new(database)


def _copy_into_new(database: Path) -> None:
    if not any(database.parent.iterdir()):
        database.touch(0o600)
        database.write_bytes(_migrated[0])


def _lay_aside(home: Path) -> None:
    """Have a new home lie far from where it is asked for, which then is a link to it.

    Tests keep the files of their jobs around it, and make some after the start; the sandbox of workers can leave a
    directory open whole only where no home is in it. Processes that a test starts find HOMES in their environment.
    """
    homes = os.environ.get(HOMES)
    if homes and not home.exists() and not home.is_symlink():
        home.symlink_to(tempfile.mkdtemp(prefix=f"{home.name}-", dir=homes))


async def deploy(engine: Engine, document: str, caller: Caller = ADMIN, **options: Any) -> dict[str, Any]:
    """Stage a job document and run it; fails when it does not come up."""
    put = await engine.call("job_put", {"document": document}, caller)
    given = {"name": put["name"], "wait_seconds": 60, **options}  # a busy machine may need long to start a worker
    deployed = await engine.call("job_deploy", given, caller)
    states = {w["state"] for w in deployed["workloads"]}
    assert states <= {"running", "completed"}, deployed
    return deployed
