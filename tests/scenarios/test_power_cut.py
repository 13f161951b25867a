"""The power is cut at any moment: what a caller was told is there afterwards, and the database is whole.

A real engine runs with its writes and syncs recorded (power/recorder.c); the disk is then rebuilt as it may be at many
moments (power/replay.py), and the real code opens it.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from engines import EXAMPLES
from sqlite_utils import Database as Table

from core import errors
from core.model import invocation
from core.store.database import open_database

from .power import replay

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("cc") is None, reason="the recorder is built with a C compiler"),
]
HERE = Path(__file__).parent / "power"
FILES = ("sluice.db", "sluice.db-wal", "sluice.db-journal")  # the last one while the database is made


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> list[replay.Event]:
    """What an engine wrote and synced from the making of its home to its end."""
    folder = tmp_path_factory.mktemp("power")
    library = folder / "recorder.so"
    build = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "recorder.c"), "-ldl", "-lpthread"]
    subprocess.run(build, check=True)
    home = folder / "home"
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "POWER_ROOT": str(home),
        "POWER_LOG": str(folder / "log"),
    }
    command = [sys.executable, str(HERE / "client.py"), str(home), str(EXAMPLES), "300", "8"]
    subprocess.run(command, check=True, env=environment, timeout=120)
    events = replay.read(folder / "log")
    assert sum(event.kind == "S" and event.name == "sluice.db-wal" for event in events) > 100
    return events


def answers(events: Iterable[replay.Event]) -> list[list[str]]:
    """What callers had been told: the answers count when they were written, synced or not."""
    told = b"".join(event.data for event in events if event.kind == "W" and event.name == "answers")
    return [line.split() for line in told.decode().splitlines()]


async def missing(folder: Path, files: dict[str, bytes], told: list[list[str]]) -> list[str]:
    """What is not on the rebuilt disk although a caller was told of it; one entry when the database is not whole."""
    _write(folder, files)
    try:
        fault, runs, variables = await _look(folder / FILES[0])
    except errors.StorageUnavailable as error:
        return [f"cannot be read: {error.message}"]
    finally:
        shutil.rmtree(folder)
    if fault != "ok":
        return [f"not whole: {fault}"]
    lost = []
    latest: dict[str, int] = {}
    for what, name, value in told:
        if what == "run":
            if runs.get(name) != value:
                lost.append(f"{name} was told as {value}, is {runs.get(name)}")
        else:
            latest[name] = int(value)
    for name, value in latest.items():  # each counts down; a later one, of which nobody was told, may be there
        if name not in variables or int(variables[name]) > value:
            lost.append(f"{name} was told as {value}, is {variables.get(name)}")
    return lost


async def _look(path: Path) -> tuple[str, dict[str, str], dict[str, str]]:
    database = open_database(path)
    try:
        fault = await database.read(lambda db: db.execute("PRAGMA integrity_check").fetchone()[0])
        return fault, dict(await database.read(_runs)), dict(await database.read(_variables))
    finally:
        await database.close()


def _write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir()
    for name in FILES:
        if name in files:
            (folder / name).write_bytes(files[name])


def _runs(db: Table) -> list[tuple[str, str]]:
    rows = db.execute("SELECT id, nonce, state FROM invocations")
    return [(invocation.text_id(id, nonce), state) for id, nonce, state in rows]


def _variables(db: Table) -> list[tuple[str, str]]:
    return list(db.execute("SELECT name, value FROM variables"))


async def _cut(
    recording: list[replay.Event],
    folder: Path,
    count: int,
    seed: int,
    first: int = 0,
    unsynced: frozenset[str] = frozenset(),
) -> tuple[int, list[str]]:
    """How many of `count` cuts, from the event `first` on, lost something, and what."""
    at = sorted(random.Random(seed).sample(range(first, len(recording) + 1), min(count, len(recording) - first)))
    bad, lost = 0, []
    for cut, files in replay.cuts(recording, at, seed, unsynced):
        found = await missing(folder / f"{cut}", files, answers(recording[:cut]))
        bad += bool(found)
        lost += [f"cut at {cut}: {one}" for one in found]
    return bad, lost


async def test_nothing_that_was_told_is_lost_when_the_power_is_cut(
    recording: list[replay.Event], tmp_path: Path
) -> None:
    assert await _cut(recording, tmp_path, 200, seed=1) == (0, [])


async def test_without_the_syncs_of_the_log_the_same_cuts_do_lose(
    recording: list[replay.Event], tmp_path: Path
) -> None:
    """The control: this test would notice a store that does not sync."""
    first = next(at for at, event in enumerate(recording, 1) if event.name == "answers")
    bad, _ = await _cut(recording, tmp_path, 40, seed=1, first=first, unsynced=frozenset({"sluice.db-wal"}))
    assert bad > 20


@pytest.mark.soak
async def test_nothing_is_lost_in_five_thousand_cuts(recording: list[replay.Event], tmp_path: Path) -> None:
    for seed in range(2, 12):
        assert await _cut(recording, tmp_path, 500, seed) == (0, [])
