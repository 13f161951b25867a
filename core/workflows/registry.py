"""The documents of the tenants: found by version, saved as drafts, published as immutable versions, copied, retired."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from core import clock, errors
from core.catalog import builtin, items
from core.documents import Document, dump
from core.model.principal import Caller
from core.model.states import WorkflowState
from core.store import audit
from core.store import workflows as table
from core.store.audit import AuditRow
from core.store.database import Database
from core.workflows import authoring, check, comparison
from core.workflows.library import Library

DRAFT = "draft"  # the "version" that stands for the draft
Notice = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Edition:
    """One version of a document, or its draft (`version` is None then)."""

    kind: str
    slug: str
    version: int | str | None
    state: str
    source: str
    text: str
    data: dict[str, Any]
    row: dict[str, Any]  # what the store knows; empty for what comes with Sluice
    entry: items.Entry | None = None
    document: Document | None = None  # of a draft

    @property
    def name(self) -> str:
        return f"{self.slug}@{self.version if self.version is not None else DRAFT}"


class SavedDraft(NamedTuple):
    """A draft as it was saved; `changed` tells whether its text is another one than before."""

    kind: str
    slug: str
    revision: int
    changed: bool
    derived_from: str
    text: str
    report: check.Report


class WorkflowRegistry:
    """Of one engine. `announce` tells who listens that a document has changed."""

    def __init__(self, database: Database, ids: clock.Ids, library: Library, announce: Notice) -> None:
        self._database = database
        self._ids = ids
        self._library = library
        self._announce = announce

    # -- what there is -------------------------------------------------------------------------------------

    async def find(self, tenant: str, kind: str, slug: str, version: int | str | None) -> Edition:
        """The version that is asked for: the newest on offer when none is named, or the draft when there is no other.

        Raises NotFound, with what is there.
        """
        key = (tenant, kind, slug)
        row = await self._database.read(table.draft, key) if version in (None, DRAFT) else None
        if version == DRAFT:
            return await _draft(kind, slug, row)
        every = await self._library.visible(tenant)
        if row is not None and not any(_is(one, kind, slug) for one in items.latest(every)):
            return await _draft(kind, slug, row)
        one = items.pick(every, slug, kind, version)
        state = WorkflowState.RETIRED if one.availability == items.RETIRED else WorkflowState.PUBLISHED
        stored = await self._database.read(table.version, key, str(one.version)) if one.source == "local" else None
        data = items.document(one)
        text = stored["text"] if stored is not None else dump.to_yaml(data)
        return Edition(kind, slug, one.version, state.value, one.source, text, data, stored or {}, one)

    async def before(self, tenant: str, after: Edition) -> Edition:
        """The version before another one, or the newest one for a draft. Raises NotFound."""
        every = [one for one in await self._library.visible(tenant) if _is(one, after.kind, after.slug)]
        limit = items.version_key(after.version) if after.version is not None else None
        older = [one for one in every if limit is None or items.version_key(one.version) < limit]
        if not older:
            raise errors.NotFound(
                f"There is no version of {after.kind} {after.slug} before {after.version or 'its draft'}.",
                hint="Nothing to compare with: it is the first one.",
            )
        newest = max(older, key=lambda one: items.version_key(one.version)).version
        return await self.find(tenant, after.kind, after.slug, newest)

    async def check(self, tenant: str, document: Document) -> check.Report:
        """The report on a document, which may name what is in the catalog of the tenant."""
        return await check.check_in_turns(document, await self._library.modules(tenant))

    # -- changes -------------------------------------------------------------------------------------------

    async def save_draft(
        self, caller: Caller, operation: str, text: str, base: int, derived_from: str = ""
    ) -> SavedDraft:
        """Keep a document as a draft, faults and all, when the draft is still at revision `base` (0: there is none).

        Raises InvalidDocument for a text that cannot be filed, AlreadyExists, with what differs, for a draft that has
        moved, or a slug that comes with Sluice.
        """
        document = await asyncio.to_thread(authoring.read, text)
        kind, slug = document.kind, str(document.data["slug"])
        _refuse_reserved(kind, slug)
        report = await self.check(caller.tenant, document)
        key = (caller.tenant, kind, slug)
        if not derived_from and (before := await self._database.read(table.draft, key)) is not None:
            derived_from = before["derived_from"]
        title = document.data.get("title")
        row = {
            "tenant": caller.tenant,
            "kind": kind,
            "slug": slug,
            "title": title[:200] if isinstance(title, str) else "",
            "text": text,
            "derived_from": derived_from,
            "updated_at_ns": clock.now_ns(),
            "updated_by": caller.username,
        }
        try:
            revision, changed = await self._database.write(table.save, row, base, self._note(caller, operation, key))
        except errors.AlreadyExists as error:
            await self._add_differences(key, document, error)
            raise
        self._tell(key)
        return SavedDraft(kind, slug, revision, changed, derived_from, text, report)

    async def _add_differences(self, key: table.Key, mine: Document, error: errors.AlreadyExists) -> None:
        there = await self._database.read(table.draft, key)
        if there is None:
            return
        theirs = await asyncio.to_thread(authoring.read, there["text"])
        differences = comparison.compare(theirs.data, mine.data)
        error.details["diff"] = comparison.text(differences[:50], f"draft revision {there['revision']}", "yours")[:4000]

    async def clone(
        self, caller: Caller, kind: str, slug: str, version: int | str | None, new_slug: str | None, as_kind: str | None
    ) -> SavedDraft:
        """Make a draft of a published version; of a perspective that of a workflow, unless `as_kind` says otherwise.

        Raises NotFound, InvalidParams, and what `save_draft` raises.
        """
        found = await self.find(caller.tenant, kind, slug, version)
        if found.entry is None:
            raise errors.NotFound(
                f"{kind.capitalize()} {slug} is a draft, and nothing of it is published.",
                hint="Edit it with workflow_save_draft.",
            )
        made = as_kind or ("workflow" if kind == "perspective" else kind)
        if (made == "blueprint") != (kind == "blueprint"):
            raise errors.InvalidParams(
                f"A {kind} cannot become a {made}.",
                hint="A perspective or a workflow can become the other; a blueprint stays one.",
                errors=[errors.Problem("/as_type", f"not possible for a {kind}")],
            )
        text = await asyncio.to_thread(authoring.copy_of, found.entry, new_slug, made)
        if made == found.kind and new_slug in (None, found.slug) and made == "workflow":
            text = found.text  # as it was written, with its comments
        origin = f"{found.kind}:{found.slug}@{found.version}"
        return await self.save_draft(caller, "workflow_clone", text, 0, origin)

    async def publish(self, caller: Caller, kind: str, slug: str, revision: int | None) -> tuple[str, bool]:
        """Make the draft an immutable version, when it is valid and still at `revision` (the present one when None):
        (the version, whether it is a new one). Raises NotFound, InvalidDocument, AlreadyExists."""
        found = await self.find(caller.tenant, kind, slug, DRAFT)
        assert found.document is not None  # find() gives a draft one
        model = (await self.check(caller.tenant, found.document)).require()
        key = (caller.tenant, kind, slug)
        if kind == "workflow":
            numbers = [int(row["version"]) for row in await self._database.read(table.versions, key)]
            version = str(max(numbers, default=0) + 1)
        else:
            version = str(model.version)
        text, digest = authoring.published_form(model, version)
        row = {
            "version": version,
            "document": text,
            "digest": digest,
            "title": model.title,
            "published_at_ns": clock.now_ns(),
            "updated_by": caller.username,
        }
        meant = revision or found.row["revision"]
        if found.row["revision"] != meant:  # what was validated is not what the caller looked at
            raise table.moved(slug, meant, found.row, found.row["revision"])
        done = await self._database.write(table.publish, key, meant, row, self._note(caller, "workflow_publish", key))
        self._library.forget(caller.tenant)
        self._tell(key)
        return done

    async def retire(self, caller: Caller, kind: str, slug: str, version: int | str) -> tuple[Edition, bool]:
        """Take a version out of the offer, or throw the draft away: (what it was, whether that changed anything).

        Raises NotFound; Forbidden for what is not the tenant's own.
        """
        found = await self.find(caller.tenant, kind, slug, version)
        if found.source == "builtin":
            raise errors.Forbidden(f"{found.name} comes with Sluice and stays.", hint="Only your own versions retire.")
        if found.source == "portal":
            raise errors.Forbidden(f"{found.name} was installed from a portal.", hint="catalog_uninstall removes it.")
        key, now = (caller.tenant, kind, slug), clock.now_ns()
        note = audit.row(self._ids.next(), caller, "workflow_retire", f"{caller.tenant}/{kind}:{found.name}")
        if found.version is None:
            changed = await self._database.write(table.discard, key, note, now, caller.username)
        else:
            changed = await self._database.write(table.retire, key, str(found.version), note, now, caller.username)
            self._library.forget(caller.tenant)
        self._tell(key)
        return found, changed

    def _note(self, caller: Caller, operation: str, key: table.Key) -> AuditRow:
        tenant, kind, slug = key
        return audit.row(self._ids.next(), caller, operation, f"{tenant}/{kind}:{slug}")

    def _tell(self, key: table.Key) -> None:
        tenant, kind, slug = key
        self._announce("workflow", {"tenant": tenant, "type": kind, "slug": slug})


async def _draft(kind: str, slug: str, row: dict[str, Any] | None) -> Edition:
    """The draft in a row of the store. Raises NotFound when there is none."""
    if row is None:
        raise errors.NotFound(
            f"There is no draft of {kind} {errors.shorten(slug, 64)}.",
            hint="workflow_list shows what there is; workflow_clone makes a draft of a published version.",
        )
    document = await asyncio.to_thread(authoring.read, row["text"], f"draft of {slug}")
    return Edition(kind, slug, None, row["state"], "local", row["text"], document.data, row, None, document)


def _is(one: items.Entry, kind: str, slug: str) -> bool:
    return one.slug == slug and one.type.value == kind


def _refuse_reserved(kind: str, slug: str) -> None:
    if any(_is(one, kind, slug) for one in builtin.load()):
        raise errors.AlreadyExists(
            f"A {kind} {slug} comes with Sluice.", hint="Choose another slug (workflow_clone takes new_slug)."
        )
