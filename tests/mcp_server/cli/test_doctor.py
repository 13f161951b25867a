"""`sluice doctor`: what it finds on a sound machine, and that it names each thing that is wrong."""

from __future__ import annotations

import importlib.util
import os
import socket
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core import ownership
from core.settings import Settings
from core.store import inspection
from mcp_server.cli import checkup, connect, main, stage

CHECKS = [
    *("lock", "engine"),  # whether an engine runs comes first
    *("python", "libraries", "extras", "programs", "home", "permissions", "files", "disk", "open files"),
    *("long answers", "sandbox", "clock", "database", "ports"),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "home"
    monkeypatch.setenv("SLUICE_HOME", str(place))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return place


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def doctor(capsys: pytest.CaptureFixture[str], port: int, *words: str) -> tuple[int, dict[str, dict[str, str]]]:
    code = main.run(["doctor", "--json", "--port", str(port), *words])
    said = orjson.loads(capsys.readouterr().out)
    assert said["ok"] is (code == 0)
    return code, {one["check"]: one for one in said["checks"]}


def made(home: Path) -> None:
    """A home that an engine has used."""
    assert main.run(["token", "create", "--username", "x", "--home", str(home)]) == 0


def test_a_fresh_machine_is_well_and_nothing_is_made(
    home: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = doctor(capsys, free_port)
    assert (code, list(found)) == (0, CHECKS)
    assert {one["state"] for one in found.values()} == {"ok"}
    assert not home.exists()


def test_people_get_a_table_and_a_sentence(home: Path, free_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["doctor", "--port", str(free_port)]) == 0
    done = capsys.readouterr()
    assert all(check in done.out for check in CHECKS)
    assert done.err == "All is well. No engine is running.\n"


def test_a_used_home_is_well(home: Path, free_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    made(home)
    capsys.readouterr()
    code, found = doctor(capsys, free_port)
    assert code == 0
    assert "schema steps" in found["database"]["found"]
    assert found["lock"]["found"] == "nobody holds it"


def test_a_home_that_others_can_write_is_a_fault(
    home: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir()
    home.chmod(0o777)
    code, found = doctor(capsys, free_port)
    assert code == 1
    assert found["home"] | {"found": ""} == {
        "check": "home",
        "state": "fault",
        "found": "",
        "hint": f"chmod 700 {home}",
    }


def test_a_private_file_that_others_can_read_is_a_fault(
    home: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir(mode=0o700)
    (home / "admin.token").write_text("x")
    (home / "admin.token").chmod(0o644)
    code, found = doctor(capsys, free_port)
    assert code == 1
    assert "admin.token (mode 0644" in found["permissions"]["found"]
    assert found["permissions"]["hint"] == f"chmod 600 {home / 'admin.token'}"


def test_a_settings_file_that_no_engine_would_start_with_is_a_fault(
    home: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir(mode=0o700)
    (home / "sluice.toml").write_text("worker = 3\n")
    (home / "sluice.toml").chmod(0o600)
    code, found = doctor(capsys, free_port)
    assert (code, found["settings"]["state"]) == (1, "fault")
    assert f"{home}/sluice.toml:1: unknown key 'worker'; did you mean 'workers'?" in found["settings"]["found"]


def test_a_clock_that_went_back_is_a_fault(home: Path, free_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    home.mkdir(mode=0o700)
    (home / "engine.lock").touch(mode=0o600)
    ahead = (home / "engine.lock").stat().st_mtime + 3600
    os.utime(home / "engine.lock", (ahead, ahead))
    code, found = doctor(capsys, free_port)
    assert code == 1
    assert "behind a file of the home" in found["clock"]["found"]


def test_a_port_that_another_program_has_is_a_warning(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))  # it does not listen, so nobody answers
        code, found = doctor(capsys, other.getsockname()[1])
    assert code == 0
    assert found["ports"]["state"] == "warning"
    assert "--port" in found["ports"]["hint"]


def test_a_database_of_a_newer_sluice_is_a_fault(
    home: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    made(home)
    database = sqlite3.connect(home / "sluice.db")
    database.execute(
        "insert into _sqlite_migrations (migration_set, name, applied_at) values ('sluice', 'm9999_later', '2027')"
    )
    database.commit()
    database.close()
    capsys.readouterr()
    code, found = doctor(capsys, free_port)
    assert code == 1
    assert "m9999_later" in found["database"]["found"]


def test_a_file_that_is_no_database_is_a_fault(home: Path, free_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    home.mkdir(mode=0o700)
    (home / "sluice.db").touch(mode=0o600)
    (home / "sluice.db").write_bytes(b"not a database" * 1000)
    code, found = doctor(capsys, free_port)
    assert code == 1
    assert found["database"]["state"] == "fault"


def test_a_damaged_page_is_found(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(home)
    path = home / "sluice.db"
    content = bytearray(path.read_bytes())
    for offset in range(8192, len(content), 8192):
        content[offset : offset + 64] = b"\xff" * 64
    path.write_bytes(content)
    assert inspection.inspect(path).fault


def test_a_client_that_would_start_what_is_gone_is_a_fault(
    home: Path, free_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"sluice": {"command": "/gone/sluice-mcp"}}}')
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".cursor" / "mcp.json").write_text("{} // not JSON")
    code, found = doctor(capsys, free_port)
    assert code == 1
    assert found["client claude-code"]["hint"] == "sluice mcp install claude-code"
    assert "client cursor" not in found


def test_a_disk_without_room_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "FREE_BYTES", 2**80)
    assert checkup.disk(tmp_path / "not" / "there").state == "fault"


def test_too_few_open_files_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup.resource, "getrlimit", lambda _: (64, 64))
    assert checkup.open_files(Settings()).hint == "ulimit -n 1024"


def test_a_broken_library_and_a_broken_extra_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "_import_fault", lambda name: "cannot be loaded" if name in ("lupa", "nats") else "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "obstore" else object())
    assert checkup.libraries().found == "lupa (cannot be loaded)"
    assert checkup.extras().found == "nats: nats (cannot be loaded)"


@pytest.mark.parametrize(
    ("about", "state"), [({"version": "0.0.1"}, "warning"), ({}, "warning"), ({"version": None}, "warning")]
)
def test_an_engine_of_another_version_is_a_warning(about: dict[str, Any], state: str) -> None:
    finding = checkup.version(about, 7)
    assert finding.state == state
    assert "Restart the engine (process 7)" in finding.hint


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([], "warning"),
        ([{"name": "a", "state": "lost"}, {"name": "b", "state": "online"}], "warning"),
        ([{"name": "a", "state": "online", "last_heartbeat_at": "2020-01-01T00:00:00Z"}], "fault"),
        ([{"name": "a", "state": "online"}], "ok"),
    ],
)
def test_workers_are_judged_by_state_and_heartbeat(rows: list[dict[str, Any]], state: str) -> None:
    assert checkup.workers(rows, 5).state == state


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[stage.Stage]:
    made = stage.Stage(tmp_path / "home")
    try:
        with anyio.fail_after(30):
            await made.start(workers=1)
        yield made
    finally:
        with anyio.fail_after(30, shield=True):
            await made.stop()


@pytest.mark.anyio
async def test_a_running_engine_tells_its_version_workers_and_port(scene: stage.Stage, tmp_path: Path) -> None:
    port = scene.url.rpartition(":")[2]
    of_a_shell = {"SLUICE_NATS": "nats://127.0.0.1:1", "SLUICE_WORKERS": "60", "SLUICE_FILE_ROOTS": "/etc"}
    environment = {**stage.environment(), "HOME": str(tmp_path), **of_a_shell}
    (scene.home / "sluice.toml").write_text("drain_seconds = 3\n")
    (scene.home / "sluice.toml").chmod(0o600)
    with anyio.fail_after(30):
        done = await anyio.run_process(
            [stage.program("sluice"), "doctor", "--json", "--home", str(scene.home), "--port", port],
            check=False,
            env=environment,
            cwd=tmp_path,
        )
    found = {one["check"]: one for one in orjson.loads(done.stdout)["checks"]}
    assert done.returncode == 0, found
    assert found["lock"]["found"] == f"held by process {scene.pid}"
    assert list(found)[:2] == ["lock", "engine"]
    assert "nats" not in found, "the engine is asked, not the shell"
    assert found["files"]["state"] == "ok"
    assert found["settings"]["state"] == "warning"
    assert "takes effect after a restart: drain_seconds" in found["settings"]["found"]
    assert found["versions"]["state"] == "ok"
    assert found["workers"]["found"] == "1 online"
    assert found["ports"]["found"] == f"Sluice answers at {scene.url}"


@pytest.mark.anyio
async def test_an_owner_that_does_not_answer_is_a_fault(
    home: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcp_server.cli import doctor

    monkeypatch.setattr(doctor, "ANSWER_SECONDS", 0.1)
    owned = ownership.acquire(ownership.prepare(home))
    assert owned is not None
    try:
        listener = owned.listen()  # and nobody accepts
        findings: list[checkup.Finding] = []
        assert await doctor._engine(Settings(home=home), connect.Common(home=home), findings, {})
        assert findings[-1].state == "fault"
        assert f"process {os.getpid()} does not answer" in findings[-1].found
        assert listener.fileno() >= 0
    finally:
        owned.release()


def test_a_loop_that_fails_is_a_fault_and_a_quarantined_job_a_warning() -> None:
    loop = {"name": "reconcile", "failures": 2, "failing": False, "reason": "no"}
    well = list(checkup.status({"loops": [loop], "quarantined": [], "probation": {}, "overreached": 0}))
    assert [(one.check, one.state) for one in well] == [("loops", "ok")]
    ill = list(
        checkup.status(
            {"loops": [{**loop, "failing": True}], "quarantined": ["acme/evil"], "probation": {}, "overreached": 0}
        )
    )
    assert [(one.check, one.state) for one in ill] == [("loops", "fault"), ("quarantine", "warning")]
    assert "reconcile: no" in ill[0].found and "acme/evil" in ill[1].found


def test_where_jobs_read_and_write_is_told_and_warned_of_when_it_is_everywhere(tmp_path: Path) -> None:
    home = tmp_path / "home"
    found = checkup.data(Settings(home=home, file_roots=("acme=/srv/acme:ro",)))
    assert (found.state, found.found) == ("ok", f"jobs use {home}-data/TENANT, acme=/srv/acme:ro")
    found = checkup.data(Settings(home=home, file_access="anywhere"))
    assert (found.state, "file_access is anywhere" in found.found) == ("warning", True)
    found = checkup.data(Settings(home=home, file_access="roots"))
    assert (found.state, found.found) == ("ok", "jobs use no files: there is no file root")
    found = checkup.data(Settings(home=home, file_roots=("/etc",)))
    assert (found.state, "/etc lies in /etc" in found.found) == ("fault", True)
