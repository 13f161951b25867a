"""Trigger definitions, one row per revision; the highest revision is the present one."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
from sqlite_utils import Database

from core import errors
from core.store import audit
from core.store.audit import AuditRow


def current(db: Database) -> list[dict[str, Any]]:
    """The present revision of every trigger of every tenant."""
    rows = db.conn.execute(
        "SELECT t.* FROM triggers t JOIN (SELECT tenant, slug, max(revision) AS revision FROM triggers"
        " GROUP BY tenant, slug) m USING (tenant, slug, revision) ORDER BY tenant, slug"
    )
    names = [column[0] for column in rows.description]
    return [_load(dict(zip(names, row, strict=True))) for row in rows]


def revision(db: Database, tenant: str, slug: str, number: int) -> dict[str, Any] | None:
    where = "tenant = ? AND slug = ? AND revision = ?"
    return next((_load(row) for row in db.table("triggers").rows_where(where, [tenant, slug, number])), None)


class Stored(NamedTuple):
    """A revision as it lies in the table."""

    id: int
    definition: str
    """JSON."""


def stored(db: Database, tenant: str, slug: str, revision: int) -> Stored:
    """A revision that is there: none is ever deleted."""
    where = "tenant = ? AND slug = ? AND revision = ?"
    row = db.conn.execute(f"SELECT id, definition FROM triggers WHERE {where}", (tenant, slug, revision)).fetchone()
    return Stored(*row)


def revisions(db: Database, tenant: str, slug: str) -> list[dict[str, Any]]:
    """Every revision of a trigger, newest first."""
    rows = db.table("triggers").rows_where("tenant = ? AND slug = ?", [tenant, slug], order_by="revision DESC")
    return [_load(row) for row in rows]


def insert(db: Database, row: dict[str, Any], audit_row: AuditRow, *, expect: int) -> None:
    """Add a revision; `expect` is the revision that the caller saw as the present one (0: none).

    Raises AlreadyExists for a publish of a slug that is there, Busy when someone else revised it meanwhile.
    """
    found = db.conn.execute(
        "SELECT coalesce(max(revision), 0) FROM triggers WHERE tenant = ? AND slug = ?", (row["tenant"], row["slug"])
    ).fetchone()[0]
    if found != expect:
        if expect == 0:
            raise errors.AlreadyExists(
                f"A trigger {row['slug']} exists already (revision {found}).",
                hint="Use trigger_revise to make a new revision.",
            )
        raise errors.Busy(f"Trigger {row['slug']} was revised meanwhile (revision {found}).", hint="Read it again.")
    db.table("triggers").insert({**row, "definition": orjson.dumps(row["definition"]).decode()})
    audit.insert(db, audit_row)


def deactivate(db: Database, id: int, at_ns: int, username: str, audit_row: AuditRow) -> None:
    """Make a revision inactive; who did so first, and when, stays."""
    db.conn.execute(
        "UPDATE triggers SET active = 0, deactivated_at_ns = ?, deactivated_by = ? WHERE id = ? AND active = 1",
        (at_ns, username, id),
    )
    audit.insert(db, audit_row)


def _load(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "active": bool(row["active"]), "definition": orjson.loads(row["definition"])}
