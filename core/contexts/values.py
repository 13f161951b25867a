"""The context values of a tenant: kept at one place each, listed, taken away."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from core import clock, errors, pointers
from core.contexts.layers import Layers, Level
from core.documents import differences
from core.model.principal import Caller
from core.store import audit
from core.store import contexts as table
from core.store.audit import AuditRow
from core.store.database import Database

if TYPE_CHECKING:
    from core.model.results import contexts

MAX_VALUE_BYTES = 64 * 1024
RESERVED = frozenset({"wizard", "secrets"})  # {{wizard.x}} is an answer, {{secrets.x}} a secret
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_ORDER = [level.value for level in Level]


class Place(NamedTuple):
    """Where a value is set; `target` is empty on the global level."""

    level: Level
    target: str

    def __str__(self) -> str:
        return f"{self.level.value} {self.target}".strip()


async def layers_of(database: Database, tenant: str) -> Layers:
    """The contexts of a tenant as they are now."""
    return Layers.from_rows(await database.read(table.of_tenant, tenant))


async def listed(database: Database, tenant: str) -> list[dict[str, Any]]:
    """Every value of a tenant, the weakest level first, as the store has it: level, target, key, value, updated_*."""
    rows = await database.read(table.of_tenant, tenant)
    return sorted(rows, key=lambda row: (_ORDER.index(row["level"]), row["target"], row["key"]))


async def at(database: Database, tenant: str, place: Place) -> dict[str, Any]:
    """What is set at a place."""
    rows = await database.read(table.of_tenant, tenant)
    here = (place.level.value, place.target)
    return {row["key"]: row["value"] for row in rows if (row["level"], row["target"]) == here}


async def changes(
    database: Database, tenant: str, equal: Mapping[str, str], before: int | None, limit: int
) -> tuple[list[table.ContextChange], int]:
    """What was set and removed, newest first, and how many there are; `equal` says which level, target and key."""
    rows = await database.read(table.changes, tenant, equal, before, limit)
    return rows, await database.read(table.count_changes, tenant, equal)


def change_to_answer(change: table.ContextChange) -> contexts.ContextChange:
    """A change without the side that has no value, and with credentials masked."""
    hidden = differences.is_credential(change.key)
    shown: contexts.ContextChange = {
        "at": clock.iso(change.at_ns),
        "by": change.username,
        "surface": change.surface,
        "level": change.level,
        "target": change.target,
        "key": change.key,
    }
    if change.old:
        shown["old"] = differences.masked(orjson.loads(change.old), secret=hidden)
    if change.new:
        shown["new"] = differences.masked(orjson.loads(change.new), secret=hidden)
    return shown


async def put(database: Database, id: int, caller: Caller, place: Place, values: Mapping[str, Any]) -> int:
    """Keep values at a place; others of it stay. Returns how many changed; `id` is that of the audit row.

    Raises InvalidParams with a pointer to each key or value that cannot be kept.
    """
    texts = {key: orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() for key, value in values.items()}
    problems = [
        errors.Problem(f"/values/{pointers.escape(key)}", fault)
        for key, text in texts.items()
        if (fault := _fault(key, values[key], text))
    ]
    if problems:
        raise errors.InvalidParams("Some of the values cannot be kept.", errors=problems)
    common = {
        "tenant": caller.tenant,
        "level": place.level.value,
        "target": place.target,
        "updated_at_ns": clock.now_ns(),
        "updated_by": caller.username,
    }
    rows = [{**common, "key": key, "value": text} for key, text in texts.items()]
    changed: int = await database.write(table.put, rows, _note(id, caller, "context_set", place, values))
    return changed


def _fault(key: str, value: Any, text: str) -> str:
    """Why a value cannot be kept under a key; empty when it can."""
    if not _KEY.fullmatch(key):
        return "is no key: use letters, digits, _ and - (at most 100)"
    if key in RESERVED:
        return f"{key} has a meaning of its own in documents"
    if value is None:
        return "null is no value; context_delete removes a key"
    return f"takes {len(text)} bytes; at most {MAX_VALUE_BYTES}" if len(text) > MAX_VALUE_BYTES else ""


async def delete(database: Database, id: int, caller: Caller, place: Place, keys: list[str] | None) -> list[str]:
    """Remove keys from a place, all of them when None: those that went. Raises NotFound when none did."""
    note = _note(id, caller, "context_delete", place, keys or ["all keys"])
    gone: list[str] = await database.write(table.delete, caller.tenant, place.level.value, place.target, keys, note)
    if not gone:
        raise errors.NotFound(f"None of these keys is set at {place}.", hint="context_list shows what is set where.")
    return gone


def _note(id: int, caller: Caller, operation: str, place: Place, keys: Collection[str]) -> AuditRow:
    return audit.row(id, caller, operation, f"{caller.tenant}/{place}: {', '.join(sorted(keys))}")
