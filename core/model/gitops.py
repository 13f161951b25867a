"""GitOps documents: the manifest of one scope, and context values as a file (docs/gitops.md)."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from core.model.catalog import NAME_PATTERN, SPELLINGS, CatalogModel, Name

COMMIT_PATTERN = "^[0-9a-f]{40}$"


def _fits(pattern: str, told: str, *, empty: bool = False) -> Callable[[str], str]:
    """A check that says in words what a text has to be."""

    def check(text: str) -> str:
        if (text or not empty) and not re.fullmatch(pattern.strip("^$"), text):
            raise ValueError(told)
        return text

    return check


def _commit(*, empty: bool) -> tuple[AfterValidator, Any]:
    pattern = "^(?:[0-9a-f]{40})?$" if empty else COMMIT_PATTERN
    told = "must be a whole commit id: 40 hexadecimal digits"
    return AfterValidator(_fits(COMMIT_PATTERN, told, empty=empty)), Field(json_schema_extra={"pattern": pattern})


Commit = Annotated[str, *_commit(empty=False)]
CommitOrNone = Annotated[str, *_commit(empty=True)]
Environment = Annotated[
    str,
    StringConstraints(max_length=63),
    AfterValidator(_fits(NAME_PATTERN, SPELLINGS[NAME_PATTERN], empty=True)),
    Field(json_schema_extra={"pattern": f"^(?:{NAME_PATTERN.strip('^$')})?$"}),
]
Short = Annotated[str, StringConstraints(max_length=500)]
Target = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}$")]


class Kind(StrEnum):
    """What files may describe, in the order in which it is applied. Secrets are never in files."""

    BLUEPRINT = "blueprint"
    PERSPECTIVE = "perspective"
    WORKFLOW = "workflow"
    CONTEXT = "context"
    JOB = "job"
    TRIGGER = "trigger"
    DEPLOYMENT = "deployment"


class Provenance(CatalogModel):
    """Where the files come from. Only recorded: Sluice never reads a repository itself."""

    repo: Short = ""
    """The address of the repository."""
    ref: Short = ""
    """The branch or tag, such as refs/heads/main."""
    commit_sha: CommitOrNone = ""
    """The reviewed commit; promote and rollback name a revision by it."""
    generated_by: Short = ""
    """What made the manifest, such as ci."""
    ci_run_id: Short = ""
    """The run of the pipeline that sends it."""


class Scope(CatalogModel):
    """The one tenant and the one environment that an apply touches."""

    tenant_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """The tenant."""
    environment: Environment = ""
    """The environment, such as dev or prod; empty for deployments without one."""


class Include(CatalogModel):
    """Files of one kind."""

    kind: Kind
    """What the files describe."""
    paths: tuple[Annotated[str, StringConstraints(min_length=1, max_length=500)], ...] = Field(
        min_length=1, max_length=1000
    )
    """Paths below the directory of the manifest; * and ** match names."""


class Manifest(CatalogModel):
    """Which files are the desired state of one tenant and environment."""

    schema_version: Literal["v1"]
    """The form of this manifest."""
    name: Name = "default"
    """Tells manifests of one environment apart: each prunes only what it created itself."""
    source: Provenance = Provenance()
    """Where the files come from."""
    scope: Scope
    """What they are for."""
    includes: tuple[Include, ...] = Field(default=(), max_length=200)
    """The files."""

    @property
    def owner(self) -> str:
        """The label of what this manifest creates."""
        return f"{self.scope.environment or '-'}/{self.name}"


class ContextDocument(CatalogModel):
    """Values of {{name}} for one place: global, or one environment, worker group, worker or job."""

    kind: Literal["context"] = "context"
    environment: Target | None = None
    """For deployments of this environment."""
    group: Target | None = None
    """For jobs on this worker group."""
    worker: Target | None = None
    """For jobs on this worker."""
    job: Target | None = None
    """For this job."""
    values: dict[str, Any] = Field(min_length=1, max_length=1000)
    """Key -> value: text, number, boolean, list or map. Not for passwords: those are secrets."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(target is not None for target in (self.environment, self.group, self.worker, self.job)) > 1:
            raise ValueError("give at most one of environment, group, worker and job")
        return self

    def place(self) -> tuple[str, str]:
        """(level, target); ("global", "") without any."""
        for level in ("environment", "group", "worker", "job"):
            if target := getattr(self, level):
                return level, target
        return "global", ""


class Approval(CatalogModel):
    """Who allowed a promotion or rollback, by which change, for which reviewed commit."""

    approved_by: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\S")]
    """Who approved it."""
    change: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"\S")]
    """The ticket, change request or pull request."""
    commit: Commit
    """The reviewed commit."""
