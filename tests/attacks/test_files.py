"""What a tenant admin tries with a job document: read the keys of the engine's side, write what runs later.

Through a real `sluice serve` over HTTPS and its worker. Each is tried twice: with the path written in the document,
which the engine refuses, and with a path that only the worker sees (a dynamic variable), which the worker refuses.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

import core
from core import clock
from mcp_server.cli import stage
from mcp_server.http import tls
from tests import waiting
from tests.external import rig as external
from tests.external import server as nats

pytestmark = pytest.mark.anyio
SECRET = "s3cret-of-the-engine"
MINE, THEIRS = "acme", "umbra"
PACKAGES = sysconfig.get_paths()["purelib"]
CHECKOUT = str(Path(str(core.__file__)).parent.parent)


@dataclass
class Tried:
    """What became of a job: the code and words of a refusal, or how its workload was last seen."""

    code: str = ""
    told: str = ""
    state: str = ""


@dataclass
class Scene:
    """A running engine, the key of a tenant's admin, and the directories around it."""

    place: Path
    client: httpx.AsyncClient
    number: int = 0
    own: Path = field(init=False)

    def __post_init__(self) -> None:
        self.own = self.place / "home-data" / MINE

    async def attempt(self, source: Any, output: Any, *, group: str = "default") -> Tried:
        """Stage and deploy a job, wait until it has run or failed, and take it away again."""
        self.number += 1
        document = json.dumps({"name": f"job-{self.number}", "input": source, "output": output})
        put = await self.client.post("/api/jobs", json={"document": document})
        if put.is_error:
            return _refused(put)
        at = f"/api/jobs/job-{self.number}"
        deployed = await self.client.post(f"{at}/deploy", json={"wait_seconds": 15, "worker_group": group})
        if deployed.is_error:
            return _refused(deployed)
        [one] = deployed.json()["workloads"]
        undeployed = await self.client.post(f"{at}/undeploy", json={})
        assert undeployed.is_success, undeployed.text
        return Tried("", one["reason"], one["state"])

    async def read(self, path: str | Path, *, hidden: bool, group: str = "default") -> Tried:
        """Read a file into the tenant's own directory; `hidden`: under a name that only the worker sees."""
        shown = str(path)
        if hidden:
            told = await self.client.post("/api/variables/place", json={"value": shown})
            assert told.is_success, told.text
            shown = "${dyn|place}"
        source = {"files": {"path": shown, "mode": "batch"}}
        return await self.attempt(source, {"file": {"path": f"loot/{self.number}", "input-field": "_raw"}}, group=group)

    def loot(self) -> list[str]:
        """What was read so far, line by line."""
        files = [file for file in (self.own / "loot").rglob("*") if file.is_file()]
        return [line for file in files for line in file.read_text().splitlines()]


def _refused(answer: httpx.Response) -> Tried:
    problem = answer.json()
    places = " ".join(fault["message"] for fault in problem["errors"])
    return Tried(problem["code"], f"{problem['detail']} {places} {problem['hint']}")


@contextlib.asynccontextmanager
async def serving(place: Path, *flags: str, cwd: Path) -> AsyncIterator[tuple[str, str]]:
    """`sluice serve` with a HOME of its own: its address and the operator's token."""
    log = place / "serve.log"
    with log.open("wb") as out:
        process = await anyio.open_process(
            [stage.program("sluice"), "serve", "--home", str(place / "home"), "--port", "0", *flags],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=cwd,
            env={**_environment(), "HOME": str(place / "user"), "SLUICE_DRAIN_SECONDS": "1"},
        )
    try:

        def address() -> str:
            assert process.returncode is None, waiting.lines(log)
            lines = [line for line in waiting.lines(log) if line.startswith(stage.LISTENS)]
            return lines[0].split()[3] if lines else ""

        url = await waiting.until(address, seconds=2 * waiting.SECONDS)
        yield url, (place / "home" / "admin.token").read_text().strip()
    finally:
        with anyio.CancelScope(shield=True):
            process.terminate()
            await process.aclose()


def _environment() -> dict[str, str]:
    return {name: value for name, value in stage.environment().items() if not name.startswith("XDG_")}


