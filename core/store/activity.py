"""What MCP sessions that forward their activity have called: metadata, as many records as are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlite_utils import Database

KEPT = 20_000


def insert(db: Database, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add rows (values in column order) and forget the oldest beyond KEPT."""
    db.conn.executemany("INSERT INTO mcp_activity VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    db.conn.execute(
        "DELETE FROM mcp_activity WHERE id <= (SELECT id FROM mcp_activity ORDER BY id DESC LIMIT 1 OFFSET ?)", (KEPT,)
    )


def search(
    db: Database, tenant: str, equal: dict[str, str], before: int | None, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """The newest rows of a tenant that have these values, and how many there are of them; `equal` names columns."""
    where = ["tenant = :tenant", *(f"{column} = :{column}" for column in equal)]
    values: dict[str, Any] = {"tenant": tenant, **equal}
    table = db.table("mcp_activity")
    total = table.count_where(" AND ".join(where), values)
    if before is not None:
        where.append("id < :before")
        values["before"] = before
    rows = table.rows_where(" AND ".join(where), values, order_by="id desc", limit=limit)
    return list(rows), total
