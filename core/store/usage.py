"""How much of the database the invocations of each user take: counted in memory, written down now and then.

The engine adds what it records and takes off what it prunes; the table is what it had counted up to `last_id`, so that
a start looks at the records since then alone. Results that came in the last seconds before a crash are not counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlite_utils import Database

ROW_BYTES = 1024  # what a record takes besides its parameters and its result: indexes, audit entry, events
RECORD_BYTES = (
    f"{ROW_BYTES} + length(CAST(params AS BLOB)) + coalesce(length(CAST(result AS BLOB)), 0)"  # of a row, as SQL
)
COUNT = f"SELECT tenant, username, count(*), sum({RECORD_BYTES}) FROM invocations"


class Kept(NamedTuple):
    """What the records of one user in one tenant take; negative for what went."""

    tenant: str
    username: str
    records: int
    bytes: int


def load(db: Database) -> list[Kept]:
    """What is kept now: as it was written down, and the records since."""
    since = f"{COUNT} WHERE id > (SELECT last_id FROM usage_counted) GROUP BY tenant, username"
    rows = db.execute(f"SELECT tenant, username, records, bytes FROM usage UNION ALL {since}")
    return [Kept(*row) for row in rows]


def write_down(db: Database, kept: Iterable[Kept], last_id: int) -> None:
    """Keep what was counted of these users, with every record up to `last_id`."""
    db.conn.executemany("INSERT OR REPLACE INTO usage VALUES (?, ?, ?, ?)", kept)
    db.conn.execute("UPDATE usage_counted SET last_id = ?", (last_id,))


def counted(db: Database, ids: str, values: tuple[object, ...]) -> list[Kept]:
    """What the records with these ids (a SELECT) take, by user."""
    return [Kept(*row) for row in db.execute(f"{COUNT} WHERE id IN ({ids}) GROUP BY tenant, username", values)]
