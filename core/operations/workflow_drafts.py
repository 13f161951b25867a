"""What becomes of a document of a tenant's own: saved as a draft, published, copied, retired."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from core.engine import Engine
from core.explain.chain import Call
from core.model import results
from core.model.catalog import SLUG_PATTERN
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.operations.registry import Kind, Slug, Version, WorkflowDocument, operation
from core.workflows import authoring
from core.workflows.registry import DRAFT, SavedDraft

NewSlug = Annotated[str, StringConstraints(pattern=SLUG_PATTERN, max_length=63)]
Revision = Annotated[int, Field(ge=0, le=2**53)]


class WorkflowSaveDraft(Params):
    document: WorkflowDocument
    """The document as YAML or JSON text: kind workflow, perspective or blueprint."""
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
async def workflow_save_draft(
    engine: Engine, caller: Caller, params: WorkflowSaveDraft
) -> results.workflows.DraftSaved:
    """Save a draft, faults and all; the answer lists what has to be mended before workflow_publish.

    Refused when somebody else saved the draft since base_revision; the answer then says what differs.
    """
    saved = await engine.workflows.save_draft(caller, "workflow_save_draft", params.document, params.base_revision)
    publish = {"slug": saved.slug, "type": saved.kind, "draft_revision": saved.revision}
    if not saved.report.valid:
        return _saved(saved)
    return {**_saved(saved), "next": [Call("workflow_publish", publish, "make it a version").to_dict()]}


def _saved(draft: SavedDraft) -> results.workflows.DraftSaved:
    return {
        "slug": draft.slug,
        "type": draft.kind,
        "draft_revision": draft.revision,
        "changed": draft.changed,
        "derived_from": draft.derived_from or None,
        **draft.report.to_dict(),  # type: ignore[typeddict-item]  # which has no `next`
    }


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
async def workflow_publish(
    engine: Engine, caller: Caller, params: WorkflowPublish
) -> results.workflows.WorkflowPublished:
    """Validate the draft and make it an immutable version, which deployment_plan can deploy; the draft is done with.

    Workflows are numbered 1, 2, 3; blueprints and perspectives carry the version that their document says.
    """
    version, changed = await engine.workflows.publish(caller, params.type, params.slug, params.draft_revision)
    source = f"{params.type}:{params.slug}@{version}"
    deploy = {"name": params.slug.replace("_", "-").strip("-"), "source": source}
    answer: results.workflows.WorkflowPublished = {
        "slug": params.slug,
        "type": params.type,
        "version": authoring.number(params.type, version),
        "changed": changed,
        "state": "published",
        "source": source,
    }
    if params.type == "workflow":
        why = "see what it would run; give values for its wizard"
        answer["next"] = [Call("deployment_plan", deploy, why).to_dict()]
    return answer


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
async def workflow_clone(engine: Engine, caller: Caller, params: WorkflowClone) -> results.workflows.DraftCloned:
    """Make a draft of a published version: the way to change it. A perspective becomes the draft of a workflow.

    errors[] lists what is left to do: each open slot is one. Edit `document`, then workflow_save_draft.
    """
    saved = await engine.workflows.clone(
        caller, params.type, params.slug, params.version, params.new_slug, params.as_type
    )
    return {**_saved(saved), "document": saved.text}


class WorkflowRetire(Params):
    slug: Slug
    """The document."""
    type: Kind = "workflow"
    """Its kind."""
    version: Version
    """The version to retire, or `draft` to throw the draft away."""


async def _version_goes(engine: Engine, caller: Caller, params: WorkflowRetire) -> Loss | None:
    found = await engine.workflows.find(caller.tenant, params.type, params.slug, params.version)
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
async def workflow_retire(engine: Engine, caller: Caller, params: WorkflowRetire) -> results.workflows.WorkflowRetired:
    """Take a version out of the offer for good. What is deployed goes on, and what names it exactly still finds it.

    With version `draft`, the draft is thrown away.
    """
    found, changed = await engine.workflows.retire(caller, params.type, params.slug, params.version)
    return {
        "slug": found.slug,
        "type": found.kind,
        "version": found.version or DRAFT,
        "state": "discarded" if found.version is None else "retired",
        "changed": changed,
    }
