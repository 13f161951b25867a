"""Hostile code in a worker, and in a command that a worker starts, against the engine that it works for."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import clock
from core.confinement import sandbox
from core.engine import Engine
from core.fleet import child
from tests import waiting
from tests.engines import ADMIN, deploy, engine_on, online

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(bool(sandbox.lacking()), reason=f"this kernel: {', '.join(sandbox.lacking())}"),
]
PRIVATE = (
    *("sluice.db", "logs.db", "series.db", "letters.db", "engine.lock", "engine.sock", "admin.token", "sluice.toml"),
    *("secrets.key", "jwt.key", "worker.key"),
)
HERE = Path(__file__).parent
NOBODY = 65534
# What the kernel tells without giving anything away, and names of what is not there.
FINE = {"set", "EACCES", "EPERM", "EAFNOSUPPORT", "ENOSYS", "EXDEV", "EBADF", "ENOTSUP"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that another user can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="sluice-sandbox-") as made:
        Path(made).chmod(0o755)
        (Path(made) / "test").mkdir()
        yield Path(made) / "test"


@pytest.fixture
def home(place: Path) -> Path:
    return place / "home"


@pytest.fixture(params=["tenant", "anywhere"])
async def engine(home: Path, place: Path, request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """With every private file that a home can have, and a file of the user outside of it."""
    (place / "outside").mkdir()
    (place / "outside" / "file").write_text("of the user")
    options = {"file_access": request.param, "file_roots": (str(_data(place)),)}
    async with engine_on(home, allow_exec=True, **options) as engine:
        await engine.sampler.sample(clock.now_ns() // clock.NANOSECONDS)  # its file is there
        for name in PRIVATE:
            if not (home / name).exists():
                (home / name).write_text("secret")
        (home / "tls").mkdir(exist_ok=True)
        (home / "tls" / "key.pem").write_text("secret")
        await online(engine)
        yield engine


def _data(place: Path) -> Path:
    place = place / "data"
    place.mkdir(exist_ok=True)
    return place


def _aims(parent: int, home: Path, outside: Path) -> list[str]:
    """The arguments of the probe: every place of the home but those that workers have to themselves."""
    home = home.resolve()
    own = [home / "state", home / "scratch"]
    places = [place for place in (home, *sorted(home.rglob("*"))) if not {place, *place.parents} & set(own)]
    return [str(parent), json.dumps([str(place) for place in places]), str(outside)]


def _not_refused(told: dict[str, str], engine: Engine | None = None) -> dict[str, str]:
    """What was open; where jobs may go anywhere, that is what belongs to nobody else."""
    fine = {"read outside", "create outside"} if engine and engine.settings.file_access == "anywhere" else set()
    return {name: became for name, became in told.items() if became not in FINE and name not in fine}


def test_the_probe_finds_everything_open_without_a_sandbox(place: Path) -> None:
    (place / "home").mkdir()
    (place / "home" / "worker.key").write_text("secret")
    (place / "file").write_text("x")
    with _listening(place / "home" / "engine.sock"):
        command = [sys.executable, str(HERE / "probe.py"), *_aims(os.getpid(), place / "home", place)]
        told = json.loads(subprocess.run(command, cwd=place, capture_output=True, check=True).stdout)
    found = {name for name, became in told.items() if became == "OPEN"}
    open_here = {"read worker.key", "link worker.key", "connect engine.sock", "read outside", "no_new_privs"}
    if "NoNewPrivs:\t1" in Path("/proc/self/status").read_text(encoding="ascii"):
        open_here.discard("no_new_privs")  # whoever runs the tests has closed it before
    assert open_here <= found
    changed = {"chmod worker.key", "chown worker.key", "times worker.key", "chmod by /proc through a handle worker.key"}
    assert changed <= found and {"make setuid", "give setgid", "give writing"} <= found
    assert told["chmod through a handle worker.key"] == told["times through a handle worker.key"] == "EBADF"


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        yield


@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "plain user"])
async def test_a_worker_reaches_nothing_of_its_engine(
    engine: Engine, home: Path, place: Path, user: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0 and user != os.geteuid():
        user = os.geteuid()
    sent: dict[str, Any] = {}
    monkeypatch.setattr(child.subprocess, "Popen", lambda *a, **k: _Kept(sent))
    child.spawn("local-9", engine.settings, _Socket())  # type: ignore[arg-type]
    monkeypatch.undo()
    if user != os.geteuid():
        _give_away(place.parent, user)
        _give_away(engine.settings.home, user)
    aims = _aims(os.getpid(), home, place / "outside")
    command = [sys.executable, str(HERE / "confined.py"), str(user), *aims]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    with anyio.fail_after(60):
        done = await anyio.run_process(command, input=sent["options"], env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    state, told = done.stdout.decode().splitlines()
    assert state == sandbox.FULL
    tried = json.loads(told)
    assert {f"read {name}" for name in ("sluice.db", "worker.key", "secrets.key", "tls/key.pem")} <= tried.keys()
    left = _not_refused(tried, engine)
    assert left.pop("make setuid by openat2") == "OPEN"  # workers open files with it; docs/sandbox.md
    assert left == {}


class _Socket:
    def fileno(self) -> int:
        return 0


class _Kept:
    """Stands for a started process; keeps the options that it was given."""

    pid = 0

    def __init__(self, sent: dict[str, Any]) -> None:
        self._sent = sent
        self.stdin = self

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *fault: object) -> None:
        pass

    def write(self, data: bytes) -> None:
        self._sent["options"] = data


def _give_away(place: Path, user: int) -> None:
    """Everything below belongs to that user."""
    for path in (place, *place.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            os.chown(path, user, user, follow_symlinks=False)


async def test_a_command_of_a_job_reaches_nothing_of_its_engine_and_its_worker(
    engine: Engine, home: Path, place: Path
) -> None:
    row = next(row for row in engine.fleet.worker_rows() if row["name"] == "local-1")
    assert row["sandbox"] == sandbox.FULL
    program = (HERE / "probe.py").read_text(encoding="utf-8")
    for parent in (os.getpid(), row["pid"]):
        out = place / "data" / f"told-{parent}"
        words = [sys.executable, "-c", program, *_aims(parent, home, place / "outside")]
        command = json.dumps([word.replace("${", "$ {") for word in words])
        name = f"probe-{parent}"
        document = f"name: {name}\ninput: {{exec: {{command: {command}, trigger: {{interval: 1h}}}}}}\n"
        await deploy(engine, document + f"output: {{file: {{path: '{out}', input-field: _raw}}}}\n")
        [told] = await waiting.until(lambda out=out: waiting.lines(out))
        assert _not_refused(json.loads(told), engine) == {}
        await engine.call("job_undeploy", {"name": name}, ADMIN)


async def test_a_worker_that_must_be_confined_and_cannot_be_does_not_start_and_says_why(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "from core.confinement import landlock; landlock.abi = lambda: 0; from core.worker.__main__ import main\n"

    def on_another_kernel(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        given = command[command.index("core.worker") + 1 :]
        return real([command[0], "-P", "-c", f"{program}raise SystemExit(main({given!r}))"], **options)

    real = subprocess.Popen
    monkeypatch.setattr(child.subprocess, "Popen", on_another_kernel)
    async with engine_on(home, sandbox="require") as engine:
        [row] = await waiting.until(engine.fleet.worker_rows, lambda rows: rows[0]["sandbox"])
        assert row["sandbox"].startswith("refused: ") and "no Landlock" in row["sandbox"]
        assert row["state"] != "online"
    async with engine_on(home, sandbox="auto") as engine:
        [row] = await waiting.until(engine.fleet.worker_rows, lambda rows: rows[0]["state"] == "online")
        assert row["sandbox"] == "partial: no Landlock"
