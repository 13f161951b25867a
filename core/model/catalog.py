"""What the catalog holds: blueprints, workflows, perspectives and library jobs, as the documents that people write."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag

from core.docstrings import Described

NAME_PATTERN = "^[a-z0-9]+(?:[_-][a-z0-9]+)*$"
"""One name that becomes part of a job name: no double dash, because `--` separates the parts."""

SLUG_PATTERN = "^[a-z0-9][a-z0-9_-]*$"
BINDING_PATTERN = "^(?:channel|port):[a-z0-9]+(?:[_-][a-z0-9]+)*$"
USE_PATTERN = "^(?:blueprint|workflow):[a-z0-9][a-z0-9_-]*@[0-9A-Za-z.+-]+$"
VERSION_PATTERN = r"^\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?$"
PATH_PATTERN = r"^(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*$"
"""A file of a portal: relative, and no part of it begins with a dot."""

SHA256_PATTERN = "^[0-9a-f]{64}$"
SPELLINGS = {
    NAME_PATTERN: "must be a name: lower-case letters and digits, with single - or _ between them",
    SLUG_PATTERN: "must be a slug: lower-case letters, digits, - and _, beginning with a letter or digit",
    BINDING_PATTERN: "must be channel:NAME, or port:NAME for an end of a module",
    USE_PATTERN: "must name one exact version, as blueprint:SLUG@1.0.0 or workflow:SLUG@1",
    VERSION_PATTERN: "must be a version like 1.0.0",
    PATH_PATTERN: "must be a relative path of plain names, as blueprints/echo-1.0.0.yaml",
    SHA256_PATTERN: "must be a SHA-256 in lower-case hexadecimal digits",
}
"""Each pattern in words, for whoever has to mend a value that does not fit."""

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)]
Slug = Annotated[str, StringConstraints(pattern=SLUG_PATTERN, max_length=63)]
Binding = Annotated[str, StringConstraints(pattern=BINDING_PATTERN, max_length=80)]
Use = Annotated[str, StringConstraints(pattern=USE_PATTERN, max_length=160)]
SemanticVersion = Annotated[str, StringConstraints(pattern=VERSION_PATTERN, max_length=64)]
Text = Annotated[str, StringConstraints(max_length=2000)]

ONE, MAP = "<one>", "<map>"
"""How the two forms of a binding are told apart; never a part of a pointer."""
Ends = Annotated[
    Annotated[Binding, Tag(ONE)] | Annotated[dict[Name, Binding], Tag(MAP)],
    Discriminator(lambda value: MAP if isinstance(value, dict) else ONE),
]
"""One channel for the only port of a module, or a map port -> channel."""


class ItemType(StrEnum):
    """The four kinds of things in the catalog."""

    WORKFLOW = "workflow"  # an end-to-end graph of steps; deployable
    PERSPECTIVE = "perspective"  # a skeleton with unbound slots; becomes a workflow once they are bound
    BLUEPRINT = "blueprint"  # a reusable module of one or more jobs; deployable when it has no open port
    JOB = "job"  # one known-good job to start from


class Transport(StrEnum):
    """How events move along a channel edge."""

    WORKER_CHANNEL = "worker-channel"  # in memory, between jobs of one worker
    FILE_STORE = "file-store"  # a durable spool of files; the plan adds a writer and a reader job
    OBJECT_STORE = "object-store"  # the same in a bucket
    JETSTREAM = "jetstream"  # a durable stream between machines


class CatalogModel(Described, BaseModel):
    """Base of the documents: immutable, unknown keys refused, `in` and `with` spelled as they are written."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.rstrip("_"),
        validate_by_name=False,
        validate_by_alias=True,
        serialize_by_alias=True,
        defer_build=True,  # a worker reads none of them
    )


class WizardField(CatalogModel):
    """One question that is asked when a deployment of this workflow is made."""

    field: Name
    """The key in the values; steps read it as {{wizard.<field>}}."""
    title: str = ""
    """What the question is called."""
    type: Literal["string", "path", "integer", "number", "boolean"] = "string"
    """What kind of answer is expected; `path` is a directory or file on the worker's host."""
    required: bool = False
    """Whether a plan without an answer is blocked."""
    default: Any = None
    """The answer when none is given."""
    description: str = ""
    """More about the question."""
    choices: tuple[Any, ...] = ()
    """The only answers allowed; empty allows all of the type."""


class Ports(CatalogModel):
    """The named ends of a module that a workflow binds to channels."""

    in_: tuple[Name, ...] = ()
    """Where events come in."""
    out: tuple[Name, ...] = ()
    """Where events go out."""


class Requires(CatalogModel):
    """What has to be there before a module can run."""

    secrets: tuple[str, ...] = ()
    """Names of secrets."""
    features: tuple[str, ...] = ()
    """Features of the engine or its license, e.g. `exec`."""


class Item(CatalogModel):
    """What every catalog document says about itself."""

    slug: Slug
    """The stable identifier."""
    title: Annotated[str, StringConstraints(max_length=200)] = ""
    """The name that people see."""
    summary: Text = ""
    """One sentence on what it is for."""
    tags: tuple[Annotated[str, StringConstraints(min_length=1, max_length=63)], ...] = Field(default=(), max_length=50)
    """Words to find it by."""
    author: Annotated[str, StringConstraints(max_length=200)] = ""
    """Who made it."""


