"""Jobs that are pointed at the database of the engine, by any of its names, while runs are accepted beside them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import orjson
import pytest

from core import errors
from core.engine import Engine
from tests.engines import ADMIN, EXAMPLES, engine_on

pytestmark = pytest.mark.anyio
INVOKE = {"slug": "smoke_trigger", "params": {"env": "x"}, "wait_timeout_seconds": 0}
READER = "name: job-{n}\ninput: {{files: {{path: '{path}', mode: batch}}}}\noutput: {{file: {{path: '{out}'}}}}\n"
WRITER = "name: job-{n}\ninput: {{echo: {{event: '{{}}'}}}}\noutput: {{file: {{path: '{path}'}}}}\n"


async def _try(engine: Engine, document: str) -> str:
    """What became of a job: the code of the refusal, or the state and reason of its workload."""
    try:
        name = (await engine.call("job_put", {"document": document}, ADMIN))["name"]
        deployed = await engine.call("job_deploy", {"name": name, "wait_seconds": 10}, ADMIN)
    except errors.SluiceError as error:
        return error.code
    [workload] = deployed["workloads"]
    await engine.call("job_undeploy", {"name": name}, ADMIN)
    return f"{workload['state']}: {workload['reason']}"


async def test_no_name_of_the_database_lets_a_job_touch_it_and_no_run_is_lost(tmp_path: Path) -> None:
    home, place = tmp_path / "home", tmp_path / "data"
    place.mkdir()
    accepted = 0
    async with engine_on(home, workers=1) as engine:
        await engine.call("trigger_publish", orjson.loads((EXAMPLES / "smoke_trigger.json").read_bytes()), ADMIN)
        for suffix in ("", "-wal", "-shm"):
            (place / f"hard{suffix}").hardlink_to(home / f"sluice.db{suffix}")
            (place / f"soft{suffix}").symlink_to(home / f"sluice.db{suffix}")
        (place / "home").symlink_to(home)
        paths = [home / "sluice.db", home / "sluice.db-wal", home / "engine.lock", place / "home" / "sluice.db",
                 place / ".." / "home" / "sluice.db", *(place / f"{kind}{suffix}" for kind in ("hard", "soft")
                                                         for suffix in ("", "-wal", "-shm"))]  # fmt: skip
        stop = asyncio.Event()

        async def invoke() -> None:
            nonlocal accepted
            while not stop.is_set():
                await engine.call("trigger_invoke", INVOKE, ADMIN)
                accepted += 1

        with anyio.fail_after(120):
            invoking = asyncio.ensure_future(invoke())
            for n, path in enumerate(paths):
                out = place / f"read-{n}"
                became = await _try(engine, READER.format(n=n, path=path, out=out))
                # A file with several names is left out, and told.
                assert became in ("forbidden", "invalid_document", "completed: ") or became.startswith(
                    ("failed:", "completed: InputConnected: ")
                )
                assert not out.exists() or out.read_bytes() == b"", path
                became = await _try(engine, WRITER.format(n=n, path=path))
                assert became in ("forbidden", "invalid_document") or became.startswith("failed:"), (path, became)
            (place / "plain").write_text("text\n")  # the same job on a file that it may read: it does read
            assert await _try(engine, READER.format(n="x", path=place / "plain", out=place / "out")) == "completed: "
            assert b"text" in (place / "out").read_bytes()
            stop.set()
            await invoking
        assert accepted > 50
    async with engine_on(home, workers=0) as engine:
        assert await engine.database.read(lambda db: db.table("invocations").count) == accepted
        checked = await engine.database.read(lambda db: db.conn.execute("PRAGMA integrity_check").fetchone()[0])
        assert checked == "ok"
