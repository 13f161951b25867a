"""People who sign in with a provider, service accounts, and the role bindings that say what either may."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import enrolment  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS, table


@STEPS()
def m0037_people(db: Database) -> None:
    table(
        db,
        "role_bindings",
        {
            "id": str,
            "kind": str,
            "issuer": str,
            "name": str,
            "tenant": str,
            "role": str,
            "platform": int,
            "created_at_ns": int,
            "created_by": str,
        },
        "id",
    )
    db.table("role_bindings").create_index(["kind", "issuer", "name", "tenant"], unique=True)
    table(
        db,
        "service_accounts",
        {"name": str, "tenant": str, "description": str, "created_at_ns": int, "created_by": str},
        ("tenant", "name"),
    )
    table(
        db,
        "people",
        {"issuer": str, "subject": str, "username": str, "display_name": str, "email": str, "first_at_ns": int,
         "last_at_ns": int},
        ("issuer", "subject"),
    )  # fmt: skip
    db.table("people").create_index(["username"], unique=True)
    table(
        db,
        "logins",
        {"id": str, "issuer": str, "subject": str, "session": str, "groups": str, "read_at_ns": int,
         "renewal": bytes, "created_at_ns": int, "ended_at_ns": int, "ended_because": str},
        "id",
        nullable="renewal ended_at_ns",
    )  # fmt: skip
    db.table("logins").create_index(["issuer", "subject"])
    db.execute("ALTER TABLE tokens ADD COLUMN login TEXT")
    db.execute("ALTER TABLE tokens ADD COLUMN account TEXT")
    db.execute("CREATE INDEX idx_tokens_login ON tokens(login) WHERE login IS NOT NULL")
    db.execute("CREATE INDEX idx_tokens_account ON tokens(account) WHERE account IS NOT NULL")
