"""Drafts of jobs: whoever saw an older state does not overwrite a newer one; an older database gets the table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core import errors
from core.model.principal import Caller, Principal, Role
from core.store import audit, job_drafts, jobs
from core.store.database import Database, open_database

pytestmark = pytest.mark.anyio
CALLER = Caller(Principal("alice", Role.ADMIN), "t")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(tmp_path / "sluice.db")
    yield opened
    await opened.close()


def draft(text: str, by: str = "alice") -> dict[str, Any]:
    return {"tenant": "t", "name": "j", "document": text, "origin": "", "updated_at_ns": 1, "updated_by": by}


def note(number: int) -> tuple[Any, ...]:
    return audit.row(number, CALLER, "job_put", "t/j")


def version(text: str) -> dict[str, Any]:
    return {
        "tenant": "t",
        "name": "j",
        "document": text,
        "source": "",
        "digest": text,
        "created_at_ns": 1,
        "created_by": "alice",
    }


async def test_only_an_edit_of_the_present_revision_is_saved(database: Database) -> None:
    assert await database.write(job_drafts.save, draft("a"), 0, note(1)) == (1, True)
    assert await database.write(job_drafts.save, draft("b", "bob"), 1, note(2)) == (2, True)
    with pytest.raises(errors.AlreadyExists, match=r"at revision 2 .*by bob.*started from revision 1") as caught:
        await database.write(job_drafts.save, draft("c"), 1, note(3))
    assert caught.value.details == {"revision": 2, "updated_by": "bob", "document": "b"}
    with pytest.raises(errors.AlreadyExists, match="did not start from it"):
        await database.write(job_drafts.save, draft("c"), 0, note(4))
    found = await database.read(job_drafts.get, "t", "j")
    assert found is not None
    assert found["document"] == "b"


async def test_the_same_text_again_changes_nothing_whatever_it_was_based_on(database: Database) -> None:
    await database.write(job_drafts.save, draft("a"), 0, note(1))
    assert await database.write(job_drafts.save, draft("a"), 0, note(2)) == (1, False)
    assert await database.write(job_drafts.save, draft("a"), 7, note(3)) == (1, False)


async def test_a_revision_is_never_given_twice_even_when_the_draft_was_staged_in_between(database: Database) -> None:
    await database.write(job_drafts.save, draft("a"), 0, note(1))
    assert await database.write(job_drafts.stage, version("a"), 1, note(2), 5, "bob") == (1, True)
    assert await database.read(job_drafts.get, "t", "j") is None
    with pytest.raises(errors.AlreadyExists, match="staged or discarded by bob"):
        await database.write(job_drafts.save, draft("b"), 1, note(3))
    assert await database.write(job_drafts.save, draft("b"), 0, note(4)) == (2, True)


async def test_a_draft_that_moved_is_not_staged_and_nothing_is_left_half_done(database: Database) -> None:
    await database.write(job_drafts.save, draft("a"), 0, note(1))
    await database.write(job_drafts.save, draft("b"), 1, note(2))
    with pytest.raises(errors.AlreadyExists, match="revision 2"):
        await database.write(job_drafts.stage, version("a"), 1, note(3), 5, "alice")
    assert await database.read(jobs.newest, "t", "j") is None


async def test_deleting_takes_versions_and_draft_and_tells_what_went(database: Database) -> None:
    await database.write(jobs.put, version("a"), note(1))
    await database.write(job_drafts.save, draft("b"), 0, note(2))
    assert await database.write(job_drafts.delete_job, "t", "j", note(3), 5, "alice") == (1, True)
    assert await database.write(job_drafts.delete_job, "t", "j", note(4), 5, "alice") == (0, False)
    assert await database.write(job_drafts.discard, "t", "j", note(5), 5, "alice") is False


async def test_a_database_from_before_drafts_gets_the_table_and_keeps_its_jobs(tmp_path: Path) -> None:
    path = tmp_path / "sluice.db"
    first = open_database(path)
    await first.write(jobs.put, version("a"), note(1))
    await first.write(lambda db: db.execute("DROP TABLE job_drafts"))
    await first.write(lambda db: db.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0004_job_drafts'"))
    await first.close()
    second = open_database(path)
    try:
        assert await second.write(job_drafts.save, draft("b"), 0, note(2)) == (1, True)
        assert (await second.read(jobs.newest, "t", "j"))["document"] == "a"
    finally:
        await second.close()
