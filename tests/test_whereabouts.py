"""Where a home is: what is taken for a copy and what is not, and what an engine does about it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors, ownership, whereabouts
from core.engine import Engine
from core.store import home as table
from core.whereabouts import Place, judge
from tests.engines import engine_on

pytestmark = pytest.mark.anyio

BEFORE = Place("m1", "/srv/home", "12-1000")
ANOTHER_FILE, ANOTHER_PATH, ANOTHER_MACHINE = {"file": "13-2000"}, {"path": "/data/home"}, {"machine": "m2"}
CONTAINER = {"machine": ""}


@pytest.mark.parametrize(
    ("now", "there", "reason"),
    [
        ({}, False, ""),  # as ever
        (ANOTHER_PATH, False, ""),  # renamed or moved
        (ANOTHER_PATH | ANOTHER_FILE, False, ""),  # moved to another disk: nothing is left in the old place
        (ANOTHER_FILE, False, ""),  # restored in its place
        (ANOTHER_PATH | ANOTHER_FILE, True, "which is still there"),  # cp -a
        (ANOTHER_PATH, True, "which is still there"),  # the original was moved away, and a copy is in its place
        (ANOTHER_MACHINE | ANOTHER_FILE, False, "on another machine"),  # rsync
        (ANOTHER_MACHINE, False, "on another machine"),  # a clone of the disk
        (CONTAINER, False, ""),  # into a container, with the same volume
        (CONTAINER | ANOTHER_PATH, False, ""),
        (CONTAINER | ANOTHER_FILE, False, "as another file, and nothing tells whether that one is still in use"),
        (CONTAINER | {"file": ""}, False, ""),
        (CONTAINER | {"file": ""} | ANOTHER_PATH, False, "and nothing tells whether that one is still in use"),
    ],
)
def test_a_copy_is_told_from_a_move_a_restore_and_a_new_container(
    now: dict[str, str], there: bool, reason: str
) -> None:
    assert judge(BEFORE, BEFORE._replace(**now), there) == reason


def test_a_container_that_is_made_anew_is_no_other_machine() -> None:
    inside = BEFORE._replace(machine="")
    assert judge(inside, inside, False) == "" == judge(inside, BEFORE, False)
    assert judge(inside, inside._replace(**ANOTHER_FILE), False) != ""


@pytest.mark.parametrize("variable", ["container", "KUBERNETES_SERVICE_HOST"])
def test_in_a_container_no_id_of_a_machine_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    id = tmp_path / "machine-id"
    id.write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr(whereabouts, "_MACHINE_IDS", (str(tmp_path / "none"), str(id)))
    monkeypatch.setattr(whereabouts, "_CONTAINERS", ())
    for name in ("container", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    found = whereabouts._machine()
    assert len(found) == 32 and found != id.read_text().strip(), "a digest, never the id itself"
    monkeypatch.setenv(variable, "x")
    assert whereabouts._machine() == ""
    monkeypatch.delenv(variable)
    id.write_text("uninitialized\n")
    assert whereabouts._machine() == ""


def test_a_file_keeps_its_mark_when_it_is_moved_and_written_and_no_copy_has_it(tmp_path: Path) -> None:
    original, moved, copy = (tmp_path / name for name in ("original", "moved", "copy"))
    original.write_text("x")
    mark = whereabouts.here(tmp_path, original).file
    subprocess.run(["cp", "-a", original, copy], check=True)
    original.rename(moved)
    moved.write_text("more")
    assert whereabouts.here(tmp_path, moved).file == mark != whereabouts.here(tmp_path, copy).file
    shutil.copy2(copy, original)
    moved.unlink()
    assert whereabouts.here(tmp_path, original).file != mark, "a number that is used again has another birth"


# ---- an engine on it


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The machine that this is, as a list of its one id."""
    this = ["m1"]
    monkeypatch.setattr(whereabouts, "_machine", lambda: this[0])
    yield this


async def used(home: Path, **settings: Any) -> str:
    """Run an engine on a home; its id."""
    with anyio.fail_after(30):
        async with engine_on(home, workers=0, **settings) as engine:
            known = await engine.database.read(table.known)
    assert known is not None and known.place.path == str(home) and ownership.home_id(home) == known.id
    return known.id


def refused() -> Any:
    return pytest.raises(errors.HomeCopied, match=r"was copied from .*, ")


async def test_who_moves_a_home_is_not_asked(tmp_path: Path, machine: list[str]) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    id = await used(first)
    first.rename(second)
    assert await used(second) == id
    shutil.copytree(second, third)
    shutil.rmtree(second)
    assert await used(third) == id, "to another disk"
    machine[0] = ""
    assert await used(third) == id, "into a container"
    assert await used(third) == id, "and another one on the same volume"


async def test_a_copy_beside_its_original_asks_and_is_another_home_from_then_on(
    tmp_path: Path, machine: list[str]
) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    id = await used(original)
    shutil.copytree(original, copy)
    with refused() as caught:
        await used(copy)
    assert f"{original}, which is still there" in caught.value.message and "--adopt" in caught.value.hint
    adopted = await used(copy, adopt=True)
    assert adopted != id
    assert await used(copy) == adopted and await used(original) == id, "both run, without a question"


async def test_it_is_told_what_both_would_do(tmp_path: Path, machine: list[str]) -> None:
    home = tmp_path / "home"
    async with engine_on(home, workers=0) as engine:
        await _owed(engine)
    machine[0] = "m2"
    with refused() as caught:
        await used(home)
    assert "on another machine" in caught.value.message
    assert "its 0 deployments" in caught.value.message and "its 2 pending callbacks" in caught.value.message


async def _owed(engine: Engine) -> None:
    row = (1, "t", "http://x", "succeeded", "pending", 0, 0, None, "[]", b"")
    for id in (1, 2):
        await engine.database.write(
            lambda db, id=id: db.execute(f"INSERT INTO callback_deliveries VALUES ({id}, {', '.join('?' * 10)})", row)
        )


async def test_an_original_that_was_moved_away_from_its_copy_asks(tmp_path: Path, machine: list[str]) -> None:
    place, aside = tmp_path / "place", tmp_path / "aside"
    await used(place)
    place.rename(aside)
    shutil.copytree(aside, place)
    await used(place)  # a restore, as far as anybody can see
    with refused():
        await used(aside)


async def test_a_home_whose_database_is_gone_does_not_begin_anew_unasked(tmp_path: Path) -> None:
    home = tmp_path / "home"
    await used(home)
    for name in ("sluice.db", "sluice.db-wal", "sluice.db-shm"):
        (home / name).unlink(missing_ok=True)
    with pytest.raises(errors.StorageUnavailable, match=r"its database sluice\.db is gone") as caught:
        await used(home)
    assert f"rm {home}/engine.lock" in caught.value.hint
    (home / "engine.lock").unlink()
    await used(home)
