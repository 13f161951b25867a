"""What becomes of a document of a tenant's own: saved as a draft, published, copied, retired."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from core import errors
from core.catalog import builtin
from core.documents import Document
from core.engine import Engine
from core.model.catalog import SLUG_PATTERN
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation
from core.operations.workflows import DOCUMENT, DRAFT, Kind, Slug, Version, find
from core.store import audit
from core.store import workflows as table
from core.workflows import authoring, check, comparison

NewSlug = Annotated[str, StringConstraints(pattern=SLUG_PATTERN, max_length=63)]
Revision = Annotated[int, Field(ge=0, le=2**53)]


class WorkflowSaveDraft(Params):
    document: str = Field(max_length=authoring.MAX_DOCUMENT, description=DOCUMENT)
    base_revision: Revision = 0
    """The draft_revision that this edit started from; 0 for a new draft."""


@operation(
    summary="Save a workflow, perspective or blueprint as a draft.",
    http="POST /api/workflows",
    toolset="workflows",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def workflow_save_draft(engine: Engine, caller: Caller, params: WorkflowSaveDraft) -> dict[str, Any]:
    """Save a draft, faults and all; the answer lists what has to be mended before workflow_publish.

    Refused when somebody else saved the draft since base_revision; the answer then says what differs.
    """
    document = await asyncio.to_thread(authoring.read, params.document)
    return await _save(engine, caller, "workflow_save_draft", document, params.document, params.base_revision)


async def _save(
    engine: Engine, caller: Caller, operation: str, document: Document, text: str, base: int, derived_from: str = ""
) -> dict[str, Any]:
    kind, slug = document.kind, str(document.data["slug"])
    _refuse_reserved(kind, slug)
    report = await check.check_in_turns(document, await engine.library.modules(caller.tenant))
    title = document.data.get("title")
    row = {
        "tenant": caller.tenant,
        "kind": kind,
        "slug": slug,
        "title": title[:200] if isinstance(title, str) else "",
        "text": text,
        "derived_from": derived_from,
        "updated_at_ns": engine.now_ns(),
        "updated_by": caller.username,
    }
    key = (caller.tenant, kind, slug)
    if not derived_from and (before := await engine.database.read(table.draft, key)) is not None:
        row["derived_from"] = before["derived_from"]
    note = audit.row(engine.ids.next(), caller, operation, f"{caller.tenant}/{kind}:{slug}")
    try:
        revision, changed = await engine.database.write(table.save, row, base, note)
    except errors.AlreadyExists as error:
        await _say_what_differs(engine, key, document, error)
        raise
    _announce(engine, caller, kind, slug)
    return {
        "slug": slug,
        "type": kind,
        "draft_revision": revision,
        "changed": changed,
        "derived_from": row["derived_from"] or None,
        **report.to_dict(),
    }


def _announce(engine: Engine, caller: Caller, kind: str, slug: str) -> None:
    engine.announce("workflow", {"tenant": caller.tenant, "type": kind, "slug": slug})


async def _say_what_differs(engine: Engine, key: table.Key, mine: Document, error: errors.AlreadyExists) -> None:
    there = await engine.database.read(table.draft, key)
    if there is None:
        return
    theirs = await asyncio.to_thread(authoring.read, there["text"])
    differences = comparison.compare(theirs.data, mine.data)
    error.details["diff"] = comparison.text(differences[:50], f"draft revision {there['revision']}", "yours")[:4000]


def _refuse_reserved(kind: str, slug: str) -> None:
    if any(one.type.value == kind and one.slug == slug for one in builtin.load()):
        raise errors.AlreadyExists(
            f"A {kind} {slug} comes with Sluice.", hint="Choose another slug (workflow_clone takes new_slug)."
        )


class WorkflowPublish(Params):
    slug: Slug
    """The document whose draft to publish."""
    type: Kind = "workflow"
    """Its kind."""
    draft_revision: Annotated[int, Field(ge=1, le=2**53)] | None = None
    """The revision that you looked at; the call is refused when the draft has moved since."""


@operation(
    summary="Publish a draft as an immutable version.",
    http="POST /api/workflows/{slug}/publish",
    toolset="workflows",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
)
async def workflow_publish(engine: Engine, caller: Caller, params: WorkflowPublish) -> dict[str, Any]:
    """Validate the draft and make it an immutable version, which deployment_plan can deploy; the draft is done with.

    Workflows are numbered 1, 2, 3; blueprints and perspectives carry the version that their document says.
    """
    found = await find(engine, caller, params.type, params.slug, DRAFT)
    assert found.document is not None  # find() gives a draft one
    known = await engine.library.modules(caller.tenant)
    model = (await check.check_in_turns(found.document, known)).require()
    key = (caller.tenant, params.type, params.slug)
    revision = params.draft_revision or found.row["revision"]
    if params.type == "workflow":
        numbers = [int(row["version"]) for row in await engine.database.read(table.versions, key)]
        version = str(max(numbers, default=0) + 1)
    else:
        version = str(model.version)
    text, digest = authoring.published_form(model, version)
    row = {
        "version": version,
        "document": text,
        "digest": digest,
        "title": model.title,
        "published_at_ns": engine.now_ns(),
        "updated_by": caller.username,
    }
    if found.row["revision"] != revision:  # what was validated is not what the caller looked at
        raise table.moved(params.slug, revision, found.row, found.row["revision"])
    note = audit.row(engine.ids.next(), caller, "workflow_publish", f"{caller.tenant}/{params.type}:{params.slug}")
    version, changed = await engine.database.write(table.publish, key, revision, row, note)
    engine.library.forget(caller.tenant)
    _announce(engine, caller, params.type, params.slug)
    number: int | str = int(version) if params.type == "workflow" else version
    return {
        "slug": params.slug,
        "type": params.type,
        "version": number,
        "changed": changed,
        "state": "published",
        "source": f"{params.type}:{params.slug}@{version}",
    }


class WorkflowClone(Params):
    slug: Slug
    """The item to copy: one of your own, or one that comes with Sluice."""
    type: Kind = "workflow"
    """Its kind. A perspective becomes a workflow, unless as_type says otherwise."""
    version: Version | None = None
    """Which version; the newest when left out."""
    new_slug: NewSlug | None = None
    """The slug of the draft; the same one when left out, for a new version of your own."""
    as_type: Kind | None = None
    """The kind of the draft."""


@operation(
    summary="Copy a published version, or a perspective, into a new draft.",
    http="POST /api/workflows/{slug}/clone",
    toolset="workflows",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
)
async def workflow_clone(engine: Engine, caller: Caller, params: WorkflowClone) -> dict[str, Any]:
    """Make a draft of a published version: the way to change it. A perspective becomes the draft of a workflow.

    errors[] lists what is left to do: each open slot is one. Edit `document`, then workflow_save_draft.
    """
    found = await find(engine, caller, params.type, params.slug, params.version)
    if found.entry is None:
        raise errors.NotFound(
            f"{params.type.capitalize()} {params.slug} is a draft, and nothing of it is published.",
            hint="Edit it with workflow_save_draft.",
        )
    kind = params.as_type or ("workflow" if params.type == "perspective" else params.type)
    if (kind == "blueprint") != (params.type == "blueprint"):
        raise errors.InvalidParams(
            f"A {params.type} cannot become a {kind}.",
            hint="A perspective or a workflow can become the other; a blueprint stays one.",
            errors=[errors.Problem("/as_type", f"not possible for a {params.type}")],
        )
    text = await asyncio.to_thread(authoring.copy_of, found.entry, params.new_slug, kind)
    if kind == found.kind and params.new_slug in (None, found.slug) and kind == "workflow":
        text = found.text  # as it was written, with its comments
    document = await asyncio.to_thread(authoring.read, text)
    origin = f"{found.kind}:{found.slug}@{found.version}"
    saved = await _save(engine, caller, "workflow_clone", document, text, 0, origin)
    return {**saved, "document": text}


class WorkflowRetire(Params):
    slug: Slug
    """The document."""
    type: Kind = "workflow"
    """Its kind."""
    version: Version
    """The version to retire, or `draft` to throw the draft away."""


async def _version_goes(engine: Engine, caller: Caller, params: WorkflowRetire) -> Loss | None:
    found = await find(engine, caller, params.type, params.slug, params.version)
    if found.source in ("builtin", "portal"):
        return None  # it is refused
    if found.version is None:
        return Loss(f"The draft of {found.kind} {found.slug} is thrown away.")
    return Loss(f"Version {found.version} of {found.kind} {found.slug} goes out of the offer for good.")


@operation(
    summary="Retire a version, or throw a draft away.",
    http="POST /api/workflows/{slug}/retire",
    toolset="workflows",
    effect=Effect.DESTRUCTIVE,
    destroys=_version_goes,
    offline=True,
    role=Role.ADMIN,
    idempotent=True,
)
async def workflow_retire(engine: Engine, caller: Caller, params: WorkflowRetire) -> dict[str, Any]:
    """Take a version out of the offer for good. What is deployed goes on, and what names it exactly still finds it.

    With version `draft`, the draft is thrown away.
    """
    found = await find(engine, caller, params.type, params.slug, params.version)
    if found.source == "builtin":
        raise errors.Forbidden(f"{found.name} comes with Sluice and stays.", hint="Only your own versions retire.")
    if found.source == "portal":
        raise errors.Forbidden(f"{found.name} was installed from a portal.", hint="catalog_uninstall removes it.")
    key = (caller.tenant, params.type, params.slug)
    note = audit.row(engine.ids.next(), caller, "workflow_retire", f"{caller.tenant}/{params.type}:{found.name}")
    now = engine.now_ns()
    if found.version is None:
        changed = await engine.database.write(table.discard, key, note, now, caller.username)
        _announce(engine, caller, params.type, params.slug)
        return {"slug": found.slug, "type": found.kind, "version": DRAFT, "state": "discarded", "changed": changed}
    changed = await engine.database.write(table.retire, key, str(found.version), note, now, caller.username)
    engine.library.forget(caller.tenant)
    _announce(engine, caller, params.type, params.slug)
    return {
        "slug": found.slug,
        "type": found.kind,
        "version": found.version,
        "state": "retired",
        "changed": changed,
    }
