"""Worker groups: named sets of workers that steps and jobs are placed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.model.enrolment import WorkerGrant

DEFAULT_GROUP = "default"
ANY_TENANT = "*"
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
LABEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:/=-]{0,62}$"
MOST_LABELS = 20


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """One group. `slots` is how many jobs each of its workers may hold, None: as the worker was started.

    Labels describe and are searched for; they do not place anything. `tenants` are those whose jobs its
    workers may be given, ANY_TENANT for all; a group with workers of other machines names them.
    """

    name: str
    slots: int | None = None
    labels: tuple[str, ...] = ()
    tenants: tuple[str, ...] = (ANY_TENANT,)

    @property
    def open(self) -> bool:
        """Whether every tenant is admitted, those of tomorrow too."""
        return ANY_TENANT in self.tenants

    def admits(self, tenant: str) -> bool:
        return self.open or tenant in self.tenants


@dataclass(frozen=True, slots=True)
class WorkerSetting:
    """What was said about one worker while it ran. `group` is None when it stays where its engine started it."""

    name: str
    group: str | None = None
    labels: tuple[str, ...] = ()
    drained: bool = False


@dataclass(frozen=True, slots=True)
class External:
    """A worker of another machine that has joined once: the group and the slots that it was started with, and what it
    was granted if a token let it in."""

    name: str
    group: str
    slots: int
    grant: WorkerGrant | None = None
