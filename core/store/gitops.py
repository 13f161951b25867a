"""GitOps: runs with what happened in them, and what each manifest has created. A scope is a tenant's environment."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable
from typing import Any

import orjson
from sqlite_utils import Database

from core import clock, errors
from core.model.states import GITOPS_RUN, GitopsRunState
from core.store import audit
from core.store.audit import AuditRow

KEPT_RUNS = 200  # of one scope
_JSON = ("source", "approval", "summary")
_COLUMNS = (
    "id, tenant, environment, manifest, action, state, commit_sha, source, approval, username, surface, started_at_ns,"
    " finished_at_ns, summary, reason"
)


def begin(db: Database, row: dict[str, Any], body: Any, alive: Collection[str], audit_row: AuditRow) -> None:
    """Record a run that begins. `alive` are the ids of those that this engine has under way.

    Raises Busy when one of them is in the same scope; one whose engine is gone is put down as interrupted.
    """
    interrupt(db, row["started_at_ns"], alive)
    scope = [row["tenant"], row["environment"]]
    other = next(
        iter(
            db.query(
                f"SELECT {_COLUMNS} FROM gitops_runs WHERE tenant = ? AND environment = ? AND state = 'running'", scope
            )
        ),
        None,
    )
    if other is not None:
        raise errors.Busy(
            f"Run {other['id']} ({other['action']} by {other['username']}, since {clock.iso(other['started_at_ns'])})"
            f" is under way in environment {row['environment'] or '(none)'}.",
            hint=f"Wait for it: sluice gitops runs {other['id']}.",
            details={"run_id": other["id"]},
        )
    packed = {key: orjson.dumps(row[key]).decode() for key in _JSON}
    db.table("gitops_runs").insert({**row, **packed, "body": zlib.compress(orjson.dumps(body))})
    old = (
        "SELECT id FROM gitops_runs WHERE tenant = ? AND environment = ? ORDER BY started_at_ns DESC LIMIT -1 OFFSET ?"
    )
    db.conn.execute(f"DELETE FROM gitops_events WHERE run_id IN ({old})", [*scope, KEPT_RUNS])
    db.conn.execute(f"DELETE FROM gitops_runs WHERE id IN ({old})", [*scope, KEPT_RUNS])
    audit.insert(db, audit_row)


def interrupt(db: Database, now_ns: int, alive: Collection[str]) -> int:
    """Put down every run that nobody carries out any more; returns how many there were."""
    open_ones = [row["id"] for row in db.query("SELECT id FROM gitops_runs WHERE state = 'running'")]
    gone = [(now_ns, id) for id in open_ones if id not in alive]
    db.conn.executemany(
        "UPDATE gitops_runs SET state = 'interrupted', finished_at_ns = ?,"
        " reason = 'the engine ended while it was under way; apply again to go on' WHERE id = ?",
        gone,
    )
    return len(gone)


def finish(db: Database, id: str, state: GitopsRunState, at_ns: int, summary: dict[str, Any], reason: str) -> None:
    """Record how a run ended."""
    row = run(db, id)
    assert row is not None
    GITOPS_RUN.advance(GitopsRunState(row["state"]), state)
    db.table("gitops_runs").update(
        id,
        {
            "state": state.value,
            "finished_at_ns": at_ns,
            "summary": orjson.dumps(summary).decode(),
            "reason": reason,
        },
    )


def event(db: Database, run_id: str, at_ns: int, event: dict[str, str]) -> None:
    """Add what happened; `event` has action, kind, name, state and message."""
    db.conn.execute(
        "INSERT INTO gitops_events SELECT ?, coalesce(max(seq), 0) + 1, ?, ?, ?, ?, ?, ? FROM gitops_events"
        " WHERE run_id = ?",
        (run_id, at_ns, *(event[key] for key in ("action", "kind", "name", "state", "message")), run_id),
    )


def events(db: Database, run_id: str) -> list[dict[str, Any]]:
    return list(db.table("gitops_events").rows_where("run_id = ?", [run_id], order_by="seq"))


def run(db: Database, id: str) -> dict[str, Any] | None:
    return next((_load(row) for row in db.query(f"SELECT {_COLUMNS} FROM gitops_runs WHERE id = ?", [id])), None)


def body(db: Database, id: str) -> Any:
    """The items that a run was to bring about."""
    packed = db.execute("SELECT body FROM gitops_runs WHERE id = ?", [id]).fetchone()[0]
    return orjson.loads(zlib.decompress(packed))


def runs(db: Database, tenant: str, environment: str | None = None) -> list[dict[str, Any]]:
    """The runs of a tenant, or of one environment of it, newest first."""
    where, values = "tenant = ?", [tenant]
    if environment is not None:
        where, values = f"{where} AND environment = ?", [tenant, environment]
    query = f"SELECT {_COLUMNS} FROM gitops_runs WHERE {where} ORDER BY started_at_ns DESC, id DESC"
    return [_load(row) for row in db.query(query, values)]


def own(
    db: Database, label: tuple[str, str, str], things: Iterable[tuple[str, str]], *, created: bool, run_id: str
) -> None:
    """Record that a manifest, (tenant, environment, name), names things, and whether it is their creator.

    Who has created a thing stays its creator.
    """
    db.conn.executemany(
        "INSERT INTO gitops_items VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " created = max(created, excluded.created), run_id = excluded.run_id",
        [(*label, kind, name, int(created), run_id) for kind, name in things],
    )


def disown(db: Database, label: tuple[str, str, str], things: Iterable[tuple[str, str]]) -> None:
    """Forget things of a manifest; one that another manifest of the tenant names too passes to that one."""
    tenant, environment, manifest = label
    for kind, name in things:
        key = (tenant, environment, manifest, kind, name)
        row = db.execute(
            "DELETE FROM gitops_items WHERE tenant = ? AND environment = ? AND manifest = ? AND kind = ? AND name = ?"
            " RETURNING created",
            key,
        ).fetchone()
        if row is not None and row[0]:
            db.conn.execute(
                "UPDATE gitops_items SET created = 1 WHERE rowid ="
                " (SELECT rowid FROM gitops_items WHERE tenant = ? AND kind = ? AND name = ? LIMIT 1)",
                (tenant, kind, name),
            )


def items(db: Database, tenant: str) -> list[dict[str, Any]]:
    """What the manifests of a tenant name and have created."""
    return list(db.table("gitops_items").rows_where("tenant = ?", [tenant]))


def _load(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, **{key: orjson.loads(row[key]) for key in _JSON}}
