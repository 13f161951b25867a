"""`sluice dsl` and `sluice schema`: what somebody who writes documents needs at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core import errors
from core.dsl.reference import entries
from mcp_server.cli import connect, render


async def dsl(*words: str, key: str | None = None, common: connect.Common = connect.DEFAULTS) -> int:
    """Look up the job language: nothing for all names, KIND, KIND/NAME, NAME, or search WORDS.

    Parameters
    ----------
    words
        What to look up.
    key
        One key of an entry and what stands below it, e.g. auth or auth.basic.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("dsl_reference", **_asked(words), key=key)
    if common.json:
        render.json(result)
    else:
        _show(result)
    return 0


def _asked(words: tuple[str, ...]) -> dict[str, str]:
    if not words:
        return {}
    first, *rest = words
    if first == "search":
        return {"query": " ".join(rest)}
    if rest:
        raise errors.InvalidParams(
            "`sluice dsl` takes one thing to look up.", hint="KIND, NAME or KIND/NAME; or `sluice dsl search WORDS`."
        )
    kind, slash, name = first.partition("/")
    if slash:
        return {"kind": kind, "name": name}
    return {"kind": first} if first in entries.KINDS else {"name": first}


def _show(result: dict[str, Any]) -> None:
    if "items" in result:
        render.rows(result["items"], ("kind", "name", "key", "summary"), empty="Nothing is like that.")
    elif "about" in result:
        render.heading(f"{result['kind']} {result['name']}")
        render.text(result["about"])
        if result.get("keys"):
            render.heading("Keys")
            render.text("\n".join(f"  {line}" for line in result["keys"]))
        if result.get("example"):
            render.heading("Example")
            render.text(result["example"])
        for name in ("also", "more"):
            if result.get(name):
                render.text(f"\n{result[name]}")
    else:
        render.facts(result, tuple(result))


def schema(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print a schema, which is JSON for people, too."""
    render.json(found)


def configuration(written: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print a configuration, to be written into a file."""
    render.text(written["config"].rstrip("\n"))


def sections(told: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print facts below the headings that they stand under."""
    for name, facts in told.items():
        render.heading(name)
        render.facts(facts, tuple(facts))
