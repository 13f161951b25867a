"""Drafts of jobs: one text for each name that is being worked on, with a revision that only ever grows."""

from __future__ import annotations

from typing import Any

from sqlite_utils import Database

from core.store import audit, draft_conflicts, jobs
from core.store.audit import AuditRow

STAGED = ""  # the text of a draft that was staged or thrown away; its row stays, so that no revision is given twice
_WORDS = draft_conflicts.Words(
    ended="staged or discarded",
    written="written",
    look="Look at the staged version with job_get",
    bring="Read it with job_get, bring your changes into it, and save",
    revision="revision",
)


def get(db: Database, tenant: str, name: str) -> dict[str, Any] | None:
    """The open draft of a job."""
    row = _row(db, tenant, name)
    return row if row is not None and row["document"] != STAGED else None


def all_rows(db: Database, tenant: str) -> list[dict[str, Any]]:
    """Every open draft of a tenant, by name."""
    where = "tenant = ? AND document != ?"
    return list(db.table("job_drafts").rows_where(where, [tenant, STAGED], order_by="name"))


def save(db: Database, row: dict[str, Any], base: int, audit_row: AuditRow) -> tuple[int, bool]:
    """Write a draft whose writer saw revision `base` (0: no draft). Returns (revision, changed).

    Raises AlreadyExists, telling what is there now, when the draft has moved since.
    """
    last = _row(db, row["tenant"], row["name"])
    present = _present(last)
    if last is not None and present and last["document"] == row["document"]:
        return present, False
    _check(row["name"], base, last, present)
    revision = (last["revision"] if last is not None else 0) + 1
    db.table("job_drafts").upsert({**row, "revision": revision}, pk=("tenant", "name"))
    audit.insert(db, audit_row)
    return revision, True


def stage(
    db: Database, row: dict[str, Any], revision: int, audit_row: AuditRow, at_ns: int, by: str
) -> tuple[int, bool]:
    """Make a draft the next version of its job, in one transaction. Returns (version, changed) as `jobs.put`.

    Raises AlreadyExists when the draft is not at that revision any more.
    """
    last = _row(db, row["tenant"], row["name"])
    present = _present(last)
    _check(row["name"], revision, last, present)
    version, changed = jobs.put(db, row, audit_row)
    if not changed:  # it is a version already; that the draft is gone is on record all the same
        audit.insert(db, audit_row)
    _close(db, row["tenant"], row["name"], at_ns, by)
    return version, changed


def discard(db: Database, tenant: str, name: str, audit_row: AuditRow, at_ns: int, by: str) -> bool:
    """Throw a draft away; false when there is none."""
    if get(db, tenant, name) is None:
        return False
    _close(db, tenant, name, at_ns, by)
    audit.insert(db, audit_row)
    return True


def delete_job(db: Database, tenant: str, name: str, audit_row: AuditRow, at_ns: int, by: str) -> tuple[int, bool]:
    """Delete every version of a job and its draft. Returns (versions, whether there was a draft)."""
    draft = get(db, tenant, name) is not None
    if draft:
        _close(db, tenant, name, at_ns, by)
    versions = jobs.delete(db, tenant, name)
    if versions or draft:
        audit.insert(db, audit_row)
    return versions, draft


def _close(db: Database, tenant: str, name: str, at_ns: int, by: str) -> None:
    change = {"document": STAGED, "updated_at_ns": at_ns, "updated_by": by}
    db.table("job_drafts").update((tenant, name), change)


def _row(db: Database, tenant: str, name: str) -> dict[str, Any] | None:
    return next(iter(db.table("job_drafts").rows_where("tenant = ? AND name = ?", [tenant, name])), None)


def _present(last: dict[str, Any] | None) -> int:
    """The revision of an open draft; 0 when there is none."""
    return last["revision"] if last is not None and last["document"] != STAGED else 0


def _check(name: str, base: int, last: dict[str, Any] | None, present: int) -> None:
    shown = {"document": last["document"][:4000]} if last is not None else {}
    draft_conflicts.check(_WORDS, name, base, last, present, **shown)
