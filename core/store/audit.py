"""Audit rows: who did what, through which door, and what was decided. Written in the transaction of the write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlite_utils import Database

from core.model.principal import Caller
from core.store import shares
from core.store.rows import insertion


class AuditRow(NamedTuple):
    """One entry; its id is the time in nanoseconds since the epoch, or a little later."""

    id: int
    tenant: str
    username: str
    role: str
    surface: str
    operation: str
    decision: str
    target: str
    label: str
    reason: str = ""  # in the words of who did it


_INSERT = insertion("audit", AuditRow)
_SELECT = f"SELECT {', '.join(AuditRow._fields)} FROM audit"
MOST_LABEL = 100  # characters of the label of a session


def row(id: int, caller: Caller, operation: str, target: str, decision: str = "allowed", reason: str = "") -> AuditRow:
    """The entry of a call; `target` names the thing that was touched, never its content."""
    principal = caller.principal
    return AuditRow(
        id,
        caller.tenant,
        principal.username,
        caller.role.value,
        caller.surface.value,
        operation,
        decision,
        target[:200],
        caller.label[:MOST_LABEL],
        reason,
    )


def insert(db: Database, *rows: AuditRow) -> None:
    db.conn.executemany(_INSERT, rows)


def beyond(db: Database, keep: int) -> Mapping[str, int]:
    """Of each tenant that has more than its share of `keep` rows, the id of the youngest one that is too many."""
    return shares.floors(db, "audit", keep)


def prune(db: Database, up_to: int, of_tenants: Mapping[str, int], at_most: int = 5_000) -> int:
    """Delete rows with ids (which are times) up to one, and those of some tenants up to one of their own, the oldest
    first; returns how many went."""
    gone = db.conn.execute(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id <= ? ORDER BY id LIMIT ?)", (up_to, at_most)
    ).rowcount
    for tenant, floor in of_tenants.items():
        gone += db.conn.execute(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE tenant = ? AND id <= ? ORDER BY id LIMIT ?)",
            (tenant, floor, at_most),
        ).rowcount
    return gone


def recent(db: Database, tenant: str, limit: int = 100) -> list[AuditRow]:
    return _newest(db, "tenant = ?", [tenant], limit)


def about(db: Database, tenant: str, target: str, limit: int) -> list[AuditRow]:
    """The last things that were allowed to be done to one target, newest first."""
    return _newest(db, "tenant = ? AND target = ? AND decision = 'allowed'", [tenant, target], limit)


def search(
    db: Database,
    tenant: str,
    wanted: dict[str, Any],
    target: str | None,
    since: int | None,
    until: int | None,
    before: int | None,
    limit: int,
) -> tuple[list[AuditRow], int]:
    """A page of a tenant's rows, newest first, and how many there are; `wanted` maps columns to the value they have.

    `target` is a thing as it stands in the rows, or its name without the tenant and the revision. There is no index
    besides the id: rows are added with every write, and read by an admin now and then.
    """
    where, values = ["tenant = ?", *(f"{column} = ?" for column in wanted)], [tenant, *wanted.values()]
    if target is not None:
        named = f"{tenant}/{target}"
        where.append("(target IN (?, ?) OR substr(target, 1, ?) = ?)")
        values += [target, named, len(named) + 1, f"{named}@"]
    for bound, value in (("id >= ?", since), ("id < ?", until)):
        if value is not None:
            where.append(bound)
            values.append(value)
    total = db.table("audit").count_where(" AND ".join(where), values)
    if before is not None:
        where.append("id < ?")
        values.append(before)
    return _newest(db, " AND ".join(where), values, limit), total


def _newest(db: Database, where: str, values: list[Any], limit: int) -> list[AuditRow]:
    rows = db.conn.execute(f"{_SELECT} WHERE {where} ORDER BY id DESC LIMIT ?", [*values, limit])
    return [AuditRow._make(row) for row in rows]
