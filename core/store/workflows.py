"""Documents of a tenant's own: at most one draft for each kind and slug, and versions that never change.

A draft is the row without a version; publishing gives it one. Revisions of drafts only ever grow, so that nobody
who edits an older one goes over a newer one.
"""

from __future__ import annotations

from typing import Any

from sqlite_utils import Database

from core import errors
from core.model.states import WORKFLOW, WorkflowState
from core.store import audit, catalog, draft_conflicts
from core.store.audit import AuditRow

DRAFT = ""  # the version of a draft
GONE = ""  # the text of a draft that was thrown away; its row stays, so that no revision is given twice
Key = tuple[str, str, str]
"""(tenant, kind, slug)"""

_WORDS = draft_conflicts.Words(
    ended="published or thrown away",
    written="saved",
    look="Look at it with workflow_get",
    bring="workflow_get shows it; bring your changes into it, and save",
    revision="draft_revision",
)
_KEY = "tenant = ? AND kind = ? AND slug = ?"
_SHORT = "kind, slug, version, state, revision, title, derived_from, updated_at_ns, updated_by, published_at_ns"


def draft(db: Database, key: Key) -> dict[str, Any] | None:
    """The open draft of a document."""
    row = _row(db, key, DRAFT)
    return row if row is not None and row["text"] != GONE else None


def version(db: Database, key: Key, number: str) -> dict[str, Any] | None:
    """A published or retired version."""
    return _row(db, key, number) if number != DRAFT else None


def listing(db: Database, tenant: str) -> list[dict[str, Any]]:
    """Everything that a tenant has, without the documents."""
    where = "WHERE tenant = ? AND NOT (version = '' AND text = '') ORDER BY kind, slug, published_at_ns"
    return list(db.query(f"SELECT {_SHORT} FROM documents {where}", [tenant]))


def versions(db: Database, key: Key) -> list[dict[str, Any]]:
    """The versions of one document, oldest first, without their texts."""
    query = f"SELECT {_SHORT} FROM documents WHERE {_KEY} AND version != '' ORDER BY published_at_ns, revision"
    return list(db.query(query, list(key)))


def published(db: Database, tenant: str) -> list[dict[str, Any]]:
    """Every published or retired version of a tenant, with its document."""
    return list(db.table("documents").rows_where("tenant = ? AND version != ''", [tenant]))


def save(db: Database, row: dict[str, Any], base: int, audit_row: AuditRow) -> tuple[int, bool]:
    """Write a draft whose writer saw revision `base` (0: no draft). Returns (revision, changed).

    Raises AlreadyExists, telling what moved, when the draft is not at that revision, and when an item of a portal has
    the slug.
    """
    key = (row["tenant"], row["kind"], row["slug"])
    catalog.refuse_installed(db, key)
    last = _row(db, key, DRAFT)
    present = _present(last)
    if last is not None and present and last["text"] == row["text"]:
        return present, False
    draft_conflicts.check(_WORDS, row["slug"], base, last, present)
    newest = db.conn.execute(f"SELECT coalesce(max(revision), 0) FROM documents WHERE {_KEY}", key).fetchone()[0]
    fresh = {
        **row,
        "version": DRAFT,
        "state": WORKFLOW.initial.value,
        "revision": newest + 1,
        "document": "",
        "digest": "",
        "published_at_ns": 0,
    }
    db.table("documents").upsert(fresh, pk=("tenant", "kind", "slug", "version"))
    audit.insert(db, audit_row)
    return newest + 1, True