class Blueprint(Item):
    """A reusable module: one or more jobs with ports and parameters."""

    kind: Literal["blueprint"] = "blueprint"
    version: SemanticVersion = "1.0.0"
    """Semantic version; a version never changes."""
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON Schema of the parameters; jobs read one as {{name}}."""
    ports: Ports = Ports()
    """The ends that a workflow binds to channels."""
    requires: Requires = Requires()
    """What has to be there before it can run."""
    jobs: tuple[dict[str, Any], ...] = Field(min_length=1)
    """Job documents. `input: {port: in}` and `output: {port: out}` are bound when a step uses the blueprint;
    `{channel: name}` joins two jobs of the blueprint."""


class Slot(CatalogModel):
    """A place in a perspective that is left open on purpose."""

    accepts: Literal["blueprint", "workflow"] = "blueprint"
    """What may be bound here."""
    hint: str = ""
    """What a good choice would be."""


class Placement(CatalogModel):
    """Where a step runs."""

    group: Name = "default"
    """The worker group."""


class Dispatch(CatalogModel):
    """How the events of a step are spread over its named outputs."""

    mode: Literal["clone", "round-robin", "conditional"] = "clone"
    """Every output gets a copy, outputs take turns, or a field decides."""
    field: Annotated[str, StringConstraints(max_length=255)] = ""
    """The field that decides (conditional)."""
    routes: dict[str, Name] = Field(default_factory=dict)
    """Value of the field -> name of the output (conditional); numbers and booleans as in JSON: 200, true."""
    default: Name | None = None
    """The output for every other value, and for events without the field (conditional); without one such events are
    refused: counted as errors."""


class Channel(CatalogModel):
    """A named logical link; producers and consumers are the steps that name it."""

    transport: Transport = Transport.WORKER_CHANNEL
    """How events move."""
    with_: dict[str, Any] = Field(default_factory=dict)
    """Settings of the transport."""


class Step(CatalogModel):
    """One box of the graph."""

    id: Name
    """Stable within the workflow; part of the names of its jobs."""
    use: Use | None = None
    """What the step is bound to: blueprint:SLUG@VERSION or workflow:SLUG@VERSION."""
    slot: Slot | None = None
    """Perspectives only: a place left open."""
    with_: dict[str, Any] = Field(default_factory=dict)
    """Parameters; may read {{wizard.<field>}}."""
    in_: Ends | None = None
    """The channel that feeds the step, or a map port -> channel."""
    out: Ends | None = None
    """The channel that the step feeds, or a map port -> channel (with `dispatch`: output -> channel)."""
    dispatch: Dispatch | None = None
    """How events are spread when the step feeds several channels from one port; `out` then names the outputs."""
    placement: Placement | None = None
    """Where the step runs; the deployment's worker group when it is not given."""
    replicas: int = Field(default=1, ge=1, le=1024)
    """How many copies run."""
    description: str = ""
    """What the step is for."""


class MessageEdge(CatalogModel):
    """A wake-up signal: `from` emits a tagged message, `to` runs when it is seen."""

    from_: Name
    """The step that emits."""
    to: Name
    """The step that wakes up."""
    tag: str = Field(min_length=1, max_length=255)
    """The tag of the message."""


class Graph(Item):
    """Steps, channels and message edges: what a workflow and a perspective share."""

    version: int | None = Field(default=None, ge=1)
    """Made by publish."""
    wizard: tuple[WizardField, ...] = ()
    """Questions asked when a deployment is made."""
    channels: dict[Name, Channel] = Field(default_factory=dict)
    """Channels that need settings; a channel that is not listed is a worker-channel."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """The boxes."""
    messages: tuple[MessageEdge, ...] = ()
    """The wake-up signals between steps."""
    ports: Ports = Ports()
    """The ends of a workflow that is used as a module; steps name them as port:<name>."""
    context: dict[str, Any] = Field(default_factory=dict)
    """Values for {{name}} when nothing nearer has one."""


class Workflow(Graph):
    """A versioned graph of steps; desired state that the Deployment Manager turns into jobs."""

    kind: Literal["workflow"] = "workflow"


def _semantic(version: Any) -> Any:
    """A whole number as the first release of that line, for perspectives that are written like workflows."""
    return f"{version}.0.0" if isinstance(version, int) and not isinstance(version, bool) else version


class Perspective(Graph):
    """A workflow skeleton in which a step may carry a slot instead of a binding; not deployable as it is."""

    kind: Literal["perspective"] = "perspective"
    version: Annotated[SemanticVersion, BeforeValidator(_semantic)] = "1.0.0"  # type: ignore[assignment]
    """Semantic version; a version never changes."""


class LibraryJob(Item):
    """One known-good job to start from."""

    kind: Literal["library-job"] = "library-job"
    version: SemanticVersion = "1.0.0"
    """Semantic version."""
    job: dict[str, Any]
    """The job document."""


Source = Blueprint | Workflow
MODELS: dict[str, type[Blueprint | Workflow | Perspective | LibraryJob]] = {
    "blueprint": Blueprint,
    "workflow": Workflow,
    "perspective": Perspective,
    "library-job": LibraryJob,
}
