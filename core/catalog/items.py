"""The items of the catalog as plain values: what a list shows of them, how one is picked. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from core import errors
from core.catalog import wiring
from core.documents import canonical
from core.model.catalog import Blueprint, Graph, ItemType, LibraryJob, Perspective, WizardField, Workflow
from core.near import did_you_mean

if TYPE_CHECKING:
    from core.model.results import catalog, workflows

Model = Blueprint | Workflow | Perspective | LibraryJob
LOCAL = ("builtin", "local")
RETIRED = "retired"
"""The availability of a version that is no longer offered; what names it exactly still finds it."""


E = TypeVar("E", bound="Listed")


@dataclass(frozen=True, slots=True)
class Listed:
    """One version of one item, as far as a list shows it. `source` is builtin, local or portal."""

    type: ItemType
    slug: str
    version: int | str
    title: str
    summary: str
    tags: tuple[str, ...]
    source: str
    availability: str
    portal: str = field(default="", kw_only=True)
    """The portal that it comes from."""
    update: int | str | None = field(default=None, kw_only=True)
    """The newer version that its portal has."""

    @property
    def ref(self) -> str:
        return f"{self.type.value}:{self.slug}@{self.version}"

    def row(self) -> catalog.CatalogItem:
        """The item as a search shows it."""
        shown: catalog.CatalogItem = {
            "slug": self.slug,
            "type": self.type,
            "title": self.title,
            "version": self.version,
            "source": self.source,
            "availability": self.availability,
            "tags": list(self.tags),
            "summary": self.summary,
        }
        if self.portal:
            shown["portal"] = self.portal
        if self.update:
            shown["available_version"] = self.update
        return shown


@dataclass(frozen=True, slots=True)
class Entry(Listed):
    """One version that is there, with its document; `provenance` is what is known of where it came from."""

    model: Model
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)
    hops: str = field(default="", kw_only=True)
    """How its channels keep events, with those of its modules; empty when it has none, or nobody has counted."""

    def row(self) -> catalog.CatalogItem:
        """The item as a search shows it: also what a deployment or step asks for (`?`: may be left out)."""
        asks = [question["field"] + ("" if must(question) else "?") for question in wizard(self)]
        shown = super(Entry, self).row()
        if asks:
            shown["asks"] = asks
        if self.hops:
            shown["hops"] = self.hops
        return shown


def entry(
    model: Model,
    source: str = "local",
    availability: str = "installed",
    *,
    portal: str = "",
    provenance: Mapping[str, Any] | None = None,
) -> Entry:
    kind = ItemType.JOB if isinstance(model, LibraryJob) else ItemType(model.kind)
    return Entry(
        kind,
        model.slug,
        model.version or 1,
        model.title or model.slug,
        model.summary,
        model.tags,
        source,
        availability,
        model,
        provenance or {},
        portal=portal,
    )


def latest(entries: Iterable[E]) -> list[E]:
    """The newest version of each item that is on offer, by type and slug."""
    newest: dict[tuple[str, str], E] = {}
    for one in entries:
        if one.availability == RETIRED:
            continue
        key = (one.type.value, one.slug)
        if key not in newest or version_key(one.version) > version_key(newest[key].version):
            newest[key] = one
    return [newest[key] for key in sorted(newest)]


def pick(entries: Iterable[E], slug: str, type: str | None = None, version: int | str | None = None) -> E:
    """One item: the given version, or the newest.

    Raises NotFound, with what is there; InvalidParams when several types share the slug.
    """
    every = list(entries)
    named = [one for one in every if one.slug == slug and (type is None or one.type.value == type)]
    what = f"{type or 'item'} {errors.shorten(slug, 64)}"
    if not named:
        guess = did_you_mean(slug, {one.slug for one in every if type is None or one.type.value == type})
        raise errors.NotFound(
            f"There is no {what} in the catalog{guess}.",
            hint="catalog_search lists what there is; an item of a portal is installed first.",
        )
    types = sorted({one.type.value for one in named})
    if len(types) > 1:
        raise several(slug, types)
    if version is None:
        offered = latest(named)
        if not offered:
            versions = ", ".join(str(one.version) for one in named)
            raise errors.NotFound(f"Every version of {what} is retired.", hint=f"Name one to see it: {versions}.")
        return offered[0]
    exact = next((one for one in named if str(one.version) == str(version)), None)
    if exact is None:
        there = ", ".join(str(one.version) for one in sorted(named, key=lambda one: version_key(one.version)))
        raise errors.NotFound(
            f"There is no version {errors.shorten(str(version), 40)} of {types[0]} {slug}.", hint=f"Versions: {there}."
        )
    return exact


def several(slug: str, types: list[str]) -> errors.InvalidParams:
    """The error for a slug that items of several types share."""
    return errors.InvalidParams(
        f"Several items are called {slug}.",
        hint=f"Say which: type {' or '.join(types)}.",
        errors=[errors.Problem("/type", f"one of {', '.join(types)}")],
    )


def provenance(one: Entry) -> catalog.ItemProvenance:
    """Where an item came from, in the same keys whatever its source."""
    known = one.provenance
    builtin_author = "Sluice" if one.source == "builtin" else ""
    return {
        "source": one.source,
        "author": known.get("author") or one.model.author or builtin_author,
        "sha256": known.get("sha256") or canonical.digest(document(one)).removeprefix("sha256:"),
        "portal": one.portal or None,
        "location": known.get("location"),
        "installed_at": known.get("installed_at"),
        "installed_by": known.get("installed_by"),
        "published_at": known.get("published_at"),
        "derived_from": known.get("derived_from"),
    }


def document(one: Entry) -> dict[str, Any]:
    """The document as a person would write it; for a library job, the job itself."""
    if isinstance(one.model, LibraryJob):
        return one.model.job
    return {"kind": one.model.kind, **one.model.model_dump(mode="json", exclude_unset=True)}


def wizard(one: Entry) -> list[workflows.WizardField]:
    """The questions of a workflow; for a blueprint, its parameters in the same form."""
    if isinstance(one.model, Graph):
        return [_question(question) for question in one.model.wizard]
    if not isinstance(one.model, Blueprint):
        return []
    required = one.model.parameters.get("required", ())
    return [
        {
            "field": name,
            "title": schema.get("title", name),
            "type": _type(schema.get("type", "string")),
            "required": name in required,
            "default": schema.get("default"),
            "description": schema.get("description", ""),
            "choices": schema.get("enum", []),
        }
        for name, schema in one.model.parameters.get("properties", {}).items()
        if isinstance(schema, dict)
    ]


def _question(one: WizardField) -> workflows.WizardField:
    return {
        "field": one.field,
        "title": one.title,
        "type": one.type,
        "required": one.required,
        "default": one.default,
        "description": one.description,
        "choices": list(one.choices),
    }


def brief(question: workflows.WizardField) -> catalog.CatalogQuestion:
    """A question without its explanation, and without what is not said: no `required` is false, no `default` none."""
    said: catalog.CatalogQuestion = {"field": question["field"], "type": question["type"]}
    if question["required"]:
        said["required"] = True
    if question["default"] not in (None, [], "") and question["default"] is not False:
        said["default"] = question["default"]
    if question["choices"]:
        said["choices"] = question["choices"]
    return said


def must(question: workflows.WizardField) -> bool:
    """Whether a question has to be answered."""
    return bool(question["required"]) and question["default"] is None


def _type(named: str | list[str]) -> str:
    """One type, as a question has; that a parameter may also be null is said by its default."""
    return named if isinstance(named, str) else next((one for one in named if one != "null"), "string")


def version_key(version: int | str) -> tuple[Any, ...]:
    """Orders versions: numbers by value, and a pre-release before its release."""
    release, _, rest = str(version).partition("-")
    numbers = tuple(int(part) for part in re.findall(r"\d+", release.partition("+")[0]))
    parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in rest.split("."))
    return numbers, rest == "", parts


def finder(entries: Iterable[Entry]) -> wiring.Lookup:
    """A lookup of modules by reference, for `graph.wire` and the planner."""
    known = {
        f"{one.type.value}:{one.slug}@{one.version}": one.model
        for one in entries
        if isinstance(one.model, Blueprint | Workflow)
    }
    return known.get
