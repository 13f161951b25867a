"""What jobs leave free on a file system: how much that is, when it is looked at, and that every way to write obeys."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from core import reserve
from core.dsl.inputs import command
from core.dsl.outputs import file as file_output
from core.fleet import child
from core.guard.file_access import FileAccess
from core.settings import Settings
from core.worker.runtime import Options
from tests.filepolicies import EVERYWHERE

MIB = 1024 * 1024


class Disk:
    """Stands for statvfs(3): a file system of so many bytes."""

    def __init__(self, size: int, free: int) -> None:
        self.size, self.free, self.files, self.files_free, self.looks = size, free, 0, 0, 0

    def __call__(self, place: object) -> SimpleNamespace:
        self.looks += 1
        blocks, free = self.size // 4096, self.free // 4096
        return SimpleNamespace(
            f_frsize=4096, f_blocks=blocks, f_bavail=free, f_files=self.files, f_favail=self.files_free
        )


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk(80 * MIB, 80 * MIB)
    monkeypatch.setattr(reserve.os, "statvfs", made)
    return made


@pytest.fixture
def full(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A disk with nothing left but the reserve, which this process keeps."""
    monkeypatch.setattr(reserve, "OURS", reserve.Reserve(512))
    disk.free = 8 * MIB
    yield disk


def test_it_is_what_the_setting_says_and_never_more_than_a_tenth(disk: Disk, tmp_path: Path) -> None:
    assert reserve.measure(tmp_path, 512).kept == 8 * MIB
    assert reserve.measure(tmp_path, 4).kept == 4 * MIB
    disk.size = disk.free = 100 * 1024 * MIB
    assert reserve.measure(tmp_path, 512).kept == 512 * MIB
    assert reserve.measure(tmp_path, 512).holds(disk.free - 512 * MIB)
    assert not reserve.measure(tmp_path, 512).holds(disk.free - 512 * MIB + 1)
    disk.size = disk.free = 0  # a file system that tells no size
    assert reserve.measure(tmp_path, 512).holds(0)


def test_it_is_reached_by_no_more_than_a_mebibyte(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve.clock, "monotonic", lambda: 1000.0)
    kept, lowest = reserve.Reserve(512), disk.free
    with pytest.raises(reserve.NoRoom, match="jobs leave 8 MiB") as refused:
        while True:
            kept.take(tmp_path, 50_000)
            disk.free -= 50_000
            lowest = disk.free
    assert "disk_reserve_mb" in refused.value.hint
    assert 8 * MIB - reserve.LOOK_BYTES <= lowest < 9 * MIB
    assert disk.looks < 80
    disk.free = 50 * MIB
    kept.take(tmp_path, 50_000)  # there is room again


def test_what_somebody_else_takes_is_seen_in_time(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(reserve.clock, "monotonic", lambda: now[0])
    kept = reserve.Reserve(512)
    kept.take(tmp_path, 1)
    disk.free = 0
    kept.take(tmp_path, 1)
    now[0] += reserve.LOOK_SECONDS
    with pytest.raises(reserve.NoRoom):
        kept.take(tmp_path, 1)
    reserve.Reserve(0).take(tmp_path, 1)


def test_the_last_files_of_a_file_system_are_kept_as_well(disk: Disk, tmp_path: Path) -> None:
    disk.files, disk.files_free = 50_000, 999
    with pytest.raises(reserve.NoRoom, match="too few files"):
        reserve.Reserve(512).take(tmp_path, 1)
    reserve.Reserve(0).check(tmp_path)


def test_no_way_to_write_a_file_goes_into_it(full: Disk, tmp_path: Path) -> None:
    access = FileAccess(EVERYWHERE, "acme")
    (tmp_path / "old").write_text("old\n")
    with access.directory(str(tmp_path)) as directory:
        for attempt in (
            lambda: access.open_append(str(tmp_path / "new")),
            lambda: directory.write("new", b"x"),
            lambda: directory.write_all_synced([("below/new", b"x")]),
            lambda: access.directory(str(tmp_path / "made"), create=True),
        ):
            with pytest.raises(reserve.NoRoom):
                attempt()
        full.free = 8 * MIB + 32 * 1024
        with pytest.raises(reserve.NoRoom), directory.writer("old") as out:
            out.write(b"x" * MIB)
    fd = os.open(tmp_path / "old", os.O_RDWR | os.O_APPEND)
    with contextlib.closing(os.fdopen(fd)), pytest.raises(reserve.NoRoom):
        file_output._append_whole(fd, b"x" * MIB, "old")
    assert (tmp_path / "old").read_text() == "old\n"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.anyio
async def test_a_command_does_not_start_in_it_and_ends_when_it_is_reached(full: Disk, tmp_path: Path) -> None:
    async def run(*words: str) -> command.Running:
        return await command.start(words, None, tmp_path, dict(os.environ), 20.0, "mark", [tmp_path])

    full.free = 0
    with pytest.raises(reserve.NoRoom):
        await run("/bin/true")
    full.free = 50 * MIB
    async with asyncio.timeout(15), await run(sys.executable, "-c", "import time; time.sleep(60)") as running:
        full.free = 0
        assert await running.read() == b""
        with pytest.raises(reserve.NoRoom):
            await running.end()


def test_a_worker_is_told_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[bytes] = []
    monkeypatch.setattr(child, "_popen", lambda sock, fd, settings, options: told.append(options))
    monkeypatch.setattr(child, "Process", lambda *given: None)

    class Socket:
        def fileno(self) -> int:
            return 0

    child.spawn("local-1", Settings(home=tmp_path), Socket())  # type: ignore[arg-type]
    assert Options.from_json(told[0].decode()).disk_reserve_mb == 512
