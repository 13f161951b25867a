"""Documents in the store: one draft, versions that never change, and an older database that gets the table."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core import errors
from core.model.principal import Caller, Principal, Role
from core.store import audit, workflows
from core.store.database import Database, open_database

pytestmark = pytest.mark.anyio
CALLER = Caller(Principal("alice", Role.ADMIN), "t")
KEY = ("t", "workflow", "w")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(tmp_path / "sluice.db")
    yield opened
    await opened.close()


def draft(text: str, slug: str = "w", tenant: str = "t") -> dict[str, Any]:
    return {
        "tenant": tenant,
        "kind": "workflow",
        "slug": slug,
        "title": "",
        "text": text,
        "derived_from": "",
        "updated_at_ns": 1,
        "updated_by": "alice",
    }


def version(number: str, digest: str) -> dict[str, Any]:
    return {
        "version": number,
        "document": f'"{digest}"',
        "digest": digest,
        "title": "",
        "published_at_ns": int(number) + 1,
        "updated_by": "alice",
    }


def note(number: int) -> tuple[Any, ...]:
    return audit.row(number, CALLER, "workflow_publish", "t/workflow:w")


async def test_a_draft_becomes_a_version_and_leaves_room_for_the_next_draft(database: Database) -> None:
    assert await database.write(workflows.save, draft("a"), 0, note(1)) == (1, True)
    assert await database.write(workflows.publish, KEY, 1, version("1", "a"), note(2)) == ("1", True)
    assert await database.read(workflows.draft, KEY) is None
    assert await database.write(workflows.save, draft("b"), 0, note(3)) == (2, True)
    assert await database.write(workflows.publish, KEY, 2, version("2", "b"), note(4)) == ("2", True)
    rows = await database.read(workflows.versions, KEY)
    assert [(row["version"], row["state"], row["revision"]) for row in rows] == [
        ("1", "published", 1),
        ("2", "published", 2),
    ]
    stored = await database.read(workflows.version, KEY, "1")
    assert stored is not None
    assert (stored["text"], stored["document"]) == ("a", '"a"')


async def test_a_publish_that_is_refused_changes_nothing(database: Database) -> None:
    await database.write(workflows.save, draft("a"), 0, note(1))
    await database.write(workflows.publish, KEY, 1, version("1", "a"), note(2))
    await database.write(workflows.save, draft("b"), 0, note(3))
    for revision, row in ((1, version("2", "b")), (2, version("1", "b"))):
        with pytest.raises(errors.AlreadyExists):
            await database.write(workflows.publish, KEY, revision, row, note(4))
    found = await database.read(workflows.draft, KEY)
    assert found is not None
    assert (found["text"], found["revision"]) == ("b", 2)
    assert len(await database.read(audit.recent, "t")) == 3


async def test_a_retired_version_stays_and_a_version_is_retired_once(database: Database) -> None:
    await database.write(workflows.save, draft("a"), 0, note(1))
    await database.write(workflows.publish, KEY, 1, version("1", "a"), note(2))
    assert await database.write(workflows.retire, KEY, "1", note(3), 9, "bob")
    assert not await database.write(workflows.retire, KEY, "1", note(4), 9, "bob")
    (row,) = await database.read(workflows.published, "t")
    assert (row["state"], row["updated_by"], row["document"]) == ("retired", "bob", '"a"')


async def test_a_revision_is_never_given_twice(database: Database) -> None:
    assert await database.write(workflows.save, draft("a"), 0, note(1)) == (1, True)
    assert await database.write(workflows.discard, KEY, note(2), 5, "bob")
    assert not await database.write(workflows.discard, KEY, note(3), 5, "bob")
    assert await database.read(workflows.listing, "t") == []
    assert await database.write(workflows.save, draft("b"), 0, note(4)) == (2, True)


async def test_a_tenant_has_its_own_documents(database: Database) -> None:
    await database.write(workflows.save, draft("a"), 0, note(1))
    assert await database.write(workflows.save, draft("b", tenant="u"), 0, note(2)) == (1, True)
    (row,) = await database.read(workflows.listing, "u")
    assert row["slug"] == "w"
    assert await database.read(workflows.published, "u") == []


async def test_an_older_database_gets_the_table(tmp_path: Path) -> None:
    path = tmp_path / "sluice.db"
    await open_database(path).close()
    with sqlite3.connect(path) as older:  # as it was before the step
        older.execute("DROP TABLE documents")
        older.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0005_workflows'")
    older.close()
    opened = open_database(path)
    assert await opened.write(workflows.save, draft("a"), 0, note(1)) == (1, True)
    await opened.close()
