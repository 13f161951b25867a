"""The index of a portal, the file `index.json`: which items it offers, where each lies, what its content must be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from core.model.catalog import (
    PATH_PATTERN,
    SHA256_PATTERN,
    CatalogModel,
    ItemType,
    SemanticVersion,
    Slug,
    Text,
)

SCHEMA_VERSION = "v1"
MAX_ITEMS = 20_000
MAX_ITEM_BYTES = 1024 * 1024


class PortalItem(CatalogModel):
    """One version of one item in a portal."""

    type: ItemType
    """What it is."""
    slug: Slug
    """The stable identifier."""
    version: Annotated[int, Field(ge=1, le=2**31, strict=True)] | SemanticVersion
    """A whole number for a workflow, else a semantic version. What a version holds never changes."""
    title: Annotated[str, StringConstraints(max_length=200)] = ""
    """The name that people see."""
    summary: Text = ""
    """One sentence on what it is for."""
    tags: tuple[Annotated[str, StringConstraints(min_length=1, max_length=63)], ...] = Field(default=(), max_length=50)
    """Words to find it by."""
    author: Annotated[str, StringConstraints(max_length=200)] = ""
    """Who made it."""
    path: Annotated[str, StringConstraints(pattern=PATH_PATTERN, max_length=500)]
    """Where its document lies, relative to the index."""
    sha256: Annotated[str, StringConstraints(pattern=SHA256_PATTERN)]
    """SHA-256 of the bytes of the document."""
    size: int = Field(ge=1, le=MAX_ITEM_BYTES)
    """The number of these bytes."""

    @model_validator(mode="after")
    def _version_of_its_type(self) -> PortalItem:
        if isinstance(self.version, int) != (self.type is ItemType.WORKFLOW):
            raise ValueError("the version of a workflow is a whole number, any other is like 1.0.0")
        return self


class PortalIndex(CatalogModel):
    """The file `index.json` of a portal."""

    schema_version: Literal["v1"]
    """Which form this file has."""
    title: Annotated[str, StringConstraints(max_length=200)] = ""
    """What the portal is called."""
    items: tuple[PortalItem, ...] = Field(max_length=MAX_ITEMS)
    """Every version of every item."""
