"""`sluice workflow show`, and what the other commands of `sluice workflow` print."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core import errors
from mcp_server.cli import connect, documents, graphs, render


async def show(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> int:
    """Print a document: its text, versions, graph, and the faults of a draft."""
    async with connect.engine(common) as engine:
        item = await engine.call("workflow_get", **given, detail="detailed")
    if "graph" in beside:
        graphs.show(item, beside["graph"])
    elif common.json:
        item.pop("text")  # as the other doors answer, where `document` says the same
        render.json(item)
    else:
        names = ("type", "slug", "version", "state", "draft_revision", "title", "source", "derived_from", "updated_by")
        render.facts(item, names)
        graphs.tables(item["graph"])
        render.section("Versions", item["versions"], ("version", "state", "published_at", "updated_by", "derived_from"))
        fields = ("field", "type", "required", "default")
        render.section("Fields (give them with --set FIELD=VALUE)", item["wizard"], fields)
        _faults(item, f"draft of {item['slug']}")
        render.heading("Document")
        render.text(item["text"])
    return 0


def no_file(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> dict[str, Any]:
    """The arguments as they are. Raises InvalidParams for the name of a file in the place of a slug or source."""
    what = next((name for name in ("slug", "source") if name in given), "")
    typed = str(given.get(what, ""))
    if "document" not in given and Path(typed).suffix in (".yaml", ".yml", ".json") and Path(typed).is_file():
        raise errors.InvalidParams(
            f"{errors.shorten(typed, 100)} is a file, and this takes the {what} of what is saved.",
            hint=f"For a file: -f {shlex.quote(errors.shorten(typed, 100))}",
        )
    return given


def palette(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print what the language has, and the modules that a step may use."""
    render.section("The language", found.get("builtins", ()), ("name", "kind", "does", "write", "settings"))
    render.heading("Modules")
    columns = ("use", "part", "does", "in", "out", "with", "needs")
    render.rows(found["items"], columns, empty="No module fits.", more=found["next_cursor"])


def saved(draft: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print a draft, and what is to be mended in it."""
    render.facts(draft, ("type", "slug", "draft_revision", "changed", "valid"))
    _faults(draft, typed["origin"])


def validated(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print every fault of a document or a draft."""
    documents.tell(found["message"], typed["origin"])
    _faults({**found, "errors": documents.untold(found)}, typed["origin"])


def published(done: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print the version that a draft has become."""
    render.facts(done, ("type", "slug", "version", "state", "changed"))
    if done["type"] == "blueprint":
        connect.note(f"Use it in a step (use: {done['source']}); without open ports, it can be planned as it is.")
    elif done["type"] == "workflow":
        connect.note(f"Deploy it with: sluice plan NAME --from {done['source']}")


def cloned(draft: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print the text of a copy, and what is to be done to it."""
    render.text(draft["document"])
    for fault in draft["errors"]:
        connect.note(f"to do: {fault['message']} {fault['hint']}")
    revision = draft["draft_revision"]
    connect.note(f"Saved as a draft. Edit it with: sluice workflow save -f FILE --base-revision {revision}")


def differing(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print what differs between two versions."""
    render.text(found["text"])


def _faults(result: dict[str, Any], name: str) -> None:
    """Every fault as file:line:column, what is wrong and what to do, as compilers print them."""
    for kind in ("errors", "warnings"):
        for told in result.get(kind) or ():
            mark = "" if kind == "errors" else "warning: "
            place = told.get("where") or f"{name} {told['pointer']}"
            hint = f"\n    {told['hint']}" if told.get("hint") else ""
            render.text(f"{place}: {mark}{told['message']}{hint}")
    if result.get("errors_left_out"):
        render.text(f"... and {result['errors_left_out']} more")
