"""`sluice plan`, `rollback`, `deployment reset` and `group rebalance`: what deployments would change, computed and
saved; and what is printed of plans."""

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


async def rebalance(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Compute and save the plans that even out a worker group; the exit code is that of the worst of them."""
    async with connect.engine(common) as engine:
        made = await engine.call("worker_group_rebalance", **given)
    if common.output == "name":
        render.text("\n".join(one["plan_id"] for one in made["plans"]))
        return codes.OK
    if common.json:
        render.json(made)
    elif not made["plans"]:
        connect.note(made["text"])
    for one in made["plans"] if not common.json else ():
        _show(one)
    return max(map(_code, made["plans"]), default=codes.OK) if beside.get("exit_code") else codes.OK


async def _tree(engine: connect.Client, made: dict[str, Any]) -> None:
    """Print the steps of what is planned, as a tree."""
    kind, _, rest = made["source"].partition(":")
    slug, _, version = rest.partition("@")
    which = {"slug": slug, "type": kind or None, "version": version or None}
    item = await engine.call("catalog_get", **which, detail="detailed")
    if item.get("graph"):
        render.text("\n".join([*graphs.tree(item["graph"], made["name"], graphs.marks(made)), ""]))


def _planned(made: dict[str, Any], common: connect.Common, *, exit_code: bool) -> int:
    if common.json:
        render.json(made)
    else:
        _show(made)
    return _code(made) if exit_code else codes.OK


def _changes(made: dict[str, Any]) -> int:
    return sum(number for what, number in made["summary"].items() if what != "unchanged")


def _show(made: dict[str, Any]) -> None:
    text(made["text"])
    if _changes(made) and made["saved"] and not made["blockers"]:
        render.text(f"\nTo carry it out: sluice apply {made['plan_id']}")


def _code(made: dict[str, Any]) -> int:
    return codes.BLOCKED if made["blockers"] else codes.CHANGES if _changes(made) else codes.OK


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
