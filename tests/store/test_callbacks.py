"""The store of an older Sluice gets callbacks and stays readable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlite_utils

from core.model import invocation
from core.store import callbacks, invocations, migrations


@pytest.fixture
def older(tmp_path: Path) -> Iterator[sqlite_utils.Database]:
    """A database as it was before callbacks, with runs in it."""
    db = sqlite_utils.Database(tmp_path / "sluice.db")
    migrations.STEPS.apply(db, stop_before="m0010_callbacks")
    for n, (state, finished) in enumerate([("succeeded", 5), ("failed", 5), ("dispatched", None)], 1):
        row = (n, "n" * 12, "tenant-a", "s", 1, state, "http", "u", "admin", "{}", None, n, 9, finished, None, 1, "{}")
        db.conn.execute(f"INSERT INTO invocations VALUES ({', '.join('?' * 18)})", (*row, "[]"))
    db.conn.commit()
    yield db
    db.close()


def test_runs_of_before_are_found_by_every_filter_and_have_no_callback(older: sqlite_utils.Database) -> None:
    migrations.migrate(older)
    for filters, expected in (
        ({}, [3, 2, 1]),
        ({"state": "failed"}, [2]),
        ({"state": "timed_out"}, []),
        ({"state": "dispatched"}, [3]),
        ({"slug": "s", "state": "succeeded"}, [1]),
    ):
        rows, total = invocations.search(older, "tenant-a", equal=filters, before=None, limit=10)
        assert ([run.id for run in rows], total) == (expected, len(expected))
    (run,) = invocations.open_ones(older)
    record = invocation.record(run)
    assert (record["callback"], record["rerun_of"], run.proxy_nonce) == (None, None, None)
    assert callbacks.resume(older, 2**62) == []


def test_pages_use_the_index_and_sort_nothing(older: sqlite_utils.Database) -> None:
    migrations.migrate(older)
    plans: list[str] = []
    older.conn.set_trace_callback(plans.append)
    for filters in ({}, {"slug": "s"}, {"state": "failed"}, {"state": "dispatched"}, {"username": "u"}):
        invocations.search(older, "tenant-a", equal=filters, before=7, limit=10, since_ns=1)
    older.conn.set_trace_callback(None)
    queries = [text for text in plans if text.startswith("SELECT id, nonce")]
    assert len(queries) == 5
    for query in queries:
        plan = " ".join(str(row[3]) for row in older.conn.execute(f"EXPLAIN QUERY PLAN {query}"))
        assert "USING INDEX invocations_" in plan
        assert "TEMP B-TREE" not in plan
