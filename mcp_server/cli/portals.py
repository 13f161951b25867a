"""`sluice catalog update` and `pack`, and what `portals` and `install` print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core import errors
from mcp_server.cli import connect, render
from mcp_server.cli.catalog import Type


def listed(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print the portals, when each was read and what is wrong with it."""
    shown = [{**one, "error": (one["error"] or {}).get("message")} for one in found["items"]]
    columns = ("name", "title", "state", "items", "versions", "location", "fetched_at", "error")
    render.rows(shown, columns, empty="No portals: give the setting portals, NAME=https://... or NAME=DIRECTORY.")


def installed(done: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print what came from a portal."""
    render.rows(done["installed"], ("type", "slug", "version", "portal", "sha256"), empty="It was there already.")
    connect.note(f"Go on with: sluice catalog show {typed['slug']}")


async def update(
    slug: str | None = None, /, *, type: Type | None = None, common: connect.Common = connect.DEFAULTS
) -> int:
    """Install the newest version of an installed item, or of every one that has an update.

    Parameters
    ----------
    slug
        The item; without it, every one for which `sluice catalog search` shows update-available.
    type
        Its type, when several items share the slug.
    """
    async with connect.engine(common) as engine:
        if slug is not None:
            done = [await engine.call("catalog_update", slug=slug, type=type)]
        else:
            done = [
                await engine.call("catalog_update", slug=one["slug"], type=one["type"])
                for one in await _updatable(engine, type)
            ]
    if common.json:
        render.json(done[0] if slug is not None else {"items": done, "next_cursor": None, "total": len(done)})
    else:
        columns = ("type", "slug", "from_version", "version", "changed")
        render.rows(done, columns, empty="Everything is up to date.")
    return 0


async def _updatable(engine: connect.Client, type: Type | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async for page in engine.pages("catalog_search", type=type, availability="update-available", limit=200):
        found += page["items"]
    return found


def pack(
    directory: Path,
    /,
    *,
    title: str = "",
    author: str = "",
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Check the documents of a directory and write its index.json, which makes it a portal.

    Parameters
    ----------
    directory
        Where the documents are, one a file.
    title
        What the portal is called.
    author
        The author of documents that name none.
    """
    from core.workflows import packing

    if not directory.is_dir():
        raise errors.InvalidParams(f"{directory} is not a directory.", hint="Give the directory of the documents.")
    index = packing.pack(directory, title=title, author=author)
    rows = [item.model_dump(mode="json") for item in index.items]
    if common.json:
        render.json({"title": index.title, "items": rows, "next_cursor": None, "total": len(rows)})
    else:
        render.rows(rows, ("type", "slug", "version", "path", "size", "sha256"), empty="")
        connect.note(
            f"Wrote {directory / 'index.json'}. Offer it with the setting portals: NAME={directory.absolute()}"
        )
    return 0
