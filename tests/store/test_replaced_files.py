"""Files of an open database that go away: no write is told of that has no place, and what was told is saved."""

from __future__ import annotations

import subprocess
import sys
import timeit
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
import sqlite_utils

from core import errors
from core.store import database as store
from core.store.database import Database, open_database
from core.store.replaced_files import RESCUED, Files
from tests import waiting

pytestmark = pytest.mark.anyio

# What another program finds at the name, as after a kill of the owner: it is a process of its own.
READER = """
import sqlite3, sys
print([n for n, in sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute("SELECT n FROM t ORDER BY n")])
"""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    (tmp_path / "home").mkdir()
    lock = tmp_path / "home" / "engine.lock"
    lock.touch()
    opened = open_database(tmp_path / "home" / "sluice.db", [lock])
    with anyio.fail_after(30):
        await opened.write(lambda db: db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)"))
        for n in range(20):
            await opened.write(put, n)
        yield opened
    await opened.close()


def put(db: sqlite_utils.Database, n: int) -> None:
    db.conn.execute("INSERT INTO t VALUES (?)", (n,))


def count(db: sqlite_utils.Database) -> int:
    return int(db.conn.execute("SELECT count(*) FROM t").fetchone()[0])


def found(path: Path) -> list[int]:
    done = subprocess.run([sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True)
    return [int(n) for n in done.stdout.strip()[1:-1].split(",")]


def delete(*suffixes: str) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        for suffix in suffixes:
            Path(f"{path}{suffix}").unlink()

    return act


def replace(suffix: str) -> Callable[[Path], None]:
    """A copy takes the place, as from an editor, a backup, or `sed -i`; made by another process, as the guard wants."""

    def act(path: Path) -> None:
        name = f"{path}{suffix}"
        subprocess.run(["cp", name, f"{name}.copy"], check=True)
        Path(f"{name}.copy").replace(name)

    return act


def rescued(path: Path) -> Path:
    (copy,) = path.parent.glob(path.name + RESCUED + "*")
    assert copy.stat().st_mode & 0o077 == 0
    return copy


def state(path: Path, suffix: str) -> tuple[int, int]:
    info = Path(f"{path}{suffix}").stat()
    return info.st_ino, info.st_size


def as_the_hint_says(path: Path, copy: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    copy.rename(path)


@pytest.mark.parametrize("suffixes", [("-wal",), ("-shm",), ("-wal", "-shm")], ids=str)
async def test_without_its_log_nothing_is_written_and_all_is_in_the_database(
    database: Database, suffixes: tuple[str, ...]
) -> None:
    delete(*suffixes)(database.path)
    with pytest.raises(errors.StorageUnavailable, match=f"sluice.db{suffixes[0]} was deleted") as caught:
        await database.write(put, 100)
    assert "All that was accepted is in" in caught.value.hint
    with pytest.raises(errors.StorageUnavailable):
        await database.write(put, 101)
    assert found(database.path) == list(range(20)), "as after a kill"
    assert await database.read(count) == 20, "reads go on"


@pytest.mark.parametrize(
    "attack", [delete(""), delete("", "-wal", "-shm"), replace(""), replace("-wal")], ids=["db", "all", "db'", "wal'"]
)
async def test_what_cannot_stay_in_its_place_is_saved_beside_it(
    database: Database, attack: Callable[[Path], None]
) -> None:
    attack(database.path)
    with pytest.raises(errors.StorageUnavailable, match=r"was (deleted|replaced)"):
        await database.write(put, 100)
    copy = rescued(database.path)
    assert found(copy) == list(range(20))
    await database.close()
    with pytest.raises(errors.StorageUnavailable, match=copy.name):
        open_database(database.path)
    as_the_hint_says(database.path, copy)
    again = open_database(database.path)
    assert await again.read(count) == 20
    await again.close()


async def test_reads_are_refused_when_another_database_is_in_the_place(database: Database) -> None:
    replace("")(database.path)
    with pytest.raises(errors.StorageUnavailable):
        await database.write(put, 100)
    with pytest.raises(errors.StorageUnavailable, match="was replaced"):
        await database.read(count)


async def test_a_database_that_was_moved_away_has_all_of_it(database: Database) -> None:
    database.path.rename(database.path.with_name("moved.db"))
    with pytest.raises(errors.StorageUnavailable) as caught:
        await database.write(put, 100)
    assert "in the file that was moved away" in caught.value.hint
    assert found(database.path.with_name("moved.db")) == list(range(20))


async def test_a_home_that_was_moved_is_told_with_where_it_is_and_not_only_to_be_restarted(database: Database) -> None:
    home = database.path.parent
    home.rename(home.with_name("elsewhere"))
    with pytest.raises(errors.StorageUnavailable) as caught:
        await database.write(put, 100)
    assert f"The home was moved to {home.with_name('elsewhere')}" in caught.value.message
    assert f"Put the directory back as {home}, or start with --home {home.with_name('elsewhere')}" in caught.value.hint
    assert "Restart the engine" not in caught.value.hint
    assert found(home.with_name("elsewhere") / "sluice.db") == list(range(20))


async def test_a_lock_that_anybody_could_take_now_ends_the_writing(database: Database) -> None:
    (database.path.parent / "engine.lock").unlink()
    with pytest.raises(errors.StorageUnavailable, match=r"engine\.lock was deleted"):
        await database.write(put, 100)
    assert await database.read(count) == 20


async def test_it_is_noticed_without_a_write(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LOOK_SECONDS", 0.02)
    await database.write(put, 20)
    delete("-wal")(database.path)
    await waiting.until(lambda: database.loss is not None)
    assert found(database.path) == list(range(21))


@pytest.mark.parametrize("suffix", ["", "-wal"])
async def test_a_commit_that_was_under_way_is_told_as_what_it_is(
    database: Database, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    looks = iter(["", "deleted meanwhile"])
    missing = database._files.missing

    def look() -> str:
        """Between the look before the commit and the one after it, the file goes."""
        said = next(looks, None)
        if said:
            delete(suffix)(database.path)
        return missing() if said is None or said else ""

    monkeypatch.setattr(database._files, "missing", look)
    if suffix:  # it has been brought into the database, where the name leads
        await database.write(put, 100)
        assert found(database.path) == [*range(20), 100]
    else:
        with pytest.raises(errors.CommitUnconfirmed, match="may or may not have been recorded"):
            await database.write(put, 100)
        assert 100 in found(rescued(database.path))
    with pytest.raises(errors.StorageUnavailable):
        await database.write(put, 101)


async def test_a_copy_that_cannot_be_made_is_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.store.replaced_files._copied", full)
    delete("")(database.path)
    with pytest.raises(errors.StorageUnavailable) as caught:
        await database.write(put, 100)
    assert "could not be saved" in caught.value.hint and "No space left" in caught.value.hint


async def test_a_log_of_somebody_else_is_left_alone_at_the_end(database: Database) -> None:
    replace("")(database.path)
    replace("-wal")(database.path)
    with pytest.raises(errors.StorageUnavailable):
        await database.write(put, 100)
    kept = state(database.path, "-wal")
    await database.close()
    assert state(database.path, "-wal") == kept


def test_the_looks_of_a_commit_cost_little(tmp_path: Path) -> None:
    """Two looks a commit: together below a hundredth of the cheapest sync (about 200 us)."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{tmp_path / 'x.db'}{suffix}").touch()
    files = Files(tmp_path / "x.db")
    each = min(timeit.repeat(files.missing, number=200, repeat=20)) / 200
    assert each < 50e-6, f"{each * 1e6:.1f} us"
