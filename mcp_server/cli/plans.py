"""`sluice plan`, `rollback` and `deployment reset`: what a deployment would change, computed and saved; and what is
printed of plans."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from mcp_server.cli import codes, connect, graphs, render, wording


async def plan(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Compute what a deployment would change, show it, and save it for `sluice apply`."""
    async with connect.engine(common) as engine:
        made = await engine.call("deployment_plan", **given)
        if beside.get("tree") and not common.json:
            await _tree(engine, made)
    return _planned(made, common, exit_code=bool(beside.get("exit_code")))


async def reset(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Compute and save a plan by which the readers of a step read from another place."""
    async with connect.engine(common) as engine:
        made = await engine.call("deployment_reset", **given)
    return _planned(made, common, exit_code=bool(beside.get("exit_code")))


async def _tree(engine: connect.Client, made: dict[str, Any]) -> None:
    """Print the steps of what is planned, as a tree."""
    kind, _, rest = made["source"].partition(":")
    slug, _, version = rest.partition("@")
    which = {"slug": slug, "type": kind or None, "version": version or None}
    item = await engine.call("catalog_get", **which, detail="detailed")
    if item.get("graph"):
        render.text("\n".join([*graphs.tree(item["graph"], made["name"], graphs.marks(made)), ""]))


def _planned(made: dict[str, Any], common: connect.Common, *, exit_code: bool) -> int:
    changes = sum(number for what, number in made["summary"].items() if what != "unchanged")
    if common.json:
        render.json(made)
    else:
        text(made["text"])
        if changes and made["saved"] and not made["blockers"]:
            render.text(f"\nTo carry it out: sluice apply {made['plan_id']}")
    if not exit_code:
        return 0
    return codes.BLOCKED if made["blockers"] else codes.CHANGES if changes else codes.OK


def text(value: str) -> None:
    """Print the text of a plan; what it repeats of documents stays as it is."""
    from core.model.plan import QUOTED  # the model of plans is worth its time only where there is one

    for quoted, lines in itertools.groupby(value.split("\n"), lambda line: line.startswith(QUOTED)):
        if quoted:
            render.diff("\n".join(lines))
        else:
            render.text(wording.hint("\n".join(lines)))


def show(made: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print a saved plan, with its state."""
    text(made["text"])
    if made["next_cursor"]:
        connect.note(f"More changes: add --cursor {made['next_cursor']}")
