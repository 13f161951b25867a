"""One connected worker, seen from the owner: what it was told to run, what it holds, and what it reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core import clock, witness
from core.bus.base import Delivery
from core.channel import Channel
from core.fleet.failing import Failure
from core.guard.filepolicy import FilePolicy
from core.guard.openings import Openings
from core.model import frames
from core.model.enrolment import WorkerGrant
from core.model.states import WorkerState

if TYPE_CHECKING:
    from core.model.results import workers, workloads

Stamp = tuple[tuple[str, int, int], ...]
"""Names some secrets in their present versions (see Vault.stamp)."""

LOCAL = "local"  # a process that this engine starts
EXTERNAL = "external"  # a process of another machine that joins (core.external)
WINDOW = 64  # deliveries that one replica may hold; enough to keep it busy while an answer travels


class Replica:
    """A workload on a connected worker, as a consumer of the bus."""

    __slots__ = ("_channel", "outstanding", "window", "worker", "workload")

    def __init__(self, workload: str, worker: str, channel: Channel) -> None:
        self.workload = workload
        self.worker = worker
        self.window = WINDOW
        self.outstanding: dict[int, Delivery] = {}
        self._channel = channel

    def send(self, delivery: Delivery) -> None:
        # The stored message bytes are the wire bytes: serialised once.
        message = frames.Json(delivery.body)
        self._channel.send(frames.encode(frames.Deliver(delivery.id, self.workload, delivery.attempt, message)))


def _no_figures() -> workloads.Figures:
    return {}


@dataclass(slots=True)
class Observed:
    """What a worker last said about a workload."""

    state: str
    reason: str = ""
    restarts: int = 0
    version: str = ""
    at_ns: int = 0
    metrics: workloads.Figures = field(default_factory=_no_figures)
    failure: Failure | None = None
    run_failed: bool = False  # the last run of its schedule, if it has one


@dataclass(slots=True, eq=False)
class Worker:
    """A worker that the engine knows, connected or not."""

    name: str
    started_in: str  # the group that its engine started it in
    slots: int
    kind: str = LOCAL
    group: str = ""  # where it is
    labels: tuple[str, ...] = ()
    state: WorkerState = WorkerState.OFFLINE
    pid: int | None = None
    channel: Channel | None = None
    heartbeat_at_ns: int = 0
    last_seen: float = 0.0  # monotonic
    away_since: float = field(default_factory=clock.monotonic)  # since when it is not online, unless it is
    sent: dict[str, str] = field(default_factory=dict)  # workload id -> fingerprint of what it was told
    entrusted: set[str] = field(default_factory=set)  # every workload that this connection was told to run
    tenants: set[str] = field(default_factory=set)  # of these: whose variables it knows
    overreached: bool = False  # it spoke for a workload that is not among them
    left: bool = False  # it has said that it ends, and holds nothing any more
    given: dict[str, Stamp] = field(default_factory=dict)  # workload id -> names and versions of the secrets it has
    shut_out: str = ""  # why the engine ended its connection for good
    life: str = ""  # of its process: what the numbers of its witness are made with
    judged: str = ""  # the last life that a worker of another machine has told the end of
    replicas: dict[str, Replica] = field(default_factory=dict)
    channels: list[frames.ChannelDriver] = field(default_factory=list)  # what it was told of its channels
    drained: bool = False
    restarts: int = 0
    sandbox: str = ""  # what it last said of its own, or why it has none
    started_slots: int = 0  # with how many it was started
    openings: Openings | None = None  # what is opened to its jobs; of one of another machine since it said so
    grant: WorkerGrant | None = None  # of one of another machine that was let in by a token
    files: FilePolicy | None = None  # where its jobs may read and write; of one of another machine since it said so

    def __post_init__(self) -> None:
        self.group = self.group or self.started_in
        self.started_slots = self.slots

    @property
    def online(self) -> bool:
        return self.state is WorkerState.ONLINE

    @property
    def connected(self) -> bool:
        return self.channel is not None and not self.channel.closed.is_set()

    def connect(self, link: Channel, pid: int | None, life: str = "") -> None:
        """A process took this name: it was told nothing yet."""
        self.channel, self.pid, self.left, self.overreached, self.shut_out = link, pid, False, False, ""
        self.life = life or witness.life()
        self.heard()

    def disconnect(self) -> None:
        """Its process has gone, and with it all that it was told."""
        self.channel, self.pid = None, None
        for told in (self.sent, self.entrusted, self.tenants, self.given, self.replicas):
            told.clear()
        self.channels = []

    def number(self, workload: str, version: str) -> int:
        """What the witness of this worker calls a version of a workload."""
        return witness.number(self.life, workload, version)

    def heard(self) -> None:
        self.last_seen = clock.monotonic()
        self.heartbeat_at_ns = clock.now_ns()

    def row(self, jobs: int) -> workers.Worker:
        """The worker as worker_list shows it."""
        return {
            "name": self.name,
            "group": self.group,
            "state": WorkerState.DRAINING if self.online and self.drained else self.state,
            "kind": self.kind,
            "pid": self.pid,
            "slots": self.slots,
            "jobs": jobs,
            "labels": list(self.labels),
            "drained": self.drained,
            "restarts": self.restarts,
            "sandbox": self.sandbox,
            "last_heartbeat_at": clock.iso(self.heartbeat_at_ns) if self.heartbeat_at_ns else None,
        }


Notice = Callable[[Worker, str, Any], None]
