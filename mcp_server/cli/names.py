"""The names that a shell offers where one is to be typed: asked of the engine that runs, quickly, or not at all.

A shell runs this at each press of a key, so that it parses nothing, and a fault is no word on anybody's screen.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

WORD = "--names-of"
"""The first word of the command line for it; what is typed so far follows, without the word that is being typed."""
SECONDS = 1.0
MOST = 200

_DEPLOYMENTS, _JOBS, _TRIGGERS = ("deployment_list", "name"), ("job_list", "name"), ("trigger_list", "slug")
_PLANS, _WORKERS = ("plan_list", "plan_id"), ("worker_list", "name")
_GROUPS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        # the first word of a command of two words -> what its first argument names
        "deployment": _DEPLOYMENTS,
        "job": _JOBS,
        "schedule": _JOBS,
        "runs": _JOBS,
        "trigger": _TRIGGERS,
        "plans": _PLANS,
        "worker": _WORKERS,
    }
)
_COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("status", "plan", "rollback", "history", "reconcile"), _DEPLOYMENTS),
        "apply": _PLANS,
        "logs": _JOBS,
        "series": _JOBS,
        "wait deployment": _DEPLOYMENTS,
        "wait job": _JOBS,
    }
)
_NONE = frozenset({"worker list", "job list", "job validate", "job put", "trigger publish", "plans list", "runs show"})


def wanted(words: Sequence[str]) -> tuple[str, str] | None:
    """(operation, key of its rows) for the word that comes next; None when no name belongs there."""
    path = [word for word in words if not word.startswith("-")]
    if words and words[-1].startswith("-"):
        return None  # the value of a flag
    if len(path) == 1:
        return _COMMANDS.get(path[0])
    two = " ".join(path)
    if len(path) != 2 or two in _NONE:
        return None
    return _COMMANDS.get(two) or _GROUPS.get(path[0])


def offer(words: Sequence[str]) -> int:
    """Print the names for the next word, one a line. Always 0, and silent when there is nothing to offer."""
    home, typed = _home(words)
    if (asked := wanted(typed)) is not None:
        from core import errors  # not for the list of commands, which imports this module

        try:
            for name in asyncio.run(_ask(home, *asked)):
                sys.stdout.write(name + "\n")
        except (errors.SluiceError, OSError, TimeoutError):
            return 0  # a shell has no place for a reason; the command itself tells it
    return 0


def _home(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The home that was typed, and the other words."""
    rest = list(words)
    if "--home" not in rest[:-1]:
        return None, rest
    place = rest.index("--home")
    return Path(rest[place + 1]), rest[:place] + rest[place + 2 :]


async def _ask(home: Path | None, operation: str, key: str) -> list[str]:
    from mcp_server.cli import connect, render

    async with asyncio.timeout(SECONDS), connect.engine(connect.Common(home=home), follows=True) as engine:
        only = {"state": "open"} if operation == "plan_list" else {}  # what was applied is nobody's next word
        page = await engine.call(operation, limit=MOST, **only)
    return [render.printable("", row[key]) for row in page["items"]]
