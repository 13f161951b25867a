"""Service accounts: names that own API keys and sign in nowhere. Each is of one tenant, and known as TENANT/NAME."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlite_utils import Database

from core import errors
from core.store import audit
from core.store.audit import AuditRow
from core.store.rows import insertion

MOST = 1000  # of all tenants together


class Account(NamedTuple):
    """One of them, and the tenant whose admins look after it."""

    name: str
    tenant: str
    description: str
    created_at_ns: int
    created_by: str

    @property
    def id(self) -> str:
        """How tokens and role bindings name it."""
        return f"{self.tenant}/{self.name}"


_INSERT = insertion("service_accounts", Account)
_SELECT = f"SELECT {', '.join(Account._fields)} FROM service_accounts"


def insert(db: Database, one: Account, audit_row: AuditRow) -> None:
    """Keep an account. Raises AlreadyExists for a name that is taken in its tenant, QuotaExceeded."""
    if find(db, one.tenant, one.name) is not None:
        raise errors.AlreadyExists(
            f"There is a service account {one.name} already.", hint="service_account_list shows it; or choose a name."
        )
    if db.table("service_accounts").count >= MOST:
        raise errors.QuotaExceeded(f"There are {MOST} service accounts already.", hint="Delete those out of use.")
    db.conn.execute(_INSERT, one)
    audit.insert(db, audit_row)


def find(db: Database, tenant: str, name: str) -> Account | None:
    found = db.conn.execute(f"{_SELECT} WHERE tenant = ? AND name = ?", (tenant, name))
    return next((Account(*row) for row in found), None)


def all_rows(db: Database) -> list[Account]:
    return [Account(*row) for row in db.conn.execute(f"{_SELECT} ORDER BY tenant, name")]


def keys_of(db: Database, account: Account) -> list[str]:
    """The ids of its API keys that were not withdrawn."""
    of_it = "account = ? AND revoked_at_ns IS NULL"
    found = db.conn.execute(f"SELECT id FROM tokens WHERE {of_it} ORDER BY id", (account.id,))
    return [id for (id,) in found]


def delete(db: Database, account: Account, at_ns: int, note: Callable[[str], AuditRow]) -> list[str]:
    """Take an account away with its bindings, and withdraw its keys: their ids. `note` makes the audit row of what
    went."""
    id, keys = account.id, keys_of(db, account)
    db.conn.execute("UPDATE tokens SET revoked_at_ns = ? WHERE account = ? AND revoked_at_ns IS NULL", (at_ns, id))
    db.conn.execute("DELETE FROM role_bindings WHERE kind = 'service_account' AND name = ?", (id,))
    db.conn.execute("DELETE FROM service_accounts WHERE tenant = ? AND name = ?", (account.tenant, account.name))
    audit.insert(db, note(", ".join([account.name, *keys])))
    return keys
