"""The audit log: who did what through which door, and what was refused; for admins."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core import clock
from core.engine import Engine
from core.model import results
from core.model.principal import Caller, Role
from core.operations.registry import LISTED, Page, moment, operation, position, rows_page
from core.store import audit as table


class AuditList(Page):
    username: str | None = Field(default=None, max_length=200)
    """By this user."""
    operation: str | None = Field(default=None, max_length=64)
    """Only this operation."""
    target: str | None = Field(default=None, max_length=200)
    """Done to this name or id."""
    label: str | None = Field(default=None, max_length=100)
    """By sessions with this label."""
    surface: Literal["mcp", "http", "cli", "internal"] | None = None
    """Through this door."""
    decision: str | None = Field(default=None, max_length=40)
    """allowed, or the code of a refusal."""
    since: str | None = Field(default=None, max_length=40)
    """ISO 8601, or how long ago (2h, 7d)."""
    until: str | None = Field(default=None, max_length=40)
    """Before this time."""


@operation(
    summary="List who changed what, and what was refused.",
    http="GET /api/audit",
    toolset="administration",
    also_in=("deployments",),
    role=Role.ADMIN,
    outline=LISTED,
)
async def audit_list(engine: Engine, caller: Caller, params: AuditList) -> results.Listing[results.identity.AuditEntry]:
    """List what was changed in this tenant, and the calls that were refused, newest first.

    An entry never has arguments, documents or credentials.
    """
    now = engine.now_ns()
    named = {name: getattr(params, name) for name in ("username", "operation", "label", "surface", "decision")}
    wanted = {name: value for name, value in named.items() if value is not None}
    since = moment(params.since, now, "/since") if params.since is not None else None
    until = moment(params.until, now, "/until") if params.until is not None else None
    before = position(params.cursor)
    rows, total = await engine.database.read(
        table.search, caller.tenant, wanted, params.target, since, until, before, params.limit + 1
    )

    def show(row: table.AuditRow) -> results.identity.AuditEntry:
        return {
            "at": clock.iso(row.id),
            "username": row.username,
            "role": row.role,
            "surface": row.surface,
            "label": row.label,
            "operation": row.operation,
            "target": row.target,
            "decision": row.decision,
            "reason": row.reason,
        }

    page = rows_page(rows, params.limit, show, lambda row: str(row.id))
    return {**page, "total": total}
