"""The file of the dead letters: what is put is there, bounds hold, and an answer always comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from core import clock, errors
from core.model.letter import Letter, Status
from core.store import letter_rows, letterbox
from core.store.letter_rows import Wanted
from core.store.letterbox import Bounds, Letterbox, Put

pytestmark = pytest.mark.anyio
OWNER = ("acme", "job")
WIDE = Bounds(100_000, 64, 512, 336, 0)


@asynccontextmanager
async def opened(path: Path, bounds: Bounds = WIDE) -> AsyncIterator[Letterbox]:
    box = Letterbox(path, bounds)
    box.open()
    try:
        yield box
    finally:
        await box.close()


def letter(box: Letterbox, owner: tuple[str, str] = OWNER, **given: Any) -> Letter:
    values: dict[str, Any] = {
        **{"deployment": "", "workload": "job#0", "worker": "w", "at_ns": 1, "version": "1", "run": "r"},
        **{"invocation": "", "step": "/output/file", "component": "file", "code": "no-field", "reason": "why"},
        **{"event": "{}", "truncated": False, "redacted": False, "message": None, "subject": ""},
        **{"status": Status.WAITING, "attempts": 1, "tried_at_ns": 1},
    }
    return Letter(id=box.new_id(), tenant=owner[0], job=owner[1], **(values | given))


async def test_what_was_put_is_there_after_the_file_was_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "letters.db"
    async with opened(path) as box:
        assert await box.put(OWNER, [letter(box, event='{"n": 1}'), letter(box)]) == Put(2, 0, False)
        assert path.stat().st_mode & 0o777 == 0o600
    async with opened(path) as box:
        assert box.box(*OWNER).waiting == 2
        found = await box.read(letter_rows.whole, Wanted("acme"), 0, 10)
        assert [one.event for one in found] == ['{"n": 1}', "{}"]
        assert box.new_id() > found[-1].id


async def test_a_job_with_as_many_as_it_may_have_gets_no_more_and_others_do(tmp_path: Path) -> None:
    other = ("acme", "other")
    async with opened(tmp_path / "letters.db", Bounds(3, 64, 512, 336, 0)) as box:
        assert await box.put(OWNER, [letter(box) for _ in range(5)]) == Put(3, 2, True)
        assert await box.put(OWNER, [letter(box)], dropped=7) == Put(0, 1, True)
        assert await box.put(other, [letter(box, other)]) == Put(1, 0, False)
        found = box.box(*OWNER)
        assert (found.waiting, found.dropped, found.dropped_at_ns > 0) == (3, 10, True)
        assert box.is_full(*OWNER)
        assert not box.is_full(*other)


@pytest.mark.parametrize("bounds", [Bounds(100_000, 1, 512, 336, 0), Bounds(100_000, 64, 1, 336, 0)])
async def test_the_size_of_a_job_and_of_a_tenant_is_bounded(tmp_path: Path, bounds: Bounds) -> None:
    async with opened(tmp_path / "letters.db", bounds) as box:
        event = '"' + "x" * 250_000 + '"'
        kept, dropped, full = await box.put(OWNER, [letter(box, event=event) for _ in range(6)])
        assert (kept, dropped, full) == (4, 2, True)


async def test_letters_that_were_replayed_make_room(tmp_path: Path) -> None:
    async with opened(tmp_path / "letters.db", Bounds(2, 64, 512, 336, 0)) as box:
        first, second = letter(box), letter(box)
        await box.put(OWNER, [first, second])

        def replay(db: letter_rows.Connection, _: set[tuple[str, str]]) -> None:
            (id,), _ = letter_rows.begin_replay(db, Wanted("acme", ids=(first.id,)), "", 10)
            letter_rows.accepted(db, id, 5)

        await box.change(replay, OWNER)
        assert (box.box(*OWNER).waiting, box.box(*OWNER).replayed) == (1, 1)
        assert await box.put(OWNER, [letter(box)]) == Put(1, 0, False)
        assert await box.put(OWNER, [letter(box)]) == Put(0, 1, True)
        left = await box.read(letter_rows.oldest, Wanted("acme"), 10)
        assert first.id not in [one.id for one in left]


async def test_what_is_told_again_is_the_same_letter_with_one_attempt_more(tmp_path: Path) -> None:
    async with opened(tmp_path / "letters.db") as box:
        for attempt in (1, 2, 3):
            told = letter(box, subject="a file", reason=f"try {attempt}", tried_at_ns=attempt)
            assert await box.put(OWNER, [told]) == Put(1, 0, False)
        (only,) = await box.read(letter_rows.whole, Wanted("acme"), 0, 10)
        assert (only.attempts, only.reason, only.tried_at_ns) == (3, "try 3", 3)


async def test_what_is_too_old_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "letters.db"
    async with opened(path) as box:
        await box.put(OWNER, [letter(box) for _ in range(1200)])
    later = clock.now_ns() + 2 * 3600 * clock.NANOSECONDS
    monkeypatch.setattr(letterbox.clock, "now_ns", lambda: later)
    async with opened(path, Bounds(100_000, 64, 512, 1, 0)) as box:
        assert box.box(*OWNER).waiting == 1200
        await box.put(("acme", "other"), [letter(box, ("acme", "other"))])  # upkeep comes behind a commit
    async with opened(path) as box:
        assert box.box(*OWNER).waiting == 0


async def test_a_file_that_cannot_be_opened_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "letters.db"
    path.write_text("no database" * 100)
    async with opened(path) as box:
        assert await box.put(OWNER, [letter(box)], dropped=2) == Put(0, 1, True)
        assert box.lost == 3
        with pytest.raises(errors.StorageUnavailable):
            await box.read(letter_rows.count, Wanted("acme"))


async def test_letters_that_a_full_disk_does_not_take_are_counted_and_changes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "letters.db"
    async with opened(path) as box:
        await box.put(OWNER, [letter(box)])
        pages = (path.stat().st_size + (path.parent / "letters.db-wal").stat().st_size) // 8192 + 1
        box._connections[0].execute(f"PRAGMA max_page_count = {pages}")
        big = letter(box, event='"' + "x" * 200_000 + '"')
        assert await box.put(OWNER, [big, big]) == Put(0, 2, True)
        assert box.lost == 2
        assert box.box(*OWNER).waiting == 1


async def test_discarding_makes_room_and_ends_the_count_of_what_was_dropped(tmp_path: Path) -> None:
    async with opened(tmp_path / "letters.db", Bounds(1, 64, 512, 336, 0)) as box:
        first = letter(box)
        await box.put(OWNER, [first, letter(box)])

        def go(db: letter_rows.Connection, touched: set[tuple[str, str]]) -> None:
            touched |= {*letter_rows.remove(db, [first.id])}
            letter_rows.forget_dropped(db, *OWNER)

        await box.change(go)
        assert box.box(*OWNER) == letter_rows.Box()
        assert await box.put(OWNER, [letter(box)]) == Put(1, 0, False)


async def test_what_was_skipped_and_then_read_is_settled_and_a_letter_of_its_own_when_it_is_skipped_again(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path / "letters.db", Bounds(1, 64, 512, 336, 0)) as box:

        def told(status: Status, subject: str = "a") -> Letter:
            return letter(box, code="skipped", step="/input/files", subject=subject, status=status)

        await box.put(OWNER, [told(Status.WAITING)])
        assert await box.put(OWNER, [told(Status.REPLAYED)]) == Put(1, 0, False), "it takes no room"
        found = box.box(*OWNER)
        assert (found.waiting, found.replayed) == (0, 1)
        await box.put(OWNER, [told(Status.REPLAYED), told(Status.REPLAYED, "never skipped")])
        assert (box.box(*OWNER).waiting, box.box(*OWNER).replayed) == (0, 1)
        await box.put(OWNER, [told(Status.WAITING), told(Status.REPLAYED)])
        assert box.box(*OWNER).waiting == 0, "in one call"
        await box.put(OWNER, [told(Status.WAITING)])
        await box.put(OWNER, [told(Status.WAITING)])
        (again,) = await box.read(letter_rows.page, Wanted("acme", status="waiting"), 0, 10)
        assert again.attempts == 2, "of the new one"
