"""`sluice trigger publish`, `revise` and `invoke`, and what `show` and `tools` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from core import errors
from core.documents import Document
from mcp_server.cli import connect, documents, invocations, progress, render

File = Annotated[str, Parameter(name=("--file", "-f"), allow_leading_hyphen=True)]
_FACTS = (
    *("slug", "tenant_id", "revision", "active", "invokable", "display_name", "description", "target_job_name", "mode"),
    *("tool_name", "tags", "created_at_ns", "created_by"),
)


def shown(trigger: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Print a trigger, or what differs between two of its revisions."""
    if "compare" in given:
        render.heading(f"From revision {given['compare']} to {trigger['revision']}")
        render.rows(trigger["changes"], ("key", "before", "after"), empty="Nothing differs.")
        return
    render.facts(trigger, _FACTS)
    render.heading("Definition")
    render.text(render.yaml(trigger["definition"]))
    render.heading("Revisions")
    render.rows(trigger["revisions"], ("revision", "created_at_ns", "created_by"), empty="")


def tools(found: dict[str, Any], given: Mapping[str, Any]) -> None:
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
    return render.one(result, as_json=common.json)


async def invoke(
    slug: str,
    /,
    *,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    file: Annotated[str | None, Parameter(name=("--file", "-f"), allow_leading_hyphen=True)] = None,
    idempotency_key: str | None = None,
    wait: int | None = None,
    callback: str | None = None,
    callback_header: invocations.Header = None,
    callback_header_env: invocations.HeaderEnv = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Run a trigger now, and wait for its result.

    Parameters
    ----------
    slug
        The trigger.
    set_
        A parameter, NAME=VALUE; may be repeated. A value that reads as JSON is that, otherwise it is text.
    file
        The parameters as one JSON or YAML object, or - for standard input; --set goes over it.
    idempotency_key
        A second call with the same key gives the first call's invocation.
    wait
        How many seconds to wait for the end (0-300).
    callback
        Post each change of state to this address.
    callback_header
        A header of these posts, NAME=VALUE; may be repeated.
    callback_header_env
        The same with the value taken from an environment variable, NAME=VARIABLE.
    """
    given = {**(documents.one(file).data if file is not None else {}), **documents.values(set_ or ())}
    async with connect.engine(common) as engine:
        with progress.bar(engine, slug, f"running {slug}", quiet=common.json):
            result = await engine.call(
                "trigger_invoke",
                slug=slug,
                params=given,
                idempotency_key=idempotency_key,
                wait_timeout_seconds=wait,
                callback=invocations.callback_of(callback, callback_header, callback_header_env),
            )
    return invocations.end(result, common)