@contextlib.asynccontextmanager
async def admin_of(url: str, token: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key of an admin of the one tenant, made by the operator."""
    async with httpx.AsyncClient(base_url=url, verify=False, trust_env=False, timeout=30) as client:
        wanted = {"name": "k", "username": "mallory", "role": "admin", "tenants": [MINE]}
        made = await client.post("/api/tokens", json=wanted, headers={"authorization": f"Bearer {token}"})
        assert made.is_success, made.text
        client.headers.update({"authorization": f"Bearer {made.json()['token']}", "x-sluice-tenant": MINE})
        yield client


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    place = tmp_path_factory.mktemp("files")
    for name in (
        "user/.config/sluice",
        "user/.ssh",
        "start",
        "shared/certs",
        "in",
        "home-data/acme",
        "home-data/umbra",
    ):
        (place / name).mkdir(parents=True)
    for name in ("user/.config/sluice/logins.json", "user/.ssh/id", "user/plain", "start/worker.key",
                 "home-data/umbra/rows"):  # fmt: skip
        (place / name).write_text(SECRET + "\n")
    for name in ("shared/plain", "in/plain", "home-data/acme/plain"):
        (place / name).write_text("honest\n")
    made = tls.own(place / "shared", ["localhost"], clock.now_ns())
    (place / "shared" / "link").symlink_to(made.key.parent)
    flags = ["--workers", "1", "--tls-cert", str(made.cert), "--tls-key", f"{place}/shared/link/{made.key.name}"]
    roots = ["--file-root", str(place / "shared"), "--file-root", f"{MINE}={place}/in:ro"]
    with anyio.fail_after(60):
        starting = serving(place, *flags, *roots, cwd=place / "start")
        url, token = await starting.__aenter__()
    try:
        async with admin_of(url, token) as client:
            yield Scene(place, client)
    finally:
        await starting.__aexit__(None, None, None)


def _key(place: Path) -> Path:
    return next((place / "shared" / "tls").glob("*key*"))


READS: dict[str, Callable[[Path], str | Path]] = {
    "a key in the home": lambda place: place / "home" / "admin.token",
    "the home as a pattern": lambda place: place / "home" / "*",
    "the database": lambda place: place / "home" / "sluice.db",
    "the logins of the user": lambda place: place / "user" / ".config" / "sluice" / "logins.json",
    "a key of the user": lambda place: place / "user" / ".ssh" / "id",
    "any file of the user": lambda place: place / "user" / "plain",
    "a key where serve was started": lambda place: place / "start" / "worker.key",
    "the key of the certificate in a file root": _key,
    "what holds it, as a pattern": lambda place: place / "shared" / "**" / "*",
    "another tenant's directory": lambda place: place / "home-data" / THEIRS / "rows",
    "every tenant's directory": lambda place: place / "home-data" / "*" / "rows",
    "the way up": lambda place: f"../{THEIRS}/rows",
    "the way up in the middle": lambda place: f"{place}/shared/../home/admin.token",
    "passwords": lambda place: "/etc/passwd",
    "the environment": lambda place: "/proc/self/environ",
    "the source of the engine": lambda place: f"{CHECKOUT}/core/__init__.py",
    "everything": lambda place: "/**",
}


@pytest.mark.parametrize("hidden", [False, True], ids=["written", "hidden"])
@pytest.mark.parametrize("what", READS)
async def test_no_job_reads_what_is_not_its_tenants(scene: Scene, what: str, hidden: bool) -> None:
    path = READS[what](scene.place)
    before = scene.loot()
    with anyio.fail_after(60):
        tried = await scene.read(path, hidden=hidden)
    if what == "what holds it, as a pattern":  # the rest of a shared directory is open; the key in it is left out
        assert tried.state == "completed", tried
        assert "honest" in scene.loot()
    elif hidden:
        assert tried.state == "failed", tried
        assert scene.loot() == before
    else:
        assert tried.code == "invalid_document", tried
    taken = "\n".join(scene.loot())
    assert SECRET not in taken
    assert "PRIVATE KEY" not in taken
    assert (scene.place / "home" / "admin.token").read_text().strip() not in taken


async def test_a_relative_path_is_not_where_serve_was_started(scene: Scene) -> None:
    tried = await scene.read("worker.key", hidden=False)
    assert (tried.code, tried.state) == ("", "completed")
    assert SECRET not in "\n".join(scene.loot())


async def test_no_other_name_of_a_key_opens_it(scene: Scene) -> None:
    key, own = _key(scene.place), scene.own
    os.link(key, own / "hard.pem")
    (own / "soft.pem").symlink_to(key)
    (own / "way").symlink_to(key.parent)
    for name in ("hard.pem", "soft.pem", f"way/{key.name}", "way", "*.pem"):
        for hidden in (False, True):
            tried = await scene.read(name, hidden=hidden)
            assert tried.state in ("completed", "failed"), (name, tried)
    (own / "hard.pem").unlink()
    assert "PRIVATE KEY" not in "\n".join(scene.loot())


async def test_what_is_the_tenants_is_read_also_under_a_hidden_name(scene: Scene) -> None:
    """Without this, all of the above would pass on a worker that reads nothing."""
    for path in ("plain", scene.own / "plain", scene.place / "in" / "plain", scene.place / "shared" / "plain"):
        for hidden in (False, True):
            before = len(scene.loot())
            tried = await scene.read(path, hidden=hidden)
            assert (tried.state, scene.loot()[before:].count("honest")) == ("completed", 1), (path, tried)


WRITES: dict[str, Callable[[Path], str | Path]] = {
    "what Python runs at its start": lambda place: f"{PACKAGES}/sluice_attack.pth",
    "the source of the engine": lambda place: f"{CHECKOUT}/core/sluice_attack.py",
    "programs": lambda place: f"{sys.prefix}/bin/sluice_attack",
    "programs of the system": lambda place: "/usr/local/bin/sluice_attack",
    "a timetable of the system": lambda place: "/etc/cron.d/sluice_attack",
    "a shell's start": lambda place: place / "user" / ".bashrc",
    "keys of the user": lambda place: place / "user" / ".ssh" / "authorized_keys",
    "the home": lambda place: place / "home" / "sluice_attack",
    "another tenant's directory": lambda place: place / "home-data" / THEIRS / "sluice_attack",
    "a new tenant's directory": lambda place: place / "home-data" / "later" / "sluice_attack",
    "where serve was started": lambda place: place / "start" / "sluice_attack",
    "what is only to be read": lambda place: place / "in" / "sluice_attack",
    "the way up": lambda place: f"{place}/shared/../start/sluice_attack",
    "the key of the certificate": _key,
}


@pytest.mark.parametrize("hidden", [False, True], ids=["written", "hidden"])
@pytest.mark.parametrize("what", WRITES)
async def test_no_job_writes_what_is_not_its_tenants(scene: Scene, what: str, hidden: bool) -> None:
    written = str(WRITES[what](scene.place))
    before = _there(written)
    echo = {"echo": {"event": json.dumps({"_raw": "import os"}), "json": True}}
    if hidden:  # a store writes into a directory that a variable names
        where, name = written.rsplit("/", 1)
        assert (await scene.client.post("/api/variables/place", json={"value": where})).is_success
        output = {"file-store": {"path": "${dyn|place}", "object-name": {"name": name}, "input-field": "_raw"}}
        tried = await scene.attempt(echo, output)
        assert tried.state in ("failed", "completed"), tried
    else:
        tried = await scene.attempt(echo, {"file": {"path": written, "input-field": "_raw"}})
        assert tried.code == "invalid_document", tried
    assert _there(written) == before


def _there(written: str) -> dict[str, bytes]:
    """What is beside the place of an attack, of the names that an attack makes, and the place itself."""
    path = Path(os.path.normpath(written))
    found = [path, *path.parent.glob("*sluice_attack*")] if path.parent.exists() else []
    return {str(file): file.read_bytes() for file in found if file.exists()}


async def test_what_is_the_tenants_is_written(scene: Scene) -> None:
    echo = {"echo": {"event": json.dumps({"_raw": "mine"}), "json": True}}
    for path in ("out/own", scene.place / "shared" / "out"):
        tried = await scene.attempt(echo, {"file": {"path": str(path), "input-field": "_raw"}})
        assert tried.state == "completed", tried
    assert (scene.own / "out" / "own").read_text() == (scene.place / "shared" / "out").read_text() == "mine\n"


@pytest.mark.parametrize(
    "path", ["/etc", "{place}/home", "{place}/home-data/umbra", "{place}/user/.ssh", "{place}/start"]
)
async def test_a_plan_is_blocked_by_a_path_that_would_be_refused_and_says_what_would_open_it(
    scene: Scene, path: str
) -> None:
    wanted = {"source": "workflow:quickstart-file-store-roundtrip", "values": {"path": path.format(place=scene.place)}}
    planned = (await scene.client.post("/api/deployments/roundtrip/plan", json=wanted)).json()
    blockers = planned["blockers"]
    assert {one["code"] for one in blockers} <= {"path_not_allowed", "invalid_job"}
    assert blockers, planned
    if path.endswith("start"):
        assert all("--file-root acme=/PATH (setting file_roots)" in one["hint"] for one in blockers)
    applied = await scene.client.post(f"/api/plans/{planned['plan_id']}/apply", json={})
    assert (applied.status_code, applied.json()["code"]) == (409, "plan_blocked")


async def test_a_trace_takes_no_sample_from_there(scene: Scene) -> None:
    (scene.own / "in").mkdir(exist_ok=True)
    assert (await scene.client.post("/api/variables/place", json={"value": "/etc/passwd"})).is_success
    for path in ("/etc/passwd", "${dyn|place}"):
        document = {"name": "t", "input": {"files": {"path": path, "mode": "batch"}}, "output": {"discard": {}}}
        asked = {"document": json.dumps(document), "sample": 5}
        answer = await scene.client.post("/api/jobs/trace", json=asked)
        assert "root:" not in answer.text
        assert answer.is_error or answer.json()["events_in"] == [], answer.text


@pytest.mark.parametrize("root", [PACKAGES, "{place}/home", "{place}/link"])
async def test_an_engine_refuses_a_file_root_that_opens_what_is_closed(tmp_path: Path, root: str) -> None:
    for name in ("user/.ssh", "home", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "home").chmod(0o700)
    (tmp_path / "link").symlink_to(tmp_path / "user" / ".ssh")
    flags = ["--home", str(tmp_path / "home"), "--port", "0", "--file-root", root.format(place=tmp_path)]
    environment = {**_environment(), "HOME": str(tmp_path / "user")}
    with anyio.fail_after(60):
        done = await anyio.run_process([stage.program("sluice"), "serve", *flags], check=False, env=environment)
    assert done.returncode == 1, done
    assert b"error: invalid_params: The file root " in done.stderr
    assert b"hint:" in done.stderr


async def test_a_worker_of_another_machine_does_not_give_its_key_away(tmp_path: Path) -> None:
    """The way of the first thief: the key lies where the worker was started, and the path is relative."""
    for name in ("user", "machine", "edge"):
        (tmp_path / name).mkdir()
    with nats.running() as bus, anyio.fail_after(120):
        flags = ["--workers", "0", "--nats", bus.url]
        async with serving(tmp_path, *flags, cwd=tmp_path) as (url, token):
            key = tmp_path / "machine" / "token"
            roots = {"file_roots": f"{MINE}={tmp_path}/machine"}
            async with admin_of(url, token) as client:
                operator = {"authorization": f"Bearer {token}"}
                wanted = {"name": "edge", "tenants": [MINE]}
                assert (await client.post("/api/worker-groups", json=wanted, headers=operator)).is_success
                may = {"group": "edge", "can": ["files"]}
                made = (await client.post("/api/worker-tokens", json=may, headers=operator)).json()
            key.touch(mode=0o600)
            key.write_text(made["token"])
            where = {"cwd": tmp_path / "machine", **roots}
            async with (
                external.machine(tmp_path / "edge", bus.url, key, **where) as edge,
                admin_of(url, token) as client,
            ):
                await edge.says("has joined")
                thief = Scene(tmp_path, client)
                thief.own = tmp_path / "edge-data" / MINE
                await _online(client)
                for path in (
                    "token",
                    key,
                    tmp_path / "edge" / "worker.credential",
                    "/etc/passwd",
                    tmp_path / "edge" / "state",
                ):
                    for hidden in (False, True):
                        await thief.read(path, hidden=hidden, group="edge")
                assert thief.loot() == []
                (tmp_path / "machine" / "plain").write_text("honest\n")
                assert (
                    await thief.read(tmp_path / "machine" / "plain", hidden=False, group="edge")
                ).state == "completed"
                assert thief.loot() == ["honest"]
                outside = await thief.read(tmp_path / "user" / "plain", hidden=False, group="edge")
                assert (outside.code, "file_roots" in outside.told) == ("invalid_document", True)


async def _online(client: httpx.AsyncClient) -> None:
    async def listed() -> list[Any]:
        found: list[Any] = (await client.get("/api/workers?state=online")).json()["items"]
        return found

    await waiting.until(listed)
