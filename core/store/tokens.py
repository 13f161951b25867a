"""API tokens: only a hash is kept, so a stolen database opens no door.

What the tokens of a login (store/logins) and of a service account may is not in their rows: it follows the role
bindings there are when it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from sqlite_utils import Database

from core import errors
from core.model.binding import Held, held
from core.model.principal import EVERY_TENANT, Role
from core.store import audit, logins, role_bindings
from core.store.audit import AuditRow


def insert(
    db: Database, row: dict[str, Any], check: Callable[[list[dict[str, Any]]], None], audit_row: AuditRow
) -> dict[str, Any]:
    """Keep a new token; it, as it is read.

    `check` gets the tokens of the same user that count now, and raises when the new one must not be beside them.
    Raises Unauthenticated when the token that makes it (`made_by`) does not count any more, Forbidden for the name of a
    person who signs in.
    """
    now = row["created_at_ns"]
    counts = "revoked_at_ns IS NULL AND (expires_at_ns IS NULL OR expires_at_ns > ?)"
    if row["made_by"] and not db.table("tokens").count_where(f"id = ? AND {counts}", [row["made_by"], now]):
        raise errors.Unauthenticated("The credential of this request was withdrawn meanwhile.")
    if not row["login"] and logins.by_username(db, row["username"]) is not None:
        raise errors.Forbidden(
            f"{errors.shorten(row['username'], 100)} is a person who signs in with a provider.",
            hint="Choose another name, or make a service account: service_account_create.",
        )
    check(_rows(db, f"username = ? AND {counts}", [row["username"], now]))
    db.table("tokens").insert(row)
    audit.insert(db, audit_row)
    return _rows(db, "id = ?", [row["id"]])[0]


def _rows(db: Database, where: str, values: list[Any], order: str | None = None) -> list[dict[str, Any]]:
    """Rows with what each may: `roles` (JSON, see Principal.roles), and `role` None where no binding is left."""
    rows = list(db.table("tokens").rows_where(where, values, order_by=order))
    for row in rows:
        row["roles"], row["login_read_at_ns"], row["limited"] = "{}", None, row["tenants"]
        if row["login"] or row["account"]:
            _follow(db, row)
    return rows


def _follow(db: Database, row: dict[str, Any]) -> None:
    if row["login"]:
        login = logins.find(db, row["login"])
        row["login_read_at_ns"] = 0 if login is None else login.read_at_ns
        found = [] if login is None else logins.bindings_of(db, login)
    else:
        found = role_bindings.of_account(db, row["account"])
    rights = held(found)
    if rights is not None and (chosen := orjson.loads(row["tenants"])):
        rights = _within(rights, chosen)
    row["role"] = None if rights is None else rights.role.value
    row["tenants"] = "[]" if rights is None else orjson.dumps(rights.tenants).decode()
    row["platform"] = int(rights is not None and rights.platform)
    row["roles"] = "{}" if rights is None else orjson.dumps(rights.roles).decode()


def _within(rights: Held, chosen: list[str]) -> Held | None:
    """Rights in the tenants that a token was limited to when it was made; None when none of them is left."""
    left = [one for one in chosen if one in rights.tenants or EVERY_TENANT in rights.tenants]
    roles = {one: rights.roles.get(one, rights.role) for one in left}
    if not roles:
        return None
    least = next(role for role in Role if role in roles.values())
    return Held(least, tuple(left), False, {one: role for one, role in roles.items() if role is not least})


def by_hash(db: Database, hash: str) -> dict[str, Any] | None:
    return next(iter(_rows(db, "hash = ?", [hash])), None)


def all_rows(db: Database) -> list[dict[str, Any]]:
    return _rows(db, "1", [], "created_at_ns desc")


def by_id(db: Database, id: str) -> dict[str, Any] | None:
    return next(iter(_rows(db, "id = ?", [id])), None)


def touch(db: Database, id: str, at_ns: int) -> None:
    """Note that a token was used."""
    db.conn.execute("UPDATE tokens SET last_used_at_ns = ? WHERE id = ?", (at_ns, id))


_FAMILY = (
    "WITH RECURSIVE family (id) AS (SELECT id FROM tokens WHERE id = ? AND revoked_at_ns IS NULL"
    " UNION SELECT tokens.id FROM tokens JOIN family ON tokens.made_by = family.id)"
)


def made_with(db: Database, id: str) -> list[str]:
    """The tokens that one made, directly and through others, and that were not withdrawn."""
    others = "SELECT id FROM tokens WHERE id IN family AND id != ? AND revoked_at_ns IS NULL ORDER BY id"
    found = db.conn.execute(f"{_FAMILY} {others}", (id, id))
    return [other for (other,) in found]


def revoke(db: Database, id: str, at_ns: int, note: Callable[[str], AuditRow]) -> list[str]:
    """Withdraw a token and all that it made, directly and through others; the ids that went, its own first.

    Nothing goes when the token itself was withdrawn before. `note` makes the audit row about a target.
    """
    went = db.conn.execute(
        f"{_FAMILY} UPDATE tokens SET revoked_at_ns = ? WHERE id IN family AND revoked_at_ns IS NULL RETURNING id",
        (id, at_ns),
    ).fetchall()
    if not went:
        return []
    ids = [id, *sorted(other for (other,) in went if other != id)]
    audit.insert(db, note(", ".join(ids)))
    return ids


def by_ids(db: Database, ids: list[str]) -> list[dict[str, Any]]:
    """Those of the tokens with these ids that there are."""
    marks = ",".join("?" * len(ids))
    return _rows(db, f"id IN ({marks})", ids)
