"""What an author can build a workflow of."""

from __future__ import annotations

import asyncio

from pydantic import Field

from core.catalog import palette
from core.engine import Engine
from core.model import results
from core.model.principal import Caller, Role
from core.operations.registry import LISTED, MAX_PAGE, Page, offset_page, operation

ROWS = 12  # of a page that is whole as text, too, with what the language has


class PaletteGet(Page):
    query: str = Field(default="", max_length=200)
    """What a step shall do, in words; empty lists every module."""
    part: palette.Part | None = None
    """Only modules that stand here; `whole` has no ports."""
    limit: int = Field(default=ROWS, ge=1, le=MAX_PAGE)
    """Rows a page."""


@operation(
    summary="Show what a workflow can be built of.",
    http="GET /api/palette",
    toolset="workflows",
    outline=LISTED,
    role=Role.VIEWER,
    homeless=True,
)
async def palette_get(engine: Engine, caller: Caller, params: PaletteGet) -> results.catalog.Palette:
    """Show what a workflow can be built of: what the language has (`builtins`, on the first page without a query or
    part), and the blueprints and workflows that a step may use (`items`), sources first.

    A module's ports are called in and out where it does not say otherwise; with: its parameters (?: optional).
    """
    every = await engine.library.collection(caller.tenant)
    found = await asyncio.to_thread(palette.modules, every.listed, params.part, params.query)
    page = offset_page(found, params)
    first = params.cursor is None and params.part is None and not params.query.strip()
    answer: results.catalog.Palette = {
        "total": page["total"],
        "next_cursor": page["next_cursor"],
        "items": page["items"],
    }
    if first:
        answer["builtins"] = [one.row() for one in palette.BUILTINS]
    return answer
