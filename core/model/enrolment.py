"""How a worker of another machine is let in: the token that an admin hands out, and the credential that it is redeemed
for (docs/workers.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from core.fileroots import FileMode
from core.guard.filepolicy import FilePolicy
from core.guard.openings import Openings
from core.settings import Settings

TOKEN_PATTERN = r"^slw_[0-9a-f]{16}_[0-9a-f]{64}_[0-9a-f]{32}$"
MOST_PENDING = 100
PENDING_SECONDS = 86_400


TOKEN_ID_CHARACTERS = 20


def token_id(text: str) -> str:
    """The id of a token that is given as a whole, or by its id."""
    return text.strip()[:TOKEN_ID_CHARACTERS]


class Ability(StrEnum):
    """What the owner of a worker may open to its jobs on its machine. Whatever was not granted stays closed there."""

    EXEC = "exec"  # commands (allow_exec)
    EGRESS = "egress"  # private addresses (egress_allow)
    LISTEN = "listen"  # ports beyond loopback (listen_allow)
    FILES = "files"  # directories besides those of the tenants (file_roots, file_access)
    CLOUD = "cloud"  # the operator's credentials for clouds (cloud_credentials)


class EnrolmentState(StrEnum):
    """Whether a worker may join with its credential."""

    PENDING = "pending"  # somebody has to approve it
    ACTIVE = "active"
    SUSPENDED = "suspended"  # an earlier key of it was shown: there may be a copy
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class WorkerGrant:
    """Where a worker belongs and what it may have; it only narrows what its group and its own settings say."""

    group: str
    tenants: tuple[str, ...] = ()  # whose jobs it gets; without any, those of its group
    can: tuple[Ability, ...] = ()
    most_slots: int = 4096
    ephemeral: bool = False  # forgotten when it says good-bye

    def serves(self, tenant: str) -> bool:
        """Whether it may have jobs of a tenant that its group admits."""
        return not self.tenants or tenant in self.tenants

    def settings(self, settings: Settings) -> Settings:
        """The settings of its machine without what was not granted."""
        closed: dict[str, object] = {}
        if Ability.EXEC not in self.can:
            closed["allow_exec"] = False
        if Ability.EGRESS not in self.can:
            closed["egress_allow"] = ()
        if Ability.LISTEN not in self.can:
            closed["listen_allow"] = ()
        if Ability.FILES not in self.can:
            closed["file_roots"] = ()
            if settings.file_access == FileMode.ANYWHERE:
                closed["file_access"] = FileMode.TENANT
        if Ability.CLOUD not in self.can:
            closed["cloud_credentials"] = False
        return settings.model_copy(update=closed)

    def openings(self, told: Openings) -> Openings:
        """What a worker tells that it opens, without what was not granted."""
        return replace(
            told,
            exec=told.exec and Ability.EXEC in self.can,
            egress=told.egress if Ability.EGRESS in self.can else (),
            listen=told.listen if Ability.LISTEN in self.can else (),
            cloud=told.cloud and Ability.CLOUD in self.can,
        )

    def files(self, told: FilePolicy) -> FilePolicy:
        """Where a worker tells that its jobs read and write, without what was not granted."""
        if Ability.FILES in self.can:
            return told
        mode = FileMode.TENANT if told.mode is FileMode.ANYWHERE else told.mode
        return replace(told, roots=(), mode=mode, granted=False)


@dataclass(frozen=True, slots=True)
class WorkerToken:
    """A token without its secret."""

    id: str
    grant: WorkerGrant
    name: str  # of the worker that may redeem it, and whose credential it may replace; empty: whichever
    uses: int
    used: int
    approval: bool  # whether somebody has to approve each worker
    created_at_ns: int
    created_by: str
    expires_at_ns: int
    revoked_at_ns: int | None = None

    def usable(self, now_ns: int) -> bool:
        """Whether another worker can be let in with it."""
        return self.revoked_at_ns is None and self.expires_at_ns > now_ns and self.used < self.uses


@dataclass(frozen=True, slots=True)
class Credential:
    """What the engine knows of a worker that was let in. Keys are Ed25519, raw, as hex."""

    id: str
    name: str
    grant: WorkerGrant
    token: str
    public_key: str
    previous_key: str
    generation: int
    state: EnrolmentState
    address: str  # from where it was asked for
    created_at_ns: int
    decided_at_ns: int | None = None
    decided_by: str = ""
