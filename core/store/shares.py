"""How many records of each tenant are kept of a table that all tenants fill: whoever has most makes room first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlite_utils import Database


def share(counts: Iterable[int], keep: int) -> int:
    """The most that one tenant may have so that all together have at most `keep`; who has less keeps all of it.

    >>> share([1000, 7, 3], 500)
    490
    """
    left, sizes = keep, sorted(counts)
    for number, size in enumerate(sizes):
        fair = left // (len(sizes) - number)
        if size > fair:
            return fair
        left -= size
    return keep


def floors(db: Database, table: str, keep: int, which: str = "1") -> Mapping[str, int]:
    """Of each tenant that has more rows than its share, the id of the youngest one that is too many; of all rows, or of
    those that a condition of SQL leaves."""
    counts = dict(db.conn.execute(f"SELECT tenant, count(*) FROM {table} WHERE {which} GROUP BY tenant").fetchall())
    if sum(counts.values()) <= keep:
        return {}
    most = share(counts.values(), keep)
    found = {}
    for tenant in [tenant for tenant, count in counts.items() if count > most]:
        row = db.conn.execute(
            f"SELECT id FROM {table} WHERE tenant = ? AND {which} ORDER BY id DESC LIMIT 1 OFFSET ?", (tenant, most)
        ).fetchone()
        found[tenant] = int(row[0])
    return found
