"""Tokens that let workers of other machines in, and the credentials that they are redeemed for.

Of a token only the hash of its secret is kept, of a credential only public keys. Each change is one transaction with
its audit row.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
from sqlite_utils import Database

from core import errors
from core.model.enrolment import (
    MOST_PENDING,
    PENDING_SECONDS,
    Ability,
    Credential,
    EnrolmentState,
    WorkerGrant,
    WorkerToken,
)
from core.store import audit, worker_groups
from core.store.audit import AuditRow
from core.store.rows import insertion

NANOSECONDS = 1_000_000_000
Note = Callable[[str], AuditRow]
"""Makes the audit row about a target."""


class _TokenRow(NamedTuple):
    id: str
    secret_hash: str
    name: str
    group_name: str
    tenants: str
    can: str
    most_slots: int
    ephemeral: int
    uses: int
    used: int
    approval: int
    created_at_ns: int
    created_by: str
    expires_at_ns: int
    revoked_at_ns: int | None


class _CredentialRow(NamedTuple):
    id: str
    name: str
    group_name: str
    tenants: str
    can: str
    most_slots: int
    ephemeral: int
    token: str
    public_key: str
    previous_key: str
    generation: int
    state: str
    address: str
    created_at_ns: int
    decided_at_ns: int | None
    decided_by: str


_INSERT_TOKEN = insertion("worker_tokens", _TokenRow)
_INSERT_CREDENTIAL = insertion("worker_credentials", _CredentialRow)


class Asked(NamedTuple):
    """A token shown by somebody who wants a credential for a key."""

    token: str  # its id
    secret_hash: str
    name: str  # that the worker must have; empty: that of the token, else that of its host
    host: str
    public_key: str
    address: str
    id: str  # of the credential, if one is made
    now_ns: int


def _names(value: tuple[str, ...]) -> str:
    return orjson.dumps([str(one) for one in value]).decode()


def _grant(row: Any) -> WorkerGrant:
    return WorkerGrant(
        row["group_name"],
        tuple(orjson.loads(row["tenants"])),
        tuple(map(Ability, orjson.loads(row["can"]))),
        row["most_slots"],
        bool(row["ephemeral"]),
    )


def _token(row: Any) -> WorkerToken:
    return WorkerToken(
        id=row["id"],
        grant=_grant(row),
        name=row["name"],
        uses=row["uses"],
        used=row["used"],
        approval=bool(row["approval"]),
        created_at_ns=row["created_at_ns"],
        created_by=row["created_by"],
        expires_at_ns=row["expires_at_ns"],
        revoked_at_ns=row["revoked_at_ns"],
    )


def _credential(row: Any) -> Credential:
    return Credential(
        id=row["id"],
        name=row["name"],
        grant=_grant(row),
        token=row["token"],
        public_key=row["public_key"],
        previous_key=row["previous_key"],
        generation=row["generation"],
        state=EnrolmentState(row["state"]),
        address=row["address"],
        created_at_ns=row["created_at_ns"],
        decided_at_ns=row["decided_at_ns"],
        decided_by=row["decided_by"],
    )


# -- tokens ------------------------------------------------------------------------------------------------


def add_token(db: Database, token: WorkerToken, secret_hash: str, audit_row: AuditRow) -> None:
    """Keep a new token. Raises NotFound when its group is not there, InvalidParams when that admits every tenant, or
    not those of the token."""
    group = next((one for one in worker_groups.groups(db) if one.name == token.grant.group), None)
    if group is None:
        raise errors.NotFound(
            f"There is no worker group {token.grant.group}.",
            hint=f"Make it, with the tenants that it serves: sluice group create {token.grant.group} --admit TENANT.",
        )
    if group.open:
        raise errors.InvalidParams(
            f"Worker group {group.name} admits every tenant, and a worker of another machine serves tenants by name.",
            hint="Make a group for it: sluice group create edge --admit TENANT.",
        )
    if foreign := [tenant for tenant in token.grant.tenants if not group.admits(tenant)]:
        raise errors.InvalidParams(
            f"Worker group {group.name} does not admit {errors.shorten(', '.join(foreign), 200)}.",
            hint=f"It admits {errors.shorten(', '.join(group.tenants), 200)}.",
        )
    grant = token.grant
    row = _TokenRow(
        token.id,
        secret_hash,
        token.name,
        grant.group,
        _names(grant.tenants),
        _names(grant.can),
        grant.most_slots,
        int(grant.ephemeral),
        token.uses,
        token.used,
        int(token.approval),
        token.created_at_ns,
        token.created_by,
        token.expires_at_ns,
        token.revoked_at_ns,
    )
    db.conn.execute(_INSERT_TOKEN, row)
    audit.insert(db, audit_row)


def tokens(db: Database) -> list[WorkerToken]:
    """All that are kept, the newest first."""
    return [_token(row) for row in db.table("worker_tokens").rows_where(order_by="created_at_ns DESC, id")]


def token(db: Database, id: str) -> WorkerToken | None:
    found = next(iter(db.table("worker_tokens").rows_where("id = ?", [id])), None)
    return None if found is None else _token(found)


def secret_hash(db: Database, id: str, now_ns: int) -> str | None:
    """The hash of the secret of a token, by its id, as long as it has neither expired nor was withdrawn; whoever has
    used it up may have lost the answer."""
    where = "id = ? AND expires_at_ns > ? AND revoked_at_ns IS NULL"
    found = db.conn.execute(f"SELECT secret_hash FROM worker_tokens WHERE {where}", (id, now_ns)).fetchone()
    return None if found is None else str(found[0])


def revoke_token(db: Database, id: str, now_ns: int, audit_row: AuditRow) -> bool:
    """Withdraw a token; whether it was not withdrawn before."""
    done = db.conn.execute(
        "UPDATE worker_tokens SET revoked_at_ns = ? WHERE id = ? AND revoked_at_ns IS NULL", (now_ns, id)
    ).rowcount
    if done:
        audit.insert(db, audit_row)
    return bool(done)


# -- credentials -------------------------------------------------------------------------------------------


def credentials(db: Database) -> list[Credential]:
    """All that are kept, by name, the newest first."""
    return [_credential(row) for row in db.table("worker_credentials").rows_where(order_by="name, created_at_ns DESC")]


def credential(db: Database, id: str) -> Credential | None:
    found = next(iter(db.table("worker_credentials").rows_where("id = ?", [id])), None)
    return None if found is None else _credential(found)


def named(db: Database, name: str) -> Credential | None:
    """The one of a worker that was not revoked."""
    where = "name = ? AND state != 'revoked'"
    found = next(iter(db.table("worker_credentials").rows_where(where, [name])), None)
    return None if found is None else _credential(found)


def newest(db: Database, name: str) -> Credential | None:
    """The last one of a worker, revoked or not."""
    order = "created_at_ns DESC, id"
    found = next(iter(db.table("worker_credentials").rows_where("name = ?", [name], order_by=order, limit=1)), None)
    return None if found is None else _credential(found)


def redeem(db: Database, asked: Asked, note: Note) -> Credential:
    """The credential that a token is good for: a new one, or the same as before for the same key, which has asked
    again because the answer was lost.

    Raises Unauthenticated (no such token, expired, withdrawn, used up), InvalidParams (another name than the
    token's), AlreadyExists (another worker has the name), Busy (too many wait for an approval).
    """
    row = next(iter(db.table("worker_tokens").rows_where("id = ?", [asked.token])), None)
    if row is None or not hmac.compare_digest(row["secret_hash"], asked.secret_hash):
        raise _refused("no token of this engine")
    known = next(iter(db.table("worker_credentials").rows_where("public_key = ?", [asked.public_key])), None)
    if known is not None and known["token"] == asked.token and known["state"] != EnrolmentState.REVOKED:
        return _credential(known)
    token = _token(row)
    if known is not None or token.revoked_at_ns is not None:
        raise _refused("withdrawn")
    if token.expires_at_ns <= asked.now_ns:
        raise _refused("expired")
    if token.used >= token.uses:
        raise _refused("used up")
    name = _name(token, asked)
    made = _CredentialRow(
        asked.id,
        name,
        row["group_name"],
        row["tenants"],
        row["can"],
        row["most_slots"],
        row["ephemeral"],
        token.id,
        asked.public_key,
        "",
        1,
        EnrolmentState.PENDING if token.approval else EnrolmentState.ACTIVE,
        asked.address,
        asked.now_ns,
        None,
        "",
    )
    _make_way(db, token, name, asked.now_ns)
    if token.approval:
        _refuse_crowd(db)
    db.conn.execute(_INSERT_CREDENTIAL, made)
    db.conn.execute("UPDATE worker_tokens SET used = used + 1 WHERE id = ?", (token.id,))
    audit.insert(db, note(f"{name} {asked.id} by {token.id}"))
    return _credential(made._asdict())


def _refused(why: str) -> errors.Unauthenticated:
    return errors.Unauthenticated(
        f"The worker token is {why}.", hint="Ask an administrator for a new one: sluice worker-token create."
    )


def _name(token: WorkerToken, asked: Asked) -> str:
    name = asked.name or token.name or asked.host
    if token.name and name != token.name:
        raise errors.InvalidParams(
            f"The token is for worker {token.name}, and this one is called {name}.", hint=f"Use --name {token.name}."
        )
    return name


def _make_way(db: Database, token: WorkerToken, name: str, now_ns: int) -> None:
    """A token that names a worker replaces the credential of that worker; any other finds the name taken."""
    old = named(db, name)
    if old is None:
        return
    if not token.name:
        raise errors.AlreadyExists(
            f"There is a worker {name} already, with a key of its own.",
            hint=f"Choose another --name; or replace that one: sluice worker-token create --name {name}.",
        )
    decide(db, old.id, EnrolmentState.REVOKED, now_ns, f"token {token.id}", None)


def _refuse_crowd(db: Database) -> None:
    if db.table("worker_credentials").count_where("state = 'pending'") >= MOST_PENDING:
        raise errors.Busy(
            f"{MOST_PENDING} workers wait to be approved already.", hint="Approve or revoke some: sluice worker list."
        )


def decide(
    db: Database, id: str, state: EnrolmentState, now_ns: int, by: str, audit_row: AuditRow | None
) -> Credential | None:
    """Give a credential that was not revoked another state; None when there is none such."""
    done = db.conn.execute(
        "UPDATE worker_credentials SET state = ?, decided_at_ns = ?, decided_by = ?"
        " WHERE id = ? AND state != 'revoked'",
        (state, now_ns, by, id),
    ).rowcount
    if not done:
        return None
    if audit_row is not None:
        audit.insert(db, audit_row)
    return credential(db, id)


def rotate(db: Database, id: str, before: str, after: str, audit_row: AuditRow) -> Credential | None:
    """Put a new key in the place of the present one; None when that is not `before` any more."""
    done = db.conn.execute(
        "UPDATE worker_credentials SET previous_key = public_key, public_key = ?, generation = generation + 1"
        " WHERE id = ? AND public_key = ? AND state = 'active'",
        (after, id, before),
    ).rowcount
    if not done:
        return None
    audit.insert(db, audit_row)
    return credential(db, id)


def prune(db: Database, now_ns: int, keep_ns: int) -> int:
    """Forget what nobody decided about in time, and what has been over for `keep_ns`; how many rows went."""
    gone = db.conn.execute(
        "DELETE FROM worker_credentials WHERE (state = 'pending' AND created_at_ns < ?)"
        " OR (state = 'revoked' AND decided_at_ns < ?)",
        (now_ns - PENDING_SECONDS * NANOSECONDS, now_ns - keep_ns),
    ).rowcount
    gone += db.conn.execute(
        "DELETE FROM worker_tokens WHERE (expires_at_ns < ? OR revoked_at_ns < ?)"
        " AND id NOT IN (SELECT token FROM worker_credentials WHERE state != 'revoked')",
        (now_ns - keep_ns, now_ns - keep_ns),
    ).rowcount
    return int(gone)
