"""What whoever runs a worker has opened to its jobs besides files, as the worker tells it (docs/opening.md).

It is for plans alone: what a job may do is decided on the machine of the worker when the job does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from core.guard.pathrules import Locator
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Openings:
    """What is opened; without values nothing is."""

    exec: bool = False
    egress: tuple[str, ...] = ()
    """Addresses or CIDR blocks."""
    listen: tuple[str, ...] = ()
    """Addresses or CIDR blocks besides loopback."""
    closed_ports: tuple[int, ...] = ()
    """Where no job listens."""
    cloud: bool = False
    """Jobs may act as the operator in clouds."""
    nats: bool = False
    """It knows a NATS server."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Openings:
        """From the JSON of one; what a newer worker tells besides is passed over. Raises ValueError."""
        try:
            return Openings(
                bool(data.get("exec")),
                tuple(map(str, data.get("egress", ()))),
                tuple(map(str, data.get("listen", ()))),
                tuple(map(int, data.get("closed_ports", ()))),
                bool(data.get("cloud")),
                bool(data.get("nats")),
            )
        except (TypeError, AttributeError) as error:
            raise ValueError(f"these are no openings: {error}") from error


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker that a job may come to, and what it opens to the tenant; None: that is not known."""

    worker: str
    external: bool
    openings: Openings | None
    files: Locator | None
    can: frozenset[str] | None = None
    """What its token granted, of a worker that one let in (core.model.enrolment)."""


def of(settings: Settings) -> Openings:
    """What these settings open on this machine."""
    return Openings(
        settings.allow_exec,
        tuple(settings.egress_allow),
        tuple(settings.listen_allow),
        tuple(sorted(settings.ports_closed_to_jobs)),
        settings.cloud_credentials,
        bool(settings.nats),
    )
