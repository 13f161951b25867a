"""Documents of tenants, their graphs, and what is wrong with them."""

from typing import Annotated, Literal, NotRequired, TypedDict

from core.model.results.basics import Call, Json, JsonObject, Row, Time
from core.model.results.jobs import TraceFault
from core.model.states import WorkflowState

DocumentKind = Annotated[str, Literal["workflow", "perspective", "blueprint"]]
Source = Annotated[str, Literal["local", "builtin", "portal"]]
VersionNumber = int | str
"""Workflows are numbered; blueprints and perspectives carry a semantic version."""


class WorkflowItem(Row):
    """A document in a list."""

    slug: str
    type: DocumentKind
    title: str
    version: VersionNumber | None
    """The newest one; null: nothing is published."""
    state: Annotated[str, WorkflowState]
    """Of the newest version, or of the draft."""
    states: list[Annotated[str, WorkflowState]]
    """Of all versions and the draft."""
    draft_revision: int | None
    """null: there is no draft."""
    source: Source
    updated_at: Time | None
    updated_by: str | None


class WorkflowVersion(TypedDict):
    """A version of a document."""

    version: VersionNumber
    state: Annotated[str, WorkflowState]
    published_at: Time
    updated_by: str
    derived_from: str | None


class OpenSlot(TypedDict):
    """What a step that is left open takes."""

    accepts: Annotated[str, Literal["blueprint", "workflow"]]
    hint: str


class GraphNode(TypedDict):
    """A step, port, job or channel of a graph."""

    id: str
    use: NotRequired[str | None]
    """Of a step, as what follows: the module that it is bound to."""
    slot: NotRequired[OpenSlot | None]
    group: NotRequired[str | None]
    """The worker group."""
    replicas: NotRequired[int]
    port: NotRequired[Annotated[str, Literal["in", "out"]]]
    """Of an end of a module."""
    job: NotRequired[bool]
    """It is a job of a blueprint."""
    channel: NotRequired[str]
    """Of a channel with many ends: its name."""


_Ends = TypedDict("_Ends", {"from": str, "to": str})


class GraphEdge(_Ends):
    """How events or messages go from one node to another one."""

    kind: Literal["port", "channel", "message"]
    channel: NotRequired[str]
    transport: NotRequired[str]
    output: NotRequired[str]
    """Of a step that dispatches: which one."""
    tag: NotRequired[str]
    """Of a message."""


class Graph(TypedDict):
    """A graph for those who draw it; empty of what has none."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]
    mermaid: str
    """The same as a Mermaid flowchart; empty when it is too large to be read."""


class WizardField(TypedDict):
    """What a deployment asks for."""

    field: str
    title: str
    type: str
    """string, path, integer, number or boolean"""
    required: bool
    default: Json
    description: str
    choices: list[Json]
    """The only answers; empty: all of the type."""


class Remark(TypedDict):
    """A fault or warning of a document."""

    code: NotRequired[str]
    """Missing where the document cannot be read."""
    message: str
    hint: NotRequired[str]
    pointer: str
    """JSON Pointer into the document."""
    where: NotRequired[str]
    """file:line:column"""
    pattern: NotRequired[str]
    """The regular expression that a text had to match."""


class Report(TypedDict):
    """What a check of a document found."""

    valid: bool
    message: str
    hint: str
    errors: list[Remark]
    errors_left_out: int
    warnings: list[Remark]


class WorkflowBrief(TypedDict):
    """A version of a document, or its draft."""

    slug: str
    type: DocumentKind
    title: str
    version: VersionNumber | None
    """null: it is the draft."""
    state: Annotated[str, WorkflowState]
    source: Source
    draft_revision: int | None
    """null: there is no draft."""
    derived_from: str | None
    updated_at: Time | None
    updated_by: str | None
    versions: list[WorkflowVersion]
    document: JsonObject
    graph: Graph
    wizard: list[WizardField]


class Workflow(WorkflowBrief):
    """A version of a document, or its draft with everything that is wrong with it."""

    valid: NotRequired[bool]
    """Of a draft, as what follows."""
    message: NotRequired[str]
    hint: NotRequired[str]
    errors: NotRequired[list[Remark]]
    errors_left_out: NotRequired[int]
    warnings: NotRequired[list[Remark]]
    text: NotRequired[str]
    """As it was written; with detail=detailed."""


class DocumentChecked(Report):
    """What is wrong with a document."""

    type: DocumentKind | None
    """null: it cannot be read."""
    slug: str | None
    steps: NotRequired[int]
    """How many a workflow or perspective without faults has."""


class DraftSaved(Report):
    """A draft as it was saved, with everything that is wrong with it."""

    slug: str
    type: DocumentKind
    draft_revision: int
    changed: bool
    derived_from: str | None
    next: NotRequired[list[Call]]
    """What to do with one that is valid."""


class DraftCloned(DraftSaved):
    """A draft that is a copy."""

    document: str
    """YAML."""


class WorkflowPublished(TypedDict):
    """A draft that became a version."""

    next: NotRequired[list[Call]]
    """Of a workflow."""
    slug: str
    type: DocumentKind
    version: VersionNumber
    changed: bool
    state: Literal["published"]
    source: str
    """KIND:SLUG@VERSION, for deployment_plan."""


class WorkflowRetired(TypedDict):
    """A version that is not offered any more, or a draft that was thrown away."""

    slug: str
    type: DocumentKind
    version: VersionNumber
    state: Literal["retired", "discarded"]
    changed: bool


class ValueChange(TypedDict):
    """One value that is not the same; credentials are masked."""

    key: str
    """steps[2].with.path"""
    before: NotRequired[Json]
    """Missing: there is no such value."""
    after: NotRequired[Json]
    """Missing: there is no such value."""


class PartChange(TypedDict):
    """A part of a document that is not the same."""

    action: Annotated[str, Literal["added", "removed", "changed"]]
    kind: str
    """document, step, channel, parameter, ..."""
    id: str
    changes: list[ValueChange]


class ChangeCounts(TypedDict):
    """How many parts."""

    added: int
    removed: int
    changed: int


class WorkflowDiff(TypedDict):
    """What differs between two versions of a document."""

    slug: str
    type: DocumentKind
    from_version: VersionNumber
    """`draft` for the draft."""
    to_version: VersionNumber
    summary: ChangeCounts
    changes: list[PartChange]
    changes_left_out: int
    text: str
    """All of it for people."""


class TracedStep(TypedDict):
    """What a job of a step does to the events that reach it."""

    step: str
    job: str
    uses: str
    passed_over: str | None
    """Why it was not traced; null: it was."""
    events_in: list[Json]
    events_out: list[Json]
    would_emit: list[JsonObject]
    """What its output and messages would have sent."""
    dropped: int
    errors: list[TraceFault]
    truncated: list[str]
    """What was cut: what comes behind has seen no more of it."""


class WorkflowTrace(TypedDict):
    """Events through all steps of a workflow, without an effect."""

    source: str
    steps: list[TracedStep]
