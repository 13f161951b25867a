"""What MCP hosts were let in to do: grants, and the access tokens of each."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import people  # noqa: F401 - its step comes before this one
from core.store.migrations.steps import STEPS, table


@STEPS()
def m0038_mcp_grants(db: Database) -> None:
    table(
        db,
        "mcp_grants",
        {"token": str, "client_id": str, "scopes": str, "resource": str, "refresh_hash": str, "spent_hash": str,
         "ends_at_ns": int},
        "token",
    )  # fmt: skip
    db.table("mcp_grants").create_index(["refresh_hash"], unique=True)
    db.table("mcp_grants").create_index(["spent_hash"])
    table(db, "mcp_access", {"hash": str, "token": str, "ends_at_ns": int}, "hash")
    db.table("mcp_access").create_index(["token"])
