"""The catalog, portals, what workflows are built of, and the reference of the job language."""

from typing import Annotated, Literal, NotRequired, TypedDict

from core.model.catalog import ItemType
from core.model.results.basics import Json, JsonObject, Listing, Refusal, Row, Time
from core.model.results.workflows import Graph, Source, VersionNumber

Availability = Annotated[str, Literal["installed", "portal-only", "update-available", "retired"]]


class CatalogBrief(TypedDict):
    """What is said of an item wherever it is shown."""

    slug: str
    type: ItemType
    title: str
    version: VersionNumber
    source: Source
    availability: Availability
    tags: list[str]
    summary: str
    portal: NotRequired[str]
    """That it comes from."""
    available_version: NotRequired[VersionNumber]
    """The newer one that its portal has."""
    hops: NotRequired[str]
    """How its channels keep events; missing: it has none."""


class CatalogItem(CatalogBrief, Row):
    """An item in a list."""

    asks: NotRequired[list[str]]
    """What a deployment or step asks for (?: optional); missing: nothing, or it is not here."""
    lacks: NotRequired[list[str]]
    """Words of the query that it has not."""


class Facets(TypedDict):
    """How many of what was found."""

    type: dict[str, int]
    source: dict[str, int]
    availability: dict[str, int]
    tags: dict[str, int]
    """The most frequent ones."""


class PortalFault(TypedDict):
    """What is wrong with a portal."""

    name: str
    state: str
    message: str


class CatalogList(Listing[CatalogItem]):
    """Items of the catalog, best match first."""

    note: NotRequired[str]
    """That none has all words."""
    facets: Facets
    portals: NotRequired[list[PortalFault]]
    """Those that could not be read."""


class CatalogNext(TypedDict):
    """The call to go on with."""

    operation: str
    arguments: JsonObject
    fill: list[str]
    """Arguments that have to be given besides."""
    command: str
    """The same on the command line; empty: there is none."""
    why: str


class CatalogQuestion(TypedDict):
    """What a deployment asks for, without what is not said."""

    field: str
    title: NotRequired[str]
    """With detail=detailed."""
    type: str
    required: NotRequired[bool]
    """Missing: it is not."""
    default: NotRequired[Json]
    description: NotRequired[str]
    """With detail=detailed."""
    choices: NotRequired[list[Json]]


class CatalogSlot(TypedDict):
    """An open slot of a perspective."""

    step: str
    fits: list[str]
    """Modules that it takes."""
    hint: str


class Related(TypedDict):
    """An item that has to do with this one."""

    relation: Annotated[str, Literal["uses", "used-by", "shares-tags"]]
    item: str
    """KIND:SLUG@VERSION"""
    title: str


class ItemProvenance(TypedDict):
    """Where an item came from."""

    source: Source
    author: str
    sha256: str
    portal: str | None
    location: str | None
    installed_at: Time | None
    installed_by: str | None
    published_at: Time | None
    derived_from: str | None


class CatalogShown(CatalogBrief):
    """An item of the catalog."""

    next: list[CatalogNext]
    wizard: list[CatalogQuestion]
    slots: list[CatalogSlot]
    versions: list[VersionNumber]
    """That are here."""
    available_versions: list[VersionNumber]
    """That its portal has."""
    related: list[Related]
    modules: NotRequired[list[str]]
    """What it is made of; this and what follows with detail=detailed."""
    provenance: NotRequired[ItemProvenance]
    yaml: NotRequired[str]
    document: NotRequired[JsonObject]
    graph: NotRequired[Graph]
    used_by: NotRequired[list[str]]
    """Items that name it."""
    deployments: NotRequired[list[str]]
    """That were made of it."""


class Portal(Row):
    """A shared catalog."""

    name: str
    location: str
    title: str
    state: Literal["unavailable", "stale", "ready"]
    items: int
    versions: int
    fetched_at: Time | None
    error: Refusal | None
    """Why the last look failed."""


class InstalledItem(TypedDict):
    """An item that came in."""

    type: ItemType
    slug: str
    version: VersionNumber
    portal: str
    sha256: str


class Installed(TypedDict):
    """What came in from a portal."""

    changed: bool
    installed: list[InstalledItem]
    ref: str | None
    """The item that was asked for: KIND:SLUG@VERSION; null: nothing newer was there."""


class Updated(Installed):
    """What an update of an item brought in."""

    slug: str
    type: ItemType
    from_version: VersionNumber
    version: VersionNumber


class Uninstalled(TypedDict):
    """An item that is gone."""

    slug: str
    type: ItemType
    uninstalled: list[VersionNumber]
    changed: bool


_Ports = TypedDict("_Ports", {"in": NotRequired[list[str]], "with": NotRequired[list[str]]})


class Module(_Ports, Row):
    """What a step may use; of its ports only those that are not called in and out, of `with` the parameters."""

    use: str
    """KIND:SLUG@VERSION"""
    part: Literal["source", "transform", "sink", "whole"]
    does: NotRequired[str]
    out: NotRequired[list[str]]
    needs: NotRequired[list[str]]
    """Secrets and features."""
    lacks: NotRequired[list[str]]
    """Words of the query that it has not."""


class Builtin(TypedDict):
    """What the language itself has."""

    name: str
    kind: Literal["transport", "dispatch", "messages", "step", "workflow"]
    does: str
    write: str
    """How it stands in a document; empty for what nobody writes."""
    settings: NotRequired[list[str]]
    """Of a transport (?: optional)."""


class Palette(Listing[Module]):
    """What a workflow can be built of, sources first or best match first."""

    builtins: NotRequired[list[Builtin]]
    """On the first page without a query or part."""


class LanguageEntry(TypedDict):
    """An entry of the reference, or one of its keys."""

    kind: NotRequired[str]
    """Missing where all are of the kind that was asked for."""
    name: str
    key: NotRequired[str]
    summary: str


class LanguageReference(TypedDict):
    """The job language: of no arguments the names of each kind, of a query what has its words, of a name one entry."""

    input: NotRequired[str]
    """Names, as those that follow; without arguments."""
    action: NotRequired[str]
    output: NotRequired[str]
    trigger: NotRequired[str]
    expansion: NotRequired[str]
    condition: NotRequired[str]
    document: NotRequired[str]
    query: NotRequired[str]
    items: NotRequired[list[LanguageEntry]]
    """Of a query, of a kind, and of a name that several kinds have."""
    total: NotRequired[int]
    kind: NotRequired[str]
    name: NotRequired[str]
    key: NotRequired[str]
    about: NotRequired[str]
    keys: NotRequired[list[str]]
    """A line for each: name, type, default, meaning."""
    example: NotRequired[str]
    """YAML that runs."""
    also: NotRequired[str]
    more: NotRequired[str]
    next: NotRequired[str]
    """What to ask next."""
