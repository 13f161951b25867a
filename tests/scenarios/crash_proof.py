"""What has to hold after the kills, asked of the store in SQL: there may be hundreds of thousands of rows."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from core.model import invocation
from core.model.states import INVOCATION, InvocationState

NOTES = {"redelivered", "run_failed", "response_refused"}  # what a history may hold beside states
Told = tuple[str, str, str, int, str, str]
"""What a client was told of a run: (client, trigger, key, row id, nonce, state)."""
LINE = re.compile(r"(\S+) (\S+) (inv_\S+) (\S+) \.")

# The states of each history in their order: (state before or NULL, state, state after or NULL).
MOVES = f"""
CREATE TEMP TABLE moves AS
SELECT id,
       lag(state) OVER (PARTITION BY id ORDER BY at) AS before,
       state,
       lead(state) OVER (PARTITION BY id ORDER BY at) AS after
  FROM (SELECT i.id, e.key AS at, e.value ->> 'type' AS state FROM invocations i, json_each(i.events) e)
 WHERE state IN ({", ".join(f"'{state}'" for state in InvocationState)})
"""


def ledger(paths: Iterable[Path]) -> list[Told]:
    """What the clients were told, each in a file `CLIENT.ledger`."""
    rows = []
    for path in paths:
        for line in path.read_text().splitlines():
            found = LINE.fullmatch(line)
            assert found is not None, f"{path.name}: {line!r}"
            slug, key, text, state = found.groups()
            parsed = invocation.parse_id(text)
            assert parsed is not None, line
            rows.append((path.stem, slug, key, *parsed, state))
    return rows


def check(database: Path, told: list[Told]) -> dict[str, int]:
    """Raises AssertionError for the first thing that does not hold; returns figures to report."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        db.execute("CREATE TEMP TABLE told (username, slug, key, id, nonce, state)")
        db.executemany("INSERT INTO told VALUES (?, ?, ?, ?, ?, ?)", told)
        db.execute("CREATE INDEX temp.told_id ON told (id)")
        db.execute(MOVES)

        def none(what: str, query: str) -> None:
            rows = db.execute(query).fetchmany(10)
            assert not rows, f"{what}: {rows}"

        def one(query: str) -> int:
            return int(db.execute(query).fetchone()[0])

        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        # Nothing is lost: whatever was told or accepted is there, and has ended as it was told.
        none("told and not there", "SELECT * FROM told WHERE id NOT IN (SELECT id FROM invocations)")
        none(
            "accepted and never told",
            "SELECT id, idempotency_key, state FROM invocations WHERE id NOT IN (SELECT id FROM told)",
        )
        none(
            "told otherwise than it is recorded",
            "SELECT i.id, i.idempotency_key, i.state, t.* FROM told t JOIN invocations i USING (id)"
            " WHERE (i.idempotency_key, i.nonce, i.state, i.slug, i.username)"
            " != (t.key, t.nonce, t.state, t.slug, t.username)",
        )
        none("not succeeded", "SELECT id, state, result FROM invocations WHERE state != 'succeeded'")
        # Nothing is doubled: one row, and so one answer, for a key; one end for a row.
        keys = "SELECT username, slug, idempotency_key, count(*) FROM invocations GROUP BY 1, 2, 3 HAVING count(*) > 1"
        none("two rows for one key", keys)
        none(
            "not one end",
            "SELECT id, count(*) FROM moves WHERE state IN ('succeeded', 'failed', 'timed_out', 'canceled')"
            " GROUP BY id HAVING count(*) != 1",
        )
        # Each history is a way through the table of states, to the state that the row has.
        for before, state in db.execute("SELECT DISTINCT before, state FROM moves"):
            if before is None:
                assert state == INVOCATION.initial, f"a history begins with {state}"
            else:
                assert INVOCATION.allows(InvocationState(before), InvocationState(state)), f"{before} -> {state}"
        none(
            "another state than the last of the history",
            "SELECT i.id, i.state, m.state FROM invocations i LEFT JOIN moves m ON m.id = i.id AND m.after IS NULL"
            " WHERE m.state IS NOT i.state",
        )
        types = dict(
            db.execute("SELECT e.value ->> 'type', count(*) FROM invocations i, json_each(i.events) e GROUP BY 1")
        )
        assert set(types) <= {*InvocationState, *NOTES}, f"unknown in a history: {types}"
        # Each write has its row in the audit log, and each row its write.
        rows = one("SELECT count(*) FROM invocations")
        noted = "SELECT username, count(*) FROM audit WHERE operation = 'trigger_invoke' AND decision = 'allowed'"
        written = "SELECT username, count(*) FROM invocations"
        by_user = [sorted(db.execute(f"{query} GROUP BY 1")) for query in (noted, written)]
        assert by_user[0] == by_user[1], f"audit rows and writes: {by_user}"
        assert one("SELECT count(*) FROM idempotency") == rows
        none(
            "a key of another run",
            "SELECT * FROM idempotency WHERE invocation_id NOT IN (SELECT id FROM invocations)",
        )
        none("owed for no run", "SELECT * FROM dispatches WHERE invocation_id NOT IN (SELECT id FROM invocations)")
        return {
            "invocations": rows,
            "on external workers": one("SELECT count(*) FROM invocations WHERE slug = 'edge_smoke'"),
            "more than one attempt": one("SELECT count(*) FROM invocations WHERE attempts > 1"),
            "owed still": one("SELECT count(*) FROM dispatches"),  # the last word of a worker was cut off
            **{note: types.get(note, 0) for note in sorted(NOTES)},
        }
