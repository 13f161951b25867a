"""`sluice context`: what `{{name}}` stands for in documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from core import errors
from mcp_server.cli import connect, documents, render


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Place:
    """At most one of these; none means global."""

    environment: str | None = None
    "Of an environment, such as dev or prod."
    group: str | None = None
    "Of a worker group."
    worker: str | None = None
    "Of one worker."
    job: str | None = None
    "Of one job."

    def given(self) -> dict[str, str]:
        named = {"environment": self.environment, "group": self.group, "worker": self.worker, "job": self.job}
        return {name: value for name, value in named.items() if value is not None}


GLOBAL = Place()


async def set_values(
    *pairs: Annotated[str, Parameter(name="KEY=VALUE", allow_leading_hyphen=True)],
    place: Place = GLOBAL,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Set values: KEY=VALUE ...; a value that reads as JSON is that, else it is text. Not for passwords.

    Parameters
    ----------
    pairs
        KEY=VALUE, one or more.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("context_set", values=documents.values(pairs, "KEY=VALUE:"), **place.given())
    return render.one(result, as_json=common.json)


async def get(*, place: Place = GLOBAL, common: connect.Common = connect.DEFAULTS) -> int:
    """Show what a job in some place sees, and which level gives it; the flags can be combined."""
    async with connect.engine(common) as engine:
        result = await engine.call("context_get", **place.given())
    if common.json:
        render.json(result)
        return 0
    rows = [{"key": key, "value": value, "from": result["from"][key]} for key, value in result["values"].items()]
    render.rows(rows, ("key", "value", "from"), empty="Nothing is set. Set a value with: sluice context set KEY=VALUE")
    return 0


async def list_values(
    *,
    level: str | None = None,
    place: Place = GLOBAL,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """List what is set, and where.

    Parameters
    ----------
    level
        Only one level: global, environment, group, worker or job.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("context_list", level=level, limit=limit, cursor=cursor, **place.given())
    return render.page(
        result,
        ("level", "target", "key", "value", "updated_at", "updated_by"),
        empty="Nothing is set. Set a value with: sluice context set KEY=VALUE",
        as_json=common.json,
    )


async def delete(
    *keys: str, every: bool = False, place: Place = GLOBAL, common: connect.Common = connect.DEFAULTS
) -> int:
    """Remove keys from one place.

    Parameters
    ----------
    keys
        Which keys.
    every
        All keys of the place, instead of naming them.
    """
    if every == bool(keys):
        raise errors.InvalidParams("Name the keys to remove, or say --every.")
    async with connect.engine(common) as engine:
        result = await engine.call("context_delete", keys=None if every else list(keys), **place.given())
    return render.one(result, as_json=common.json)
