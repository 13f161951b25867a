"""`sluice trigger publish` and `revise`, what `invoke` gives, and what `show` and `tools` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from core import errors
from core.documents import Document
from mcp_server.cli import connect, documents, invocations, render, wording

File = Annotated[str, Parameter(name=("--file", "-f"), allow_leading_hyphen=True)]
_FACTS = (
    *("slug", "tenant_id", "revision", "active", "invokable", "display_name", "description", "target_job_name", "mode"),
    *("tool_name", "tags", "created_at_ns", "created_by"),
)

_PUBLISHED = ("slug", "tenant_id", "revision", "active", "tool_name")


def show(trigger: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print a trigger, or what differs between two of its revisions."""
    if "compare" in typed:
        render.heading(f"From revision {typed['compare']} to {trigger['revision']}")
        render.rows(trigger["changes"], ("key", "before", "after"), empty="Nothing differs.")
        return
    render.facts(trigger, _FACTS)
    render.heading("Definition")
    render.text(render.yaml(trigger["definition"]))
    render.heading("Revisions")
    render.rows(trigger["revisions"], ("revision", "created_at_ns", "created_by"), empty="")


def tools(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print the MCP tools that the caller's triggers are."""
    rows = [{**tool, "summary": str(tool["description"]).partition("\n")[0]} for tool in found["tools"]]
    render.rows(rows, ("name", "summary"), empty="No trigger is published to MCP, or you may invoke none.")


async def publish(*, file: File, common: connect.Common = connect.DEFAULTS) -> int:
    """Publish a trigger definition.

    Parameters
    ----------
    file
        The definition in JSON or YAML, or - for standard input.
    """
    document = documents.one(file)
    return await _define("trigger_publish", document, document.data, common)


async def revise(slug: str, /, *, file: File, common: connect.Common = connect.DEFAULTS) -> int:
    """Publish a new revision of a trigger; the file holds the full definition.

    Parameters
    ----------
    slug
        The trigger.
    file
        The definition in JSON or YAML, or - for standard input.
    """
    document = documents.one(file)
    definition = {"slug": slug, **document.data}
    if definition["slug"] != slug:
        raise errors.InvalidParams(
            f"{document.origin} defines {errors.shorten(definition['slug'], 60)}, not {slug}.",
            errors=[errors.Problem("/slug", f"must be {slug} or left out", document.where("/slug"))],
        )
    return await _define("trigger_revise", document, definition, common)


async def _define(operation: str, document: Document, definition: dict[str, Any], common: connect.Common) -> int:
    with documents.blamed(document):
        async with connect.engine(common) as engine:
            result = await engine.session.call(operation, definition, engine.caller)
    if common.json:
        render.json(result)
        return 0
    render.facts(result, _PUBLISHED)
    render.section("Changes", result.get("changes", ()), ("path", "old", "new"))
    for warning in result["warnings"]:
        render.heading(f"Warning: {warning['code']}")
        render.text(warning["message"])
        for call in warning["mend"]:
            render.text(
                f"  {wording.command(call['call'], call['arguments'])}\n      {render.printable('', call['why'])}"
            )
    return 0


def with_params(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> dict[str, Any]:
    """The parameters of a run: those of --set over those of --file; and its callback."""
    file = beside.get("file")
    params = {**(documents.one(file).data if file is not None else {}), **given.get("params", {})}
    return invocations.with_callback({**given, "params": params}, beside, common)
