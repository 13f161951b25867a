"""What people hand in: one document of a kind that a tenant may own, as text or from what is there already."""

from __future__ import annotations

import re
from typing import Any

import orjson

from core import documents, errors
from core.catalog import items
from core.documents import canonical, dump
from core.model.catalog import SLUG_PATTERN, SPELLINGS, Blueprint, Perspective, Workflow

KINDS: dict[str, type[Workflow | Perspective | Blueprint]] = {
    "workflow": Workflow,
    "perspective": Perspective,
    "blueprint": Blueprint,
}
ORIGIN = "<document>"


def read(text: str, origin: str = ORIGIN) -> documents.Document:
    """The one document in a text, with a kind and a slug that it can be filed under; nothing else is checked.

    Raises InvalidDocument with file:line:column.
    """
    found = documents.load(text, origin=origin)
    if len(found) != 1:
        raise errors.InvalidDocument(
            f"{origin} holds {len(found)} documents, and this takes one.",
            errors=[errors.Problem("", "a second document begins here", found[1].where(""))],
        )
    document = found[0]
    kind, slug = document.data.get("kind"), document.data.get("slug")
    problems = []
    if not isinstance(kind, str) or kind not in KINDS:
        guess = documents.suggest(kind if isinstance(kind, str) else "", KINDS)
        problems.append(
            errors.Problem("/kind", f"kind must be one of {', '.join(KINDS)}{guess}", document.where("/kind"))
        )
    if not isinstance(slug, str) or not re.fullmatch(SLUG_PATTERN, slug) or len(slug) > 63:
        told = f"{SPELLINGS[SLUG_PATTERN]}, at most 63 characters"
        problems.append(errors.Problem("/slug", f"slug {told}", document.where("/slug")))
    if problems:
        raise errors.InvalidDocument(
            f"{origin} cannot be filed.",
            hint="Begin with kind: workflow, perspective or blueprint, and a slug.",
            errors=problems,
        )
    return document


def version_of(document: documents.Document) -> str:
    """The version that the author gives a blueprint or perspective; workflows are numbered by publishing."""
    return "" if document.kind == "workflow" else str(KINDS[document.kind].model_validate(document.data).version)


def number(kind: str, version: str) -> int | str:
    """A version as answers tell it: workflows are numbered, others carry what their author says."""
    return int(version) if kind == "workflow" else version


def copy_of(entry: items.Entry, slug: str | None, kind: str) -> str:
    """The text of a new draft made of an item; a perspective is copied as a workflow, whose slots are then bound."""
    data = {key: value for key, value in items.document(entry).items() if key not in ("kind", "slug", "version")}
    version: dict[str, Any] = {}
    if kind != "workflow":
        version = {"version": _next(str(entry.version)) if slug in (None, entry.slug) else "1.0.0"}
    return dump.to_yaml({"kind": kind, "slug": slug or entry.slug, **version, **data})


def _next(version: str) -> str:
    """The next minor version."""
    major, minor, *_ = re.findall(r"\d+", version)
    return f"{major}.{int(minor) + 1}.0"


def published_form(model: Workflow | Perspective | Blueprint, version: str) -> tuple[str, str]:
    """(JSON with its version, digest). A workflow's digest leaves the number out: publishing gave it."""
    data: dict[str, Any] = {"kind": model.kind, **model.model_dump(mode="json", exclude_unset=True)}
    data.pop("version", None)
    numbered = {**data, "version": int(version) if model.kind == "workflow" else version}
    return orjson.dumps(numbered).decode(), canonical.digest(data if model.kind == "workflow" else numbered)
