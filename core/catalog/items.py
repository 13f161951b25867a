"""The catalog as a list of entries: search, pick one, tell what is related. Pure; who calls brings the entries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core import errors
from core.catalog import graph, names, wiring
from core.model.catalog import Blueprint, Graph, ItemType, LibraryJob, Perspective, Workflow

Model = Blueprint | Workflow | Perspective | LibraryJob
LOCAL = ("builtin", "local")
RETIRED = "retired"
"""The availability of a version that is no longer offered; what names it exactly still finds it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of one item. `source` is builtin, local or portal."""

    type: ItemType
    slug: str
    version: int | str
    title: str
    summary: str
    tags: tuple[str, ...]
    source: str
    availability: str
    model: Model

    def row(self) -> dict[str, Any]:
        """The item as a search shows it."""
        return {
            "slug": self.slug,
            "type": self.type.value,
            "title": self.title,
            "version": self.version,
            "source": self.source,
            "availability": self.availability,
            "tags": list(self.tags),
            "summary": self.summary,
        }


def entry(model: Model, source: str = "local", availability: str = "installed") -> Entry:
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
    )


def latest(entries: Iterable[Entry]) -> list[Entry]:
    """The newest version of each item that is on offer, by type and slug."""
    newest: dict[tuple[str, str], Entry] = {}
    for one in entries:
        if one.availability == RETIRED:
            continue
        key = (one.type.value, one.slug)
        if key not in newest or version_key(one.version) > version_key(newest[key].version):
            newest[key] = one
    return [newest[key] for key in sorted(newest)]


def search(
    entries: Iterable[Entry],
    query: str = "",
    *,
    type: str | None = None,
    source: str | None = None,
    availability: str | None = None,
    tags: Sequence[str] = (),
) -> list[Entry]:
    """The newest versions that fit every filter and every word of the query, best match first.

    `source="local"` includes what came with Sluice.
    """
    words = query.casefold().split()
    ranked = []
    for one in latest(entries):
        if type is not None and one.type.value != type:
            continue
        if source is not None and one.source != source and not (source == "local" and one.source in LOCAL):
            continue
        if availability is not None and one.availability != availability:
            continue
        if not set(tags) <= set(one.tags):
            continue
        rank = _rank(one, words, query.casefold().strip())
        if rank is not None:
            ranked.append((rank, one.type.value, one.slug, one))
    return [found[-1] for found in sorted(ranked, key=lambda found: found[:3])]


def _rank(one: Entry, words: list[str], whole: str) -> int | None:
    """0 for the slug or title itself, more for looser matches, None when a word is nowhere."""
    slug, title = one.slug.casefold(), one.title.casefold()
    if whole in (slug, title):
        return 0
    text = f"{slug} {title}"
    rest = f"{text} {one.summary.casefold()} {' '.join(one.tags).casefold()}"
    if not all(word in rest for word in words):
        return None
    return 1 if all(word in text for word in words) else 2


def pick(entries: Iterable[Entry], slug: str, type: str | None = None, version: int | str | None = None) -> Entry:
    """One item: the given version, or the newest.

    Raises NotFound, with what is there; InvalidParams when several types share the slug.
    """
    every = list(entries)
    named = [one for one in every if one.slug == slug and (type is None or one.type.value == type)]
    what = f"{type or 'item'} {errors.shorten(slug, 64)}"
    if not named:
        guess = names.did_you_mean(slug, {one.slug for one in every if type is None or one.type.value == type})
        raise errors.NotFound(f"There is no {what} in the catalog{guess}.", hint="catalog_search lists what there is.")
    types = sorted({one.type.value for one in named})
    if len(types) > 1:
        raise errors.InvalidParams(
            f"Several items are called {slug}.",
            hint=f"Say which: type {' or '.join(types)}.",
            errors=[errors.Problem("/type", f"one of {', '.join(types)}")],
        )
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


def related(entries: Iterable[Entry], one: Entry) -> list[Entry]:
    """What the item is made of, what uses it, and what shares its tags; at most ten."""
    ranked: list[tuple[int, str, str, Entry]] = []
    mine = graph.references(one.model) if isinstance(one.model, Graph) else set()
    for other in latest(entries):
        if (other.type, other.slug) == (one.type, one.slug):
            continue
        theirs = graph.references(other.model) if isinstance(other.model, Graph) else set()
        if _named(other, mine):
            ranked.append((0, other.type.value, other.slug, other))
        elif _named(one, theirs):
            ranked.append((1, other.type.value, other.slug, other))
        elif set(one.tags) & set(other.tags):
            ranked.append((2, other.type.value, other.slug, other))
    return [found[-1] for found in sorted(ranked, key=lambda found: found[:3])[:10]]


def _named(one: Entry, references: set[str]) -> bool:
    return any(ref.rpartition("@")[0] == f"{one.type.value}:{one.slug}" for ref in references)


def document(one: Entry) -> dict[str, Any]:
    """The document as a person would write it; for a library job, the job itself."""
    if isinstance(one.model, LibraryJob):
        return one.model.job
    return {"kind": one.model.kind, **one.model.model_dump(mode="json", exclude_unset=True)}


def wizard(one: Entry) -> list[dict[str, Any]]:
    """The questions of a workflow; for a blueprint, its parameters in the same form."""
    if isinstance(one.model, Graph):
        return [question.model_dump(mode="json") for question in one.model.wizard]
    if not isinstance(one.model, Blueprint):
        return []
    required = one.model.parameters.get("required", ())
    return [
        {
            "field": name,
            "title": schema.get("title", name),
            "type": schema.get("type", "string"),
            "required": name in required,
            "default": schema.get("default"),
            "description": schema.get("description", ""),
            "choices": schema.get("enum", []),
        }
        for name, schema in one.model.parameters.get("properties", {}).items()
        if isinstance(schema, dict)
    ]


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
