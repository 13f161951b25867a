"""What a tenant keeps in the store, beside what it may keep."""

from __future__ import annotations

from typing import Any

from core.engine import Engine
from core.model import results
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import operation
from core.store import kv_usage
from core.triggers.quota import MIB


class UsageGet(Params):
    pass


@operation(
    summary="Show how much this tenant keeps, and how much it may.",
    http="GET /api/usage",
    toolset="administration",
    tool=False,
    role=Role.VIEWER,
)
async def usage_get(engine: Engine, caller: Caller, params: UsageGet) -> results.engine.UsageList:
    """What the invocations of this tenant, those of this user in it, and its KV store take, in records and bytes:
    items of {what, records, bytes, most_bytes, setting}; `refused` counts the runs that this engine refused for want
    of room, of all tenants."""
    settings, quota = engine.settings, engine.quota
    tenant, user = quota.of(caller.tenant), quota.of(caller.tenant, caller.username)
    kept = await engine.database.read(kv_usage.used, caller.tenant)
    return {
        "items": [
            _row("invocations of the tenant", tenant.records, tenant.bytes, settings, "invocation_tenant_mb"),
            _row(f"invocations of {caller.username}", user.records, user.bytes, settings, "invocation_user_mb"),
            _row("KV store of the tenant", None, kept, settings, "kv_tenant_mb"),
        ],
        "refused": quota.refused,
    }


def _row(what: str, records: int | None, kept: int, settings: Any, setting: str) -> results.engine.Usage:
    most = getattr(settings, setting) * MIB
    return {"what": what, "records": records, "bytes": kept, "most_bytes": most, "setting": setting}
