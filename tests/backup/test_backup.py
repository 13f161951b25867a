"""A home as one archive: whole, of one moment, sealed; and back, or nothing at all."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core import adoption, clock, errors, ownership
from core.backup import checking, making, manifest, sealing, staging
from core.model import invocation
from core.settings import Settings
from mcp_server.cli import codes, main, stage
from tests import waiting
from tests.backup.archives import KEYS, PASSPHRASE, backup, home, ids, restore, tree
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on

pytestmark = pytest.mark.anyio


FILLING = (
    "CREATE TABLE filling AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
    " SELECT randomblob(8000) FROM n"
)


def archives(place: Path) -> list[Path]:
    """Those that are there, also under the name of one that is being written."""
    return [*place.glob("*.tar"), *place.glob(".*.partial")]


def number(id: str) -> int:
    parsed = invocation.parse_id(id)
    assert parsed is not None
    return parsed[0]


@pytest.fixture(autouse=True)
def quick_to_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guesses need not be slow here."""
    monkeypatch.setattr(sealing, "_COST", 16)


async def test_what_was_accepted_before_the_moment_of_a_backup_is_in_it_and_the_rest_is_not(tmp_path: Path) -> None:
    place = tmp_path / "home"
    async with engine_on(place) as engine:
        await engine.call("trigger_publish", json.loads((EXAMPLES / "smoke_trigger.json").read_bytes()), ADMIN)
        await deploy(engine, (EXAMPLES / "smoke_trigger_handler.yaml").read_text())
        await engine.database.write(lambda db: db.conn.execute(FILLING.format(3000)))
        accepted: list[tuple[int, str]] = []
        stop = asyncio.Event()

        async def lane() -> None:
            asked = {"slug": "smoke_trigger", "params": {"env": "x"}, "wait_timeout_seconds": 0}
            while not stop.is_set():
                answer = await engine.call("trigger_invoke", asked, ADMIN)
                accepted.append((clock.now_ns(), answer["invocation_id"]))

        lanes = [asyncio.create_task(lane()) for _ in range(4)]
        await waiting.until(lambda: len(accepted), lambda count: count > 20)
        made = await backup(place, tmp_path / "b.tar")
        late = len(accepted)
        await waiting.until(lambda: len(accepted), lambda count: count > late + 20)
        stop.set()
        await asyncio.gather(*lanes)
    restored = restore(tmp_path / "b.tar", tmp_path / "other")
    held = ids(tmp_path / "other")
    before = {number(id) for at, id in accepted if at < made.moment_ns}
    after = {number(id) for _, id in accepted[late:]}
    assert len(before) > 20 and before <= held
    assert after and not after & held
    assert restored.found.counts["invocations"] == len(held)
    async with engine_on(tmp_path / "other", adopt=True) as engine:  # what was open is run to its end
        await waiting.until(lambda: engine.pending.owed(), lambda owed: not owed)


async def test_a_home_comes_back_as_it_was_and_its_keys_with_the_passphrase_alone(tmp_path: Path) -> None:
    place = await home(tmp_path / "home")
    made = await backup(place, tmp_path / "b.tar")
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600
    for text in KEYS.values():
        assert text.strip().encode() not in (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "b.tar") as tar:  # other programs read it as well
        assert tar.getnames()[0] == "manifest.json" and "sluice.db.zst" in tar.getnames()
    checking.verify(tmp_path / "b.tar", PASSPHRASE)
    with pytest.raises(errors.Forbidden):
        checking.verify(tmp_path / "b.tar", PASSPHRASE + "!")
    with pytest.raises(errors.Forbidden):
        restore(tmp_path / "b.tar", tmp_path / "other", "not the passphrase")
    assert tree(tmp_path / "other") == {}
    done = restore(tmp_path / "b.tar", tmp_path / "other")
    assert tree(tmp_path / "other") == tree(place)
    assert ownership.home_id(tmp_path / "other") == made.home_id
    assert "which is still there" in done.next[0] and "--adopt" in done.next[0]
    with pytest.raises(errors.HomeCopied):
        async with engine_on(tmp_path / "other", workers=0):
            pass


