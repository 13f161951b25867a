"""Items that a tenant has installed from portals, and the last index of each portal behind HTTPS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlite_utils import Database

from core import errors
from core.store import audit
from core.store.audit import AuditRow

_KEY = "tenant = ? AND type = ? AND slug = ?"
_PK = ("tenant", "type", "slug", "version")


def installed(db: Database, tenant: str) -> list[dict[str, Any]]:
    """Every installed version of a tenant, with its document."""
    return list(db.table("installed_items").rows_where("tenant = ?", [tenant]))


def install(db: Database, rows: Iterable[dict[str, Any]], notes: Iterable[AuditRow]) -> None:
    """Install items, all or none.

    Raises AlreadyExists when the tenant meanwhile has an item of its own, or of another portal, under such a slug,
    or the same version with another content.
    """
    for row in rows:
        key = (row["tenant"], row["type"], row["slug"])
        refuse_own(db, key)
        for there in db.table("installed_items").rows_where(_KEY, key):
            if there["portal"] != row["portal"]:
                raise other_portal(row["type"], row["slug"], there["portal"])
            if there["version"] == row["version"] and there["sha256"] != row["sha256"]:
                raise other_content(row["type"], row["slug"], row["version"])
        db.table("installed_items").insert(row, pk=_PK, ignore=True)
    for note in notes:
        audit.insert(db, note)


def uninstall(db: Database, keys: Iterable[tuple[str, str, str, str]], note: AuditRow) -> int:
    """Remove installed versions by (tenant, type, slug, version); tells how many there were."""
    gone = sum(
        db.conn.execute(f"DELETE FROM installed_items WHERE {_KEY} AND version = ?", key).rowcount for key in keys
    )
    if gone:
        audit.insert(db, note)
    return gone


def refuse_own(db: Database, key: tuple[str, str, str]) -> None:
    """Raises AlreadyExists when the tenant has a document of its own under this (tenant, type, slug)."""
    where = "tenant = ? AND kind = ? AND slug = ? AND NOT (version = '' AND text = '')"
    if db.conn.execute(f"SELECT 1 FROM documents WHERE {where} LIMIT 1", key).fetchone():
        raise errors.AlreadyExists(
            f"You have a {key[1]} {key[2]} of your own.",
            hint="An item of a portal cannot take its place: copy yours under another slug, and retire it.",
        )


def refuse_installed(db: Database, key: tuple[str, str, str]) -> None:
    """Raises AlreadyExists when an item of a portal is installed under this (tenant, type, slug)."""
    found = db.conn.execute(f"SELECT portal FROM installed_items WHERE {_KEY} LIMIT 1", key).fetchone()
    if found is not None:
        raise errors.AlreadyExists(
            f"The {key[1]} {key[2]} was installed from the portal {found[0]}.",
            hint="Choose another slug (workflow_clone takes new_slug).",
        )


def other_portal(type: str, slug: str, portal: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(
        f"The {type} {slug} is installed from the portal {portal}.",
        hint="Uninstall that one first (catalog_uninstall).",
    )


def other_content(type: str, slug: str, version: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(
        f"The {type} {slug} {version} is installed with other content than the portal has now.",
        hint="A version never changes: the portal has to give the new content a new version.",
    )


def index(db: Database, name: str) -> dict[str, Any] | None:
    """The index of a portal as it was fetched last."""
    return next(iter(db.table("portal_indexes").rows_where("name = ?", [name])), None)


def keep_index(db: Database, row: dict[str, Any]) -> None:
    """Keep the index of a portal for the next start."""
    db.table("portal_indexes").upsert(row, pk="name")


def touch_index(db: Database, name: str, fetched_at_ns: int) -> None:
    """The index that is kept was still the portal's at this time."""
    db.conn.execute("UPDATE portal_indexes SET fetched_at_ns = ? WHERE name = ?", (fetched_at_ns, name))
