"""Role bindings (core.model.binding)."""

from __future__ import annotations

import orjson
from sqlite_utils import Database

from core import errors
from core.model.binding import Binding, Kind
from core.model.principal import Role
from core.store import audit, service_accounts
from core.store.audit import AuditRow
from core.store.rows import insertion

MOST = 10_000  # of all tenants together

_INSERT = insertion("role_bindings", Binding)
_SELECT = f"SELECT {', '.join(Binding._fields)} FROM role_bindings"


def _read(db: Database, where: str, values: tuple[object, ...] = ()) -> list[Binding]:
    rows = db.conn.execute(f"{_SELECT} {where}", values)
    return [
        Binding(id, Kind(kind), issuer, name, tenant, Role(role), bool(platform), at, by)
        for id, kind, issuer, name, tenant, role, platform, at, by in rows
    ]


def insert(db: Database, one: Binding, audit_row: AuditRow) -> None:
    """Keep a binding. Raises AlreadyExists when there is one of the same for the same tenant, QuotaExceeded."""
    same = _read(
        db, "WHERE kind = ? AND issuer = ? AND name = ? AND tenant = ?", (one.kind, one.issuer, one.name, one.tenant)
    )
    if same:
        raise errors.AlreadyExists(
            f"{one.kind} {errors.shorten(one.name, 100)} has the role {same[0].role} in {one.tenant} already"
            f" ({same[0].id}).",
            hint="Delete that binding first; role_binding_list shows them.",
        )
    if one.kind is Kind.SERVICE_ACCOUNT:
        tenant, _, name = one.name.partition("/")
        if service_accounts.find(db, tenant, name) is None:
            raise errors.NotFound(
                f"There is no service account {errors.shorten(name, 64)}.", hint="service_account_list shows them."
            )
    if db.table("role_bindings").count >= MOST:
        raise errors.QuotaExceeded(f"There are {MOST} role bindings already.", hint="Bind groups, or delete old ones.")
    db.conn.execute(_INSERT, one)
    audit.insert(db, audit_row)


def all_rows(db: Database) -> list[Binding]:
    """All of them, by whom they are for."""
    return _read(db, "ORDER BY kind, name, tenant")


def find(db: Database, id: str) -> Binding | None:
    return next(iter(_read(db, "WHERE id = ?", (id,))), None)


def delete(db: Database, id: str, audit_row: AuditRow) -> bool:
    """Take a binding away; whether there was one."""
    gone = db.conn.execute("DELETE FROM role_bindings WHERE id = ?", (id,)).rowcount > 0
    if gone:
        audit.insert(db, audit_row)
    return gone


def of_person(db: Database, issuer: str, subject: str, groups: list[str]) -> list[Binding]:
    """Those of a person and of groups of the same provider."""
    return _read(
        db,
        "WHERE issuer = ? AND ((kind = 'person' AND name = ?)"
        " OR (kind = 'group' AND name IN (SELECT value FROM json_each(?))))",
        (issuer, subject, orjson.dumps(groups).decode()),
    )


def of_account(db: Database, name: str) -> list[Binding]:
    """Those of a service account."""
    return _read(db, "WHERE kind = 'service_account' AND name = ?", (name,))