@pytest.mark.parametrize("phrase", ["another passphrase", "short"])
async def test_a_passphrase_that_does_not_open_is_told_as_that(
    tmp_path: Path, phrase: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = await home(tmp_path / "home")
    await backup(place, tmp_path / "b.tar")
    (tmp_path / "phrase").write_text(phrase)
    command = ["backup", "verify", str(tmp_path / "b.tar"), "--passphrase-file", str(tmp_path / "phrase")]
    assert await asyncio.to_thread(main.run, command) == codes.REFUSED
    said = capsys.readouterr().err
    assert "Give the passphrase of this backup." in said and "'sluice restore FILE --without-keys'" in said
    assert "openssl" not in said


async def test_without_its_keys_a_backup_says_which_are_left_out_and_what_that_means(tmp_path: Path) -> None:
    place = await home(tmp_path / "home")
    made = await backup(place, tmp_path / "b.tar", None)
    assert {*KEYS, "tls/key.pem"} <= {one.what for one in made.left_out}
    done = restore(tmp_path / "b.tar", tmp_path / "other", None)
    assert not any((tmp_path / "other" / name).exists() for name in KEYS)
    assert any("secrets.key no secret opens" in sentence for sentence in done.next)


async def test_the_files_of_jobs_are_in_it_when_they_are_asked_for(tmp_path: Path) -> None:
    place = await home(tmp_path / "home")
    data = tmp_path / "home-data" / "acme"
    data.mkdir(parents=True)
    (data / "a.txt").write_text("events")
    (data / "link").symlink_to("/etc/passwd")
    os.mkfifo(data / "pipe")
    made = await backup(place, tmp_path / "b.tar", data=True)
    assert [one.why for one in made.left_out] == ["link", "special file"]
    restore(tmp_path / "b.tar", tmp_path / "other")
    held = {path.name: path.read_text() for path in (tmp_path / "other-data").rglob("*") if path.is_file()}
    assert held == {"a.txt": "events"}
    assert not (await backup(place, tmp_path / "c.tar")).part("data")


async def test_a_backup_replaces_nothing_and_one_is_made_at_a_time(tmp_path: Path) -> None:
    place = await home(tmp_path / "home")
    await backup(place, tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    with pytest.raises(errors.AlreadyExists):
        await backup(place, tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_bytes() == whole
    with staging.staging(place), pytest.raises(errors.Busy, match="Another backup"):
        await backup(place, tmp_path / "c.tar")
    with pytest.raises(errors.NotFound):
        await backup(tmp_path / "nothing", tmp_path / "c.tar")
    with pytest.raises(errors.InvalidParams):
        await backup(place, place / "c.tar")
    assert not (tmp_path / "c.tar").exists() and not (place / staging.DIRECTORY).exists()


async def test_a_restore_takes_an_empty_home_that_nobody_runs(tmp_path: Path) -> None:
    place = await home(tmp_path / "home")
    await backup(place, tmp_path / "b.tar")
    with pytest.raises(errors.AlreadyExists, match="not empty"):
        restore(tmp_path / "b.tar", place)
    (tmp_path / "other").mkdir(mode=0o700)
    owned = ownership.acquire(tmp_path / "other")
    assert owned is not None
    with pytest.raises(errors.Busy):
        restore(tmp_path / "b.tar", tmp_path / "other")
    owned.release()
    restore(tmp_path / "b.tar", tmp_path / "other")


@pytest.mark.parametrize(
    "part", ["manifest.json", "home.tar.zst", "sluice.db.zst", "logs.db.zst", "keys.sealed", "end"]
)
async def test_a_backup_that_is_damaged_anywhere_is_refused_and_leaves_nothing(tmp_path: Path, part: str) -> None:
    place = await home(tmp_path / "home")
    await backup(place, tmp_path / "b.tar")
    whole = bytearray((tmp_path / "b.tar").read_bytes())
    at = len(whole) - 1 if part == "end" else whole.index(part.encode() + b"\0") + 512 + 20
    whole[at] ^= 0x40
    (tmp_path / "b.tar").write_bytes(whole)
    for attempt in (
        lambda: checking.verify(tmp_path / "b.tar", None),
        lambda: restore(tmp_path / "b.tar", tmp_path / "o"),
    ):
        with pytest.raises(errors.InvalidDocument):
            attempt()
    (tmp_path / "b.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(errors.InvalidDocument):
        restore(tmp_path / "b.tar", tmp_path / "o")
    assert not (tmp_path / "o").exists() or {path.name for path in (tmp_path / "o").iterdir()} <= {"engine.lock"}


LATER = (
    "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
    " SELECT migration_set, 'm9999_later', '' FROM _sqlite_migrations LIMIT 1"
)


async def test_a_backup_of_a_newer_sluice_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: Any) -> None:
    place = await home(tmp_path / "home")
    async with engine_on(place, workers=0, adopt=True) as engine:
        await engine.database.write(lambda db: db.conn.execute(LATER))
    await backup(place, tmp_path / "schema.tar")
    with pytest.raises(errors.InvalidDocument, match="newer Sluice") as refused:
        restore(tmp_path / "schema.tar", tmp_path / "other")
    assert "Upgrade sluice-mcp" in refused.value.hint
    monkeypatch.setattr(making, "FORMAT", manifest.FORMAT + 1)
    await backup(place, tmp_path / "format.tar")
    with pytest.raises(errors.InvalidDocument, match="format 2"):
        restore(tmp_path / "format.tar", tmp_path / "other")


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from core.backup import making, restoring, sealing
from core.settings import Settings
from mcp_server.cli import codes, stage
sealing._COST = 16
what, passphrase = sys.argv[1:]

def counted(original, left):
    def step(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    return step

for line in sys.stdin:
    after, file, home = line.split()
    if (child := os.fork()) == 0:
        left = [int(after)]
        for owner, names in ((Path, ("rename", "mkdir", "rmdir")), (os, ("fsync", "fdatasync", "link"))):
            for name in names:
                setattr(owner, name, counted(getattr(owner, name), left))
        settings = Settings(home=Path(home))
        if what == "backup":
            asyncio.run(making.make(making.Order(settings, Path(file), passphrase), {}))
        else:
            restoring.restore(restoring.Order(settings, Path(file), passphrase))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Killer:
    """Does one thing again and again, and is killed later each time, where it changes what stays on the disk."""

    def __init__(self, what: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", KILLED, what, PASSPHRASE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def killed(self, after: int, file: Path, home: Path) -> bool:
        """Whether it was killed, after so many changes, and did not come to its end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{after} {file} {home}\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        assert code in (0, -signal.SIGKILL)
        return code != 0

    def close(self) -> None:
        self._process.communicate(timeout=30)


async def test_a_backup_that_is_killed_anywhere_leaves_no_archive_and_hinders_no_other(tmp_path: Path) -> None:
    place = await home(tmp_path / "home")
    with closing(Killer("backup")) as killer:
        for after in range(100):
            file = tmp_path / f"{after}.tar"
            if not killer.killed(after, file, place):
                assert after > 8
                break
            assert not file.exists() or checking.verify(file, PASSPHRASE)
    checking.verify(file, PASSPHRASE)
    assert not (place / staging.DIRECTORY).exists()


async def test_a_restore_that_is_killed_anywhere_leaves_nothing_that_runs_and_begins_anew(tmp_path: Path) -> None:
    place = await home(tmp_path / "home")
    await backup(place, tmp_path / "b.tar")
    wanted = tree(place)
    with closing(Killer("restore")) as killer:
        for after in range(200):
            other = tmp_path / f"other{after}"
            if not killer.killed(after, tmp_path / "b.tar", other):
                assert after > 20
                break
            if other.exists() and not whole(other):
                restore(tmp_path / "b.tar", other)
            assert not other.exists() or tree(other) == wanted


def whole(home: Path) -> bool:
    """Whether an engine would begin on a home into which a restore was cut off; else it must refuse, or be empty."""
    owned = ownership.acquire(home)
    assert owned is not None
    settings = Settings(home=home)
    try:
        if settings.database.exists():  # it was killed behind its end
            adoption.refuse_without_database(owned, settings)
            return True
        if any(path.name != "engine.lock" for path in home.iterdir()):
            with pytest.raises(errors.StorageUnavailable, match="interrupted"):
                adoption.refuse_without_database(owned, settings)
        return False
    finally:
        owned.release()


async def test_an_engine_that_is_killed_during_a_backup_leaves_none_and_takes_the_next_one(tmp_path: Path) -> None:
    place = tmp_path / "home"
    async with engine_on(place, workers=0) as engine:
        filling = (
            "CREATE TABLE filling AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)"
        )
        await engine.database.write(lambda db: db.conn.execute(f"{filling} SELECT randomblob(8000) FROM n"))
    scene = stage.Stage(place.resolve())
    try:
        await scene.start(workers=0)
        command = [stage.program("sluice"), "backup", "--without-keys", str(tmp_path / "b.tar"), "--home", str(place)]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        await waiting.until(lambda: waiting.size(place / staging.DIRECTORY / "sluice.db"))
        os.kill(scene.pid, signal.SIGKILL)
        _, said = await process.communicate()
    finally:
        await scene.stop()
    assert process.returncode == codes.UNFINISHED and b"The engine went away" in said
    assert archives(tmp_path) == []
    assert not (place / staging.DIRECTORY).exists()
    await backup(place, tmp_path / "b.tar")
    checking.verify(tmp_path / "b.tar", PASSPHRASE)


async def test_files_of_jobs_are_removed_for_a_restore_only_when_a_restore_has_put_them_there(tmp_path: Path) -> None:
    place = await home(tmp_path / "home")
    (tmp_path / "home-data" / "acme").mkdir(parents=True)
    (tmp_path / "home-data" / "acme" / "a.txt").write_text("events")
    await backup(place, tmp_path / "b.tar", data=True)
    root = tmp_path / "other-data"
    (root / "own").mkdir(parents=True)
    with pytest.raises(errors.AlreadyExists, match="data root"):
        restore(tmp_path / "b.tar", tmp_path / "other")
    (root / ".restoring").mkdir()  # whoever has made it: no restore of this home was under way
    with pytest.raises(errors.AlreadyExists, match="data root"):
        restore(tmp_path / "b.tar", tmp_path / "other")
    assert (root / "own").is_dir()
    (tmp_path / "other" / adoption.RESTORING).mkdir()
    restore(tmp_path / "b.tar", tmp_path / "other")
    assert [path.name for path in root.iterdir()] == ["acme"]


async def test_settings_with_a_password_go_with_the_keys_and_others_with_the_home(tmp_path: Path) -> None:
    place = await home(tmp_path / "home")
    settings = place / "sluice.toml"
    plain, secret = 'egress_allow = ["10.0.0.5"]\n', 'nats = "nats://ada:s3cr3t@10.0.0.5:4222"\n'
    for text, sealed in ((plain, False), (secret, True)):
        settings.write_text(text, encoding="utf-8")
        settings.chmod(0o600)
        file = tmp_path / f"{sealed}.tar"
        made = await backup(place, file, None)
        assert ("sluice.toml" in {one.what for one in made.left_out}) is sealed
        restore(file, tmp_path / f"without-{sealed}", None)
        assert (tmp_path / f"without-{sealed}" / "sluice.toml").exists() is not sealed
        with_keys = tmp_path / f"{sealed}-with-keys.tar"
        await backup(place, with_keys)
        restore(with_keys, tmp_path / f"with-{sealed}")
        assert (tmp_path / f"with-{sealed}" / "sluice.toml").read_text(encoding="utf-8") == text
