"""What a service manager hears, at a real datagram socket: from the module alone, and from `sluice serve`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest

from core import errors, readiness
from core.readiness import Readiness
from mcp_server.cli import stage
from mcp_server.service import notify, watch

pytestmark = pytest.mark.anyio
SECONDS = 20


class Ear:
    """The service manager's end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    async def hear(self) -> dict[str, str]:
        """The next datagram."""
        with anyio.fail_after(SECONDS):
            data = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
        return dict(line.split("=", 1) for line in data.decode().split("\n"))

    async def hear_of(self, name: str) -> dict[str, str]:
        """The next datagram that has this."""
        while name not in (said := await self.hear()):
            pass
        return said

    def silent(self) -> bool:
        """Whether nothing more has come."""
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    made = Ear(tmp_path / "notify")
    yield made
    made.close()


class Engine:
    """One whose state and whose store the test sets."""

    def __init__(self) -> None:
        self.found = Readiness(0, 2, {readiness.WORKERS: "None of 2 workers takes jobs."})
        self.works = asyncio.Event()
        self.fault: errors.SluiceError | None = None
        self.asked = asyncio.Event()

    async def readiness(self) -> Readiness:
        return self.found

    async def pulse(self) -> None:
        self.asked.set()
        await self.works.wait()
        if self.fault is not None:
            raise self.fault


def environment(ear: Ear, usec: str = "", pid: str = "") -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(ear.path), "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid, "PATH": "/bin"}


async def test_ready_is_told_when_work_is_done_and_stopping_when_no_more_is_taken(ear: Ear) -> None:
    engine = Engine()
    watching = watch.Watch(engine, notify.manager(environment(ear)))
    async with watching.kept():
        assert await ear.hear() == {"STATUS": "Not ready: None of 2 workers takes jobs."}
        engine.found = Readiness(1, 2)
        assert await ear.hear() == {"STATUS": "Ready, 1 worker of 2", "READY": "1"}
        assert (await watching.readiness()).ready
        watching.stop("SIGTERM: draining")
        assert await ear.hear() == {"STOPPING": "1", "STATUS": "SIGTERM: draining"}
        assert (await watching.readiness()).to_dict()["lacking"] == [{"what": "draining", "why": "SIGTERM: draining"}]
    assert ear.silent()


async def test_without_workers_it_is_told_all_the_same_after_a_while(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE_SECONDS", 0.0)
    async with watch.Watch(Engine(), notify.manager(environment(ear))).kept():
        said = await ear.hear()
    assert said == {"STATUS": "Not ready: None of 2 workers takes jobs.", "READY": "1"}


async def test_a_sign_of_life_comes_only_when_the_store_has_answered(ear: Ear) -> None:
    engine = Engine()
    manager = notify.manager(environment(ear, "400000", str(os.getpid())))
    assert manager.watchdog_seconds == 0.4
    async with watch.Watch(engine, manager).kept():
        await ear.hear()  # the status
        for _ in range(3):  # asked again and again, and each time the store hangs
            engine.asked.clear()
            with anyio.fail_after(SECONDS):
                await engine.asked.wait()
        assert ear.silent()
        engine.works.set()
        assert await ear.hear() == {"WATCHDOG": "1"}
        assert await ear.hear() == {"WATCHDOG": "1"}
        engine.fault = errors.StorageUnavailable("The database was deleted.")
        engine.asked.clear()
        with anyio.fail_after(SECONDS):
            await engine.asked.wait()
        while not ear.silent():
            pass
        engine.asked.clear()
        with anyio.fail_after(SECONDS):
            await engine.asked.wait()
        assert ear.silent()


async def test_who_is_not_watched_or_for_another_process_tells_nothing() -> None:
    assert isinstance(notify.manager({}), notify.Nobody)
    assert isinstance(notify.manager({"NOTIFY_SOCKET": "vsock:2:1"}), notify.Nobody)
    held = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1", "PATH": "/bin"}
    manager = notify.manager(held)
    assert (held, manager.watchdog_seconds) == ({"PATH": "/bin"}, None)
    manager.tell(READY="1")  # nobody listens there: it is logged, and nothing else


async def test_a_value_stays_one_line(ear: Ear) -> None:
    notify.manager(environment(ear)).tell(STATUS="a\nWATCHDOG=trigger")
    assert await ear.hear() == {"STATUS": "a WATCHDOG=trigger"}


async def test_serve_tells_what_it_does_and_who_asks_for_ready_hears_the_same(tmp_path: Path, ear: Ear) -> None:
    scene = stage.Stage(tmp_path / "home", NOTIFY_SOCKET=str(ear.path), WATCHDOG_USEC="1000000")
    try:
        with anyio.fail_after(60):
            await scene.start(workers=1)
            assert (await ear.hear())["STATUS"].startswith("Opening ")
            assert (await ear.hear_of("READY"))["STATUS"] == "Ready, 1 worker"
            await ear.hear_of("WATCHDOG")
            async with httpx.AsyncClient(base_url=scene.url, trust_env=False) as client:
                answer = await client.get("/ready")
                assert (answer.status_code, answer.json()) == (
                    200,
                    {"status": "ready", "workers": {"up": 1, "wanted": 1}, "lacking": []},
                )
                await scene.must("POST", "/api/workers/local-1/drain")
                answer = await client.get("/ready")
                assert (answer.status_code, answer.json()["lacking"][0]["what"]) == (503, "workers")
                assert (await client.get("/health")).status_code == 200, "it is alive"
            os.kill(scene.pid, signal.SIGTERM)
            assert (await ear.hear_of("STOPPING"))["STATUS"] == "SIGTERM: draining"
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()
