"""`sluice workflow`: author workflows, perspectives and blueprints."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from mcp_server.cli import connect, documents, graphs, render

File = Annotated[str, Parameter(name=("--file", "-f"), allow_leading_hyphen=True)]
Kind = Literal["workflow", "perspective", "blueprint"]


async def list_workflows(
    query: str = "",
    /,
    *,
    type: Kind | None = None,
    state: Literal["draft", "published", "retired"] | None = None,
    source: Literal["local", "builtin"] | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """List workflows, perspectives and blueprints.

    Parameters
    ----------
    query
        Words to look for in slugs and titles.
    type
        Only documents of this kind.
    state
        Only documents with something in this state.
    source
        Only your own (local), or only what comes with Sluice.
    limit
        How many rows.
    cursor
        Where the last page ended.
    """
    given = {"query": query or None, "type": type, "state": state, "source": source, "limit": limit, "cursor": cursor}
    async with connect.engine(common) as engine:
        found = await engine.call("workflow_list", **given)
    return render.page(
        found,
        ("type", "slug", "version", "states", "draft_revision", "title", "source", "updated_by"),
        empty="Nothing fits. Save one with: sluice workflow save -f workflow.yaml",
        as_json=common.json,
    )


async def show(
    slug: str,
    /,
    *,
    type: Kind | None = None,
    version: str | None = None,
    graph: graphs.Format | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Show a workflow, perspective or blueprint: its text, versions, graph, and the faults of a draft.

    Parameters
    ----------
    slug
        The document.
    type
        Its kind; workflow when it is not given.
    version
        A version, or draft; without it the newest version, or the draft when nothing is published.
    graph
        Print its graph instead: tree, mermaid or svg.
    """
    async with connect.engine(common) as engine:
        item = await engine.call("workflow_get", slug=slug, type=type, version=version, detail="detailed")
    if graph is not None:
        graphs.show(item, graph)
    elif common.json:
        item.pop("text")  # as the other doors answer, where `document` says the same
        render.json(item)
    else:
        names = ("type", "slug", "version", "state", "draft_revision", "title", "source", "derived_from", "updated_by")
        render.facts(item, names)
        graphs.tables(item["graph"])
        _table("Versions", item["versions"], ("version", "state", "published_at", "updated_by", "derived_from"))
        _table("Fields (give them with --set FIELD=VALUE)", item["wizard"], ("field", "type", "required", "default"))
        _faults(item, f"draft of {slug}")
        render.heading("Document")
        render.text(item["text"])
    return 0


async def save(*, file: File, base_revision: int | None = None, common: connect.Common = connect.DEFAULTS) -> int:
    """Save a document as a draft, faults and all.

    Parameters
    ----------
    file
        The document, or - for standard input.
    base_revision
        The draft revision that this edit started from; not for a new draft.
    """
    text, name = documents.text(file)
    with documents.named(name):
        async with connect.engine(common) as engine:
            result = await engine.call("workflow_save_draft", document=text, base_revision=base_revision)
    _saved(result, name, as_json=common.json)
    return 0


async def validate(
    slug: str | None = None,
    /,
    *,
    file: Annotated[str | None, Parameter(name=("--file", "-f"), allow_leading_hyphen=True)] = None,
    type: Kind | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Check a file, or a saved draft: every fault at once, each with its place. 1 when there are any.

    Parameters
    ----------
    slug
        The draft to check, instead of a file.
    file
        The document, or - for standard input.
    type
        The kind of the draft.
    """
    text, name = documents.text(file) if file is not None else (None, f"draft of {slug}")
    async with connect.engine(common) as engine:
        result = await engine.call("workflow_validate", document=text, slug=slug, type=type)
    _name_places(result, name)
    if common.json:
        render.json(result)
    else:
        render.text(f"{name}: {result['message']}")
        _faults(result, name)
    return 0 if result["valid"] else 1


async def publish(
    slug: str,
    /,
    *,
    type: Kind | None = None,
    draft_revision: int | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Publish a draft as an immutable version.

    Parameters
    ----------
    slug
        The document.
    type
        Its kind; workflow when it is not given.
    draft_revision
        The revision that you looked at; refused when the draft has moved since.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("workflow_publish", slug=slug, type=type, draft_revision=draft_revision)
    if common.json:
        render.json(result)
    else:
        render.facts(result, ("type", "slug", "version", "state", "changed"))
        if result["type"] == "blueprint":
            connect.note(f"Use it in a step (use: {result['source']}); without open ports, it can be planned as it is.")
        elif result["type"] == "workflow":
            connect.note(f"Deploy it with: sluice plan NAME --from {result['source']}")
    return 0


async def clone(
    slug: str,
    new_slug: str | None = None,
    /,
    *,
    type: Kind | None = None,
    version: str | None = None,
    as_type: Kind | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Copy a published version, or a perspective, into a new draft, and print its text.

    Parameters
    ----------
    slug
        The item to copy.
    new_slug
        The slug of the draft; the same one when it is not given.
    type
        The kind of the item; workflow when it is not given. A perspective becomes a workflow.
    version
        Which version; without it, the newest.
    as_type
        The kind of the draft.
    """
    given = {"slug": slug, "new_slug": new_slug, "type": type, "version": version, "as_type": as_type}
    async with connect.engine(common) as engine:
        result = await engine.call("workflow_clone", **given)
    if common.json:
        render.json(result)
        return 0
    render.text(result["document"])
    for fault in result["errors"]:
        connect.note(f"to do: {fault['message']} {fault['hint']}")
    revision = result["draft_revision"]
    connect.note(f"Saved as a draft. Edit it with: sluice workflow save -f FILE --base-revision {revision}")
    return 0


async def diff(
    slug: str,
    from_version: str | None = None,
    to_version: str | None = None,
    /,
    *,
    type: Kind | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Show what differs between two versions, or between the newest version and the draft.

    Parameters
    ----------
    slug
        The document.
    from_version
        The older side; without it, the version before the newer one.
    to_version
        The newer side, or draft; without it, the draft or the newest version.
    type
        The kind of the document.
    """
    async with connect.engine(common) as engine:
        result = await engine.call(
            "workflow_diff", slug=slug, type=type, from_version=from_version, to_version=to_version
        )
    render.json(result) if common.json else render.text(result["text"])
    return 0


async def retire(
    slug: str, version: str, /, *, type: Kind | None = None, common: connect.Common = connect.DEFAULTS
) -> int:
    """Take a version out of the offer, or throw a draft away.

    Parameters
    ----------
    slug
        The document.
    version
        The version, or draft.
    type
        The kind of the document.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("workflow_retire", slug=slug, version=version, type=type)
    return render.one(result, ("type", "slug", "version", "state", "changed"), as_json=common.json)


def _saved(result: dict[str, Any], name: str, *, as_json: bool) -> None:
    _name_places(result, name)
    if as_json:
        render.json(result)
        return
    render.facts(result, ("type", "slug", "draft_revision", "changed", "valid"))
    _faults(result, name)


def _name_places(result: dict[str, Any], name: str) -> None:
    for told in (*result["errors"], *result["warnings"]):
        told["where"] = (told.get("where") or "").replace(documents.TEXT_ORIGIN, name)
    result["message"] = result["message"].replace(documents.TEXT_ORIGIN, name)


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


def _table(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if rows:
        render.heading(title)
        render.rows(rows, columns, empty="")
