"""Backups that the engine takes by itself: they come, they are dropped in time, and one that fails is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import clock, errors
from core.backup import checking, places, schedule
from core.backup.schedule import Known
from core.settings import Settings
from mcp_server.cli import checkup
from tests import waiting
from tests.backup.archives import PASSPHRASE, home
from tests.engines import ADMIN, engine_on

HOUR = 3600 * clock.NANOSECONDS
SECONDS = 3 * waiting.SECONDS  # each is a process of its own


def test_the_next_one_is_due_after_its_interval_and_a_failed_one_soon_again() -> None:
    now = 1000 * HOUR
    assert schedule.due_ns(Known(), 24 * HOUR) == 0
    assert schedule.due_ns(Known(succeeded_at_ns=now), 24 * HOUR) == now + 24 * HOUR
    failed = Known(failed_at_ns=now, fault="no room")
    assert schedule.due_ns(failed, 24 * HOUR) == now + 300 * clock.NANOSECONDS
    assert schedule.due_ns(failed, clock.NANOSECONDS) == now + clock.NANOSECONDS


def test_there_is_trouble_until_one_was_made_and_when_none_comes() -> None:
    now = 1000 * HOUR
    assert schedule.trouble(Known(since_ns=now), 24 * HOUR, now) == ""
    assert "no room" in schedule.trouble(Known(succeeded_at_ns=now, fault="no room"), 24 * HOUR, now)
    assert schedule.trouble(Known(succeeded_at_ns=now), 24 * HOUR, now + 30 * HOUR) == ""
    for last in (Known(succeeded_at_ns=now), Known(since_ns=now)):
        assert "no backup" in schedule.trouble(last, 24 * HOUR, now + 37 * HOUR)


def test_one_that_is_wanted_more_often_than_a_backup_takes_is_not_missing_between_two() -> None:
    now, every_ns = 1000 * HOUR, int(0.01 * HOUR)
    for seconds, missing in ((70, False), (200, False), (300, True)):
        told = schedule.trouble(Known(succeeded_at_ns=now), every_ns, now + seconds * clock.NANOSECONDS)
        assert bool(told) is missing


@pytest.mark.anyio
async def test_a_due_one_is_not_looked_for_later_than_it_is_due(tmp_path: Path, monkeypatch: Any) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(schedule.asyncio, "sleep", sleep)
    backups = schedule.Backups(Settings(home=tmp_path, backup_to="/srv", backup_every_hours=0.01))
    for ago, least, most in ((26, 5, 10), (0, 30, 30)):
        backups.known.succeeded_at_ns = clock.now_ns() - ago * clock.NANOSECONDS
        await backups.keep()
        assert least <= slept.pop() <= most


def test_a_missing_one_is_told_without_an_engine_too(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert list(checkup.backups_recorded(settings)) == []
    long_ago = clock.now_ns() - 40 * HOUR
    backups = schedule.Backups(settings)
    backups.known = Known(succeeded_at_ns=long_ago, since_ns=long_ago, every_ns=24 * HOUR, archive="a.tar")
    backups._note()
    (finding,) = checkup.backups_recorded(settings)
    assert finding.state == "fault" and "No engine is running" in finding.found and "sluice serve" in finding.hint
    backups.known.succeeded_at_ns = clock.now_ns()
    backups._note()
    assert [one.state for one in checkup.backups_recorded(settings)] == ["ok"]
    backups.known.succeeded_at_ns = long_ago
    backups.retire()  # an engine that was told to take none
    assert list(checkup.backups_recorded(settings)) == []


def test_the_hint_on_a_backup_that_failed_fits_whatever_it_failed_of() -> None:
    told = {"wanted": True, "trouble": "The last backup failed: The passphrase file /x cannot be read."}
    assert "backup_to" not in checkup.backups(told).hint


def test_the_oldest_of_the_same_home_go_and_nothing_else() -> None:
    own = [places.name_of("abcdefghij", hour * HOUR) for hour in (3, 1, 2)]
    others = [places.name_of("other678xx", HOUR), "sluice-abcdefgh.tar", f"{own[0]}.old", "notes.txt", f"x{own[0]}"]
    assert places.superfluous([*own, *others], "abcdefghij", 2) == [own[1]]
    assert places.superfluous([*own, *others], "abcdefghij", 3) == []


def test_a_place_is_a_directory_or_a_bucket() -> None:
    assert isinstance(places.place("/srv/x"), places.Directory)
    for text in ("ftp://host/x", "s3://", "http://host/x"):
        with pytest.raises(errors.InvalidParams):
            places.place(text)


@pytest.mark.anyio
async def test_the_engine_takes_backups_keeps_some_and_tells_when_it_cannot(tmp_path: Path) -> None:
    place = await home(tmp_path / "home")
    kept = tmp_path / "kept"
    (tmp_path / "pass").write_text(PASSPHRASE + "\n")
    (tmp_path / "pass").chmod(0o600)
    chosen = {"workers": 0, "adopt": True, "backup_to": str(kept), "backup_keep": 2}
    chosen["backup_passphrase_file"] = tmp_path / "pass"
    async with engine_on(place, **chosen) as engine:
        await waiting.until(lambda: engine.backups.known.failures, seconds=SECONDS)
        told = (await engine.call("engine_status", {}, ADMIN))["backups"]
        assert "is not there" in told["trouble"] and told["last_at"] is None
        assert checkup.backups(told).state == "fault"
        assert not kept.exists()
    kept.mkdir()
    (kept / places.name_of("other678", HOUR)).write_text("of another home")
    async with engine_on(place, **chosen) as engine:
        assert "is not there" in engine.backups.trouble()  # a restart forgets no failure
        for count in (1, 2, 3):
            await engine.backups.take()
            assert engine.backups.known.taken == count, engine.backups.known.fault
        told = (await engine.call("engine_status", {}, ADMIN))["backups"]
        assert told["trouble"] == "" and checkup.backups(told).state == "ok"
        families = (await engine.call("engine_metrics", {}, ADMIN))["families"]
        values = {one["name"]: one["samples"][0]["value"] for one in families if one["name"].startswith("backup_")}
        assert values["backup_trouble"] == 0 and values["backup_failures_total"] >= 1 and values["backup_bytes"] > 0
    names = sorted(path.name for path in kept.iterdir())
    assert len(names) == 3 and told["archive"] in names and places.name_of("other678", HOUR) in names
    checking.verify(kept / told["archive"], PASSPHRASE)


@pytest.mark.anyio
async def test_a_damaged_database_pushes_no_backup_out(tmp_path: Path) -> None:
    place = await home(tmp_path / "home")
    kept = tmp_path / "kept"
    kept.mkdir()
    async with engine_on(place, workers=0, adopt=True, backup_to=str(kept), backup_keep=1) as engine:
        await waiting.until(lambda: engine.backups.known.taken, seconds=SECONDS)
        assert checkup.backups((await engine.call("engine_status", {}, ADMIN))["backups"]).state == "warning"  # no keys
        await engine.database.write(damage)
        await engine.backups.take()
        assert "damaged" in engine.backups.trouble()
    assert [path.name for path in kept.iterdir()] == [engine.backups.known.archive]


def damage(db: Any) -> None:
    """A row that its table does not allow, as a fault of the disk might leave it."""
    db.conn.execute("CREATE TABLE broken (a TEXT, b INTEGER)")
    db.conn.execute("INSERT INTO broken VALUES (NULL, 1)")
    db.conn.execute("PRAGMA writable_schema = ON")
    db.conn.execute(
        "UPDATE sqlite_schema SET sql = 'CREATE TABLE broken (a TEXT NOT NULL, b INTEGER)' WHERE name = 'broken'"
    )
    db.conn.execute("PRAGMA writable_schema = OFF")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A real server that speaks the protocol of S3, and the environment of an engine that may use it."""
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("obstore")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    for name, text in (
        ("ACCESS_KEY_ID", "x"),
        ("SECRET_ACCESS_KEY", "y"),
        ("REGION", "us-east-1"),
        ("ENDPOINT_URL", url),
    ):
        monkeypatch.setenv(f"AWS_{name}", text)
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="y", region_name="us-east-1"
    )
    client.create_bucket(Bucket="kept")
    yield client
    server.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:(botocore|moto|werkzeug).*")
@pytest.mark.anyio
async def test_backups_go_to_an_object_store_and_the_oldest_leave_it(tmp_path: Path, bucket: Any) -> None:
    place = await home(tmp_path / "home")
    chosen = {"workers": 0, "adopt": True, "backup_to": "s3://kept/of/mine", "backup_keep": 1, "backup_every_hours": 99}
    async with engine_on(place, **chosen) as engine:
        await waiting.until(lambda: engine.backups.known.taken or engine.backups.known.fault, seconds=SECONDS)
        assert engine.backups.known.fault == ""
        first = engine.backups.known.archive
        await engine.backups.take()
    listed = bucket.list_objects_v2(Bucket="kept")["Contents"]
    assert [one["Key"] for one in listed] == [f"of/mine/{engine.backups.known.archive}"]
    assert first < engine.backups.known.archive
    bucket.download_file("kept", listed[0]["Key"], str(tmp_path / "b.tar"))
    checking.verify(tmp_path / "b.tar", None)
    assert not list(place.glob("backup.part/*"))