def publish(db: Database, key: Key, revision: int, row: dict[str, Any], audit_row: AuditRow) -> tuple[str, bool]:
    """Give the draft at `revision` its version, or drop it when the newest version says the same.

    `row` has version, document, digest, title, published_at_ns and updated_by. Returns (version, changed). Raises
    AlreadyExists when the draft has moved or when other content was published under that version.
    """
    last = _row(db, key, DRAFT)
    present = _present(last)
    if last is None:
        raise moved(key[2], revision, last, present)
    draft_conflicts.check(_WORDS, key[2], revision, last, present)
    same = next(
        db.query(
            f"SELECT version FROM documents WHERE {_KEY} AND version != '' AND digest = ? AND state = ?"
            " ORDER BY published_at_ns DESC LIMIT 1",
            [*key, row["digest"], WorkflowState.PUBLISHED.value],
        ),
        None,
    )
    newest = next(iter(reversed(versions(db, key))), None)
    if same is not None and (same["version"] == row["version"] or (newest and newest["version"] == same["version"])):
        _drop(db, key, row["published_at_ns"], row["updated_by"])
        return str(same["version"]), False
    if (there := _row(db, key, row["version"])) is not None:
        raise _taken(key, there)
    state = WORKFLOW.advance(WorkflowState(last["state"]), WorkflowState.PUBLISHED)
    change = {**row, "state": state.value, "updated_at_ns": row["published_at_ns"]}
    columns = ", ".join(f"{name} = ?" for name in change)
    db.conn.execute(f"UPDATE documents SET {columns} WHERE {_KEY} AND version = ''", [*change.values(), *key])
    audit.insert(db, audit_row)
    return str(row["version"]), True


def add(db: Database, row: dict[str, Any], audit_row: AuditRow) -> bool:
    """Publish a version without a draft; an open draft stays as it is. False when that version says the same already.

    `row` has what `save` and `publish` take together. Raises AlreadyExists when the version has other content or is
    retired, or when an item of a portal has the slug.
    """
    key = (row["tenant"], row["kind"], row["slug"])
    there = _row(db, key, row["version"])
    if there is not None and there["digest"] == row["digest"] and there["state"] == WorkflowState.PUBLISHED:
        return False
    if there is not None:
        raise _taken(key, there)
    catalog.refuse_installed(db, key)
    newest = db.conn.execute(f"SELECT coalesce(max(revision), 0) FROM documents WHERE {_KEY}", key).fetchone()[0]
    state = WORKFLOW.advance(WORKFLOW.initial, WorkflowState.PUBLISHED)
    db.table("documents").insert({**row, "state": state.value, "revision": newest + 1, "derived_from": ""})
    audit.insert(db, audit_row)
    return True


def _taken(key: Key, there: dict[str, Any]) -> errors.AlreadyExists:
    why = "which is retired" if there["state"] == WorkflowState.RETIRED else "with other content"
    return errors.AlreadyExists(
        f"{key[1].capitalize()} {key[2]} has a version {there['version']} already, {why}.",
        hint="A version never changes: raise the version in the document.",
    )


def retire(db: Database, key: Key, number: str, audit_row: AuditRow, at_ns: int, by: str) -> bool:
    """Take a version out of the offer; false when it is retired already. The version must be there."""
    row = _row(db, key, number)
    assert row is not None
    if row["state"] == WorkflowState.RETIRED:
        return False
    state = WORKFLOW.advance(WorkflowState(row["state"]), WorkflowState.RETIRED)
    change = {"state": state.value, "updated_at_ns": at_ns, "updated_by": by}
    db.table("documents").update((*key, number), change)
    audit.insert(db, audit_row)
    return True


def discard(db: Database, key: Key, audit_row: AuditRow, at_ns: int, by: str) -> bool:
    """Throw a draft away; false when there is none."""
    if draft(db, key) is None:
        return False
    _drop(db, key, at_ns, by)
    audit.insert(db, audit_row)
    return True


def moved(slug: str, base: int, last: dict[str, Any] | None, present: int) -> errors.AlreadyExists:
    """What to tell an editor whose draft is not what it was."""
    return draft_conflicts.moved(_WORDS, slug, base, last, present)


def _row(db: Database, key: Key, number: str) -> dict[str, Any] | None:
    return next(iter(db.table("documents").rows_where(f"{_KEY} AND version = ?", [*key, number])), None)


def _present(last: dict[str, Any] | None) -> int:
    """The revision of an open draft; 0 when there is none."""
    return last["revision"] if last is not None and last["text"] != GONE else 0


def _drop(db: Database, key: Key, at_ns: int, by: str) -> None:
    db.table("documents").update((*key, DRAFT), {"text": GONE, "updated_at_ns": at_ns, "updated_by": by})
