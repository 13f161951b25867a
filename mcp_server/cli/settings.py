"""`sluice settings`: what the running engine was told, and by whom; and a sluice.toml to start from."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from core import effective, errors, homes, ownership, precedence, settingsfile
from mcp_server.cli import connect, render

Flag = Annotated[bool, Parameter(negative=())]


async def settings(
    *, changed: Flag = False, template: Flag = False, init: Flag = False, common: connect.Common = connect.DEFAULTS
) -> int:
    """Show every setting of the engine, where it came from, and what a restart would change.

    Parameters
    ----------
    changed
        Only those that are not the default, or that a restart would change.
    template
        Print a sluice.toml to start from instead: every setting as a comment.
    init
        Put that file into the home, unless there is one.
    """
    if template:
        sys.stdout.write(settingsfile.template())
        return 0
    if init:
        return _init(common.settings().home)
    if common.url is None and not homes.begun(common.place) and not ownership.held(common.place):
        told = _to_be(common.place)
    else:
        async with connect.engine(common) as engine:
            told = await engine.call("settings_get")
    if common.json:
        render.json(told)
        return 0
    if not told["running"]:
        connect.note("No engine is running: these are what it would have in this shell. Start one: sluice serve\n")
    rows = [_row(one) for one in told["items"] if not changed or one["source"] != "default" or "after_restart" in one]
    render.rows(rows, ("setting", "value", "from", "after a restart"), empty="Everything is as by default.")
    if told["restart"]:
        connect.note(f"{told['file']} has changed: takes effect after a restart of the engine.")
    if told["unknown_groups"]:
        connect.note(
            f"Tables of worker groups that are not there apply to nobody: {', '.join(told['unknown_groups'])}."
        )
    if told["fault"]:
        fault = told["fault"]
        connect.note(f"No engine would start with {told['file']} as it is: {fault['message']}")
        for one in fault["errors"]:
            connect.note(f"  {one.get('where') or one['pointer']}: {one['message']}")
    return 0


def _to_be(home: Path) -> dict[str, Any]:
    """What an engine would have that began a home there; asking makes none."""
    settings = precedence.of_shell(home)
    known = {"default", *settings.worker_groups}
    return {**effective.explain(settings, lambda name: name if name in known else None), "running": False}


def _row(one: dict[str, Any]) -> dict[str, Any]:
    place = one["where"].rpartition("/")[2] or one["source"]
    if "overrules" in one:
        place += f" (above {', '.join(at.rpartition('/')[2] for at in one['overrules'])})"
    row = {"setting": one["name"], "value": one["value"], "from": place}
    if "after_restart" in one:
        later = "as for all" if one["after_restart"] is None else render.printable("", one["after_restart"])
        row["after a restart"] = f"{later} ({one['says'].rpartition('/')[2]})"
    return row


def _init(home: Path) -> int:
    """Write the template where nothing is. Raises AlreadyExists."""
    path = ownership.prepare(home) / settingsfile.NAME
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise errors.AlreadyExists(
            f"{path} is there already.", hint="'sluice settings --template' prints one."
        ) from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(settingsfile.template())
    connect.note(f"Wrote {path}")
    return 0
