"""Files as the desired state of an environment: what they say, what applying them does, how environments stand."""

from typing import Annotated, Literal, NotRequired, TypedDict

from core.errors import Fault
from core.model import gitops
from core.model.principal import Surface
from core.model.results.basics import Row, Time
from core.model.results.findings import Finding
from core.model.results.schemas import Called
from core.model.states import DeploymentState, GitopsRunState

FileKind = Annotated[gitops.Kind, Called("FileKind")]
FileAction = Annotated[str, Literal["create", "update", "unchanged", "prune"]]


class Scope(TypedDict):
    """Whose files they are."""

    tenant_id: str
    environment: str
    manifest: str


class FilesChecked(TypedDict):
    """What is wrong with files."""

    valid: bool
    scope: Scope
    counts: dict[str, int]
    """Kind -> how many."""
    errors: list[Fault]
    errors_left_out: int


class FileChange(TypedDict):
    """What happens to one thing that files describe."""

    action: FileAction
    kind: FileKind
    id: str
    path: str
    """The file; empty: of what no file names any more."""
    reason: str
    diff: str


class FilesDiff(TypedDict):
    """What applying files would change."""

    scope: Scope
    summary: dict[str, int]
    """How many changes of each action."""
    changes: list[FileChange]
    changes_left_out: int
    warnings: list[Finding]
    blockers: list[Finding]
    digest: str
    """Names the diff: an apply is held to it."""
    text: str
    """All of it for people."""


class Approval(TypedDict):
    """Who approved a run."""

    approved_by: str
    change: str
    """The ticket, change request or pull request."""
    commit: str


class FileSource(TypedDict):
    """Where files came from, as far as it is known."""

    repo: NotRequired[str]
    ref: NotRequired[str]
    commit_sha: NotRequired[str]
    generated_by: NotRequired[str]
    ci_run_id: NotRequired[str]
    from_environment: NotRequired[str]
    """Of a promotion."""
    from_run: NotRequired[str]
    """Of a promotion."""
    to_run: NotRequired[str]
    """Of a rollback."""


class FilesRunEvent(TypedDict):
    """One change of a run."""

    at: Time
    action: FileAction
    kind: FileKind
    id: str
    state: str
    """done or failed"""
    message: str


class FilesRun(Row):
    """An apply, a promotion or a rollback."""

    run_id: str
    action: Annotated[str, Literal["apply", "promote", "rollback"]]
    environment: str
    manifest: str
    state: Annotated[str, GitopsRunState]
    reason: str
    commit_sha: str | None
    summary: dict[str, int]
    """How many changes of each action."""
    by: str
    surface: Annotated[str, Surface]
    approval: Approval | None
    source: FileSource
    started_at: Time
    finished_at: Time | None
    events: NotRequired[list[FilesRunEvent]]
    """Of one run that was asked for."""
    events_left_out: NotRequired[int]


class Promoted(FilesRun):
    """A run that brought an environment to what another one has, or had."""

    dry_run: Literal[False]
    text: str
    """What it changes, for people."""


class PromotionDiff(FilesDiff):
    """What a promotion or rollback would change."""

    dry_run: Literal[True]


class WrittenFile(TypedDict):
    """A file."""

    kind: FileKind
    path: str
    text: str


class FilesExport(TypedDict):
    """What is there as files."""

    manifest: str
    """YAML."""
    files: list[WrittenFile]
    next_cursor: str | None
    total: int


class EnvironmentDeployment(TypedDict):
    """A deployment of an environment."""

    name: str
    source: str
    revision: int
    created_by: str | None
    """ENVIRONMENT/MANIFEST whose files made it."""
    state: DeploymentState
    reason: str
    drift: int


class FileDrift(TypedDict):
    """A thing that is not as the last run left it."""

    by: NotRequired[str]
    """Who changed it last, where that is kept."""
    at: NotRequired[Time]
    kind: FileKind
    id: str
    what: str
    diff: str


class EnvironmentStatus(TypedDict):
    """How an environment stands."""

    environment: str
    commit_sha: str | None
    """Of the last successful run."""
    last_run: FilesRun | None
    applied_by_run: str | None
    """The last successful one."""
    deployments: list[EnvironmentDeployment]
    drift: list[FileDrift]
    in_sync: bool


class Environments(TypedDict):
    """How each environment stands."""

    tenant_id: str
    environments: list[EnvironmentStatus]
