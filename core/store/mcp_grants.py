"""What MCP hosts were let in to do. Each grant is a row of `tokens`, whose secret nobody has; access tokens and the
refresh token of a grant are kept by their hashes."""

from __future__ import annotations

from typing import NamedTuple

from sqlite_utils import Database

from core.store import audit
from core.store.audit import AuditRow
from core.store.rows import insertion


class Grant(NamedTuple):
    """One of them; `token` is the id of its row in `tokens`."""

    token: str
    client_id: str
    scopes: str
    resource: str
    refresh_hash: str
    spent_hash: str
    """The refresh token before the present one: whoever shows it again has stolen it, or was stolen from."""
    ends_at_ns: int


_INSERT = insertion("mcp_grants", Grant)
_SELECT = f"SELECT {', '.join(Grant._fields)} FROM mcp_grants"


def insert(db: Database, grant: Grant, access_hash: str, access_ends_at_ns: int, audit_row: AuditRow) -> None:
    """Keep a new grant and its first access token."""
    db.conn.execute(_INSERT, grant)
    db.conn.execute("INSERT INTO mcp_access VALUES (?, ?, ?)", (access_hash, grant.token, access_ends_at_ns))
    audit.insert(db, audit_row)


def by_refresh(db: Database, hash: str) -> tuple[Grant, bool] | None:
    """The grant of a refresh token, and whether that one was spent before."""
    for column in ("refresh_hash", "spent_hash"):
        row = db.conn.execute(f"{_SELECT} WHERE {column} = ?", (hash,)).fetchone()
        if row is not None:
            return Grant(*row), column == "spent_hash"
    return None


def by_access(db: Database, hash: str) -> tuple[str, int] | None:
    """(id of the token, end in ns) of an access token."""
    row = db.conn.execute("SELECT token, ends_at_ns FROM mcp_access WHERE hash = ?", (hash,)).fetchone()
    return None if row is None else (str(row[0]), int(row[1]))


def rotate(db: Database, was: Grant, grant: Grant, access_hash: str, access_ends_at_ns: int, now_ns: int) -> bool:
    """Give a grant its next refresh token and one more access token; false when its refresh token was spent meanwhile.
    The end of its row in `tokens` moves along, not beyond that of the key that it was made with; access tokens that are
    over go."""
    changed = db.conn.execute(
        "UPDATE mcp_grants SET refresh_hash = ?, spent_hash = ?, ends_at_ns = ? WHERE token = ? AND refresh_hash = ?",
        (grant.refresh_hash, was.refresh_hash, grant.ends_at_ns, was.token, was.refresh_hash),
    ).rowcount
    if not changed:
        return False
    parent = "(SELECT parent.expires_at_ns FROM tokens parent WHERE parent.id = tokens.made_by)"
    ends = grant.ends_at_ns
    db.conn.execute(
        f"UPDATE tokens SET expires_at_ns = min(?, coalesce({parent}, ?)) WHERE id = ?", (ends, ends, was.token)
    )
    db.conn.execute("DELETE FROM mcp_access WHERE token = ? AND ends_at_ns <= ?", (was.token, now_ns))
    db.conn.execute("INSERT INTO mcp_access VALUES (?, ?, ?)", (access_hash, was.token, access_ends_at_ns))
    return True


def end(db: Database, token: str, now_ns: int, audit_row: AuditRow) -> None:
    """End a grant with all its tokens."""
    db.conn.execute("UPDATE tokens SET revoked_at_ns = ? WHERE id = ? AND revoked_at_ns IS NULL", (now_ns, token))
    db.conn.execute("DELETE FROM mcp_access WHERE token = ?", (token,))
    db.conn.execute("DELETE FROM mcp_grants WHERE token = ?", (token,))
    audit.insert(db, audit_row)
