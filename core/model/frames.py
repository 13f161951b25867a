"""What an engine and its workers say to each other, one value for each kind of frame; nobody else writes or reads them.

A frame is a line of JSON: an array of the kind and of its fields in their order, `["settle",17,null]`. A later protocol
may append fields, which have defaults and which an older reader passes over; what is not understood is refused, with
the reason, and ends the connection. Questions and their answers are objects and not frames (core.channel).
docs/worker-protocol.md is generated from here.

Structs of msgspec, because they are both checked and the quickest: to write and read a settlement takes 0.6 of the time
of a tuple in orjson, which a NamedTuple (1.6 times) or a dataclass (1.1) only add to.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
import orjson

from core.model.states import WorkloadState

PROTOCOL: Final = 4
"""Which frames there are and what they mean; engine and worker have to speak the same (docs/worker-protocol.md)."""

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
SpanId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
Method = Literal["", "POST", "PUT", "PATCH"]
Json = msgspec.Raw
"""A value as JSON, on one line: what is passed on unread is not written and read anew."""


class Frame(msgspec.Struct, array_like=True, gc=False, tag_field="frame", tag=str.lower):
    """What all kinds have."""

    since: ClassVar[int] = 2
    """The first protocol with this kind."""


def protocol_fault(spoken: object) -> str:
    """What is said to a worker that speaks another protocol; empty for this one."""
    if spoken == PROTOCOL:
        return ""
    other = f"protocol {spoken}" if isinstance(spoken, int) else "another one"
    return f"This engine speaks protocol {PROTOCOL} with workers, and the worker {other}."


class FrameRefused(ValueError):
    """A line that is no frame of this protocol; its text says why."""


# -- from the engine --------------------------------------------------------------------------------------------------


class Assign(Frame):
    """Run a workload, in place of the version that runs."""

    workload: str
    """TENANT/JOB#REPLICA"""
    tenant: str
    job: str
    version: str
    replica: int
    document: str
    """The compiled job document, as JSON."""
    number: Natural = 0
    """What the witness of this worker calls it."""


class Unassign(Frame):
    """Stop a workload."""

    workload: str


class Deliver(Frame):
    """A message for a workload, which is owed a `settle`."""

    delivery: Natural
    workload: str
    attempt: Natural
    """From 1: how often it was sent."""
    message: Json
    """The event form of a message (core.model.message)."""


class Published(Frame):
    """What was published is committed, up to a sequence number."""

    sequence: Natural


class ChannelDriver(msgspec.Struct, array_like=True, gc=False):
    """How a channel between jobs of this worker passes events on."""

    channel: str
    """TENANT/NAME"""
    driver: str
    """standard (each event to one reader) or clone (to every reader)"""
    readers: Natural
    """How many jobs read it."""


class Logged(Frame):
    """The lines of logs were taken, up to a sequence number."""

    since: ClassVar[int] = 3

    sequence: Natural


class Channels(Frame):
    """Every channel that a job of this worker reads, before the jobs that write into them."""

    drivers: list[ChannelDriver]


class Variable(Frame):
    """A dynamic variable of a tenant was set, or removed."""

    tenant: str
    name: str
    value: str | None
    """None: it is gone."""


class Secrets(Frame):
    """The secrets of a workload, all of them, in place of those that it had."""

    workload: str
    values: dict[str, str]
    """By full name, SCOPE/NAME."""


class Schedule(Frame):
    """Where the schedule of a workload stands: before the workload is assigned, and when that changes."""

    since: ClassVar[int] = 3

    workload: str
    since_ns: Natural
    """What came due after it and did not run was missed."""
    paused: bool
    """Nothing fires by its time."""


class Fire(Frame):
    """Run a scheduled workload once, also while it is paused; the `run` of it names the order."""

    since: ClassVar[int] = 3

    workload: str
    order: Natural
    cause: str
    """manual, which goes before what is due, or backfill or catch-up, which come behind it"""
    scheduled_ns: Natural
    """Which time the run is for."""


class Drain(Frame):
    """Finish what is at work, and end: for the process of a worker (`worker_drain` moves work away, and it stays)."""


# -- from the worker --------------------------------------------------------------------------------------------------


class Hello(Frame):
    """The worker is ready to be told what to run."""

    name: str
    files: dict[str, Any] | None = None
    """Where its jobs may read and write (core.guard.filepolicy)."""
    sandbox: str = ""
    """What keeps its process from the system, or why nothing does."""
    openings: dict[str, Any] | None = None
    """What is opened to its jobs besides files (core.guard.openings)."""


class Bye(Frame):
    """The worker ends in order: it has stopped everything, and what it has not settled was not run."""


class Unconfined(Frame):
    """It has to have a sandbox, cannot have one, and ends."""

    reason: str


class Publish(Frame):
    """A workload publishes a message, which is confirmed by `published` when it is committed."""

    sequence: Natural
    """Grows by one with each message of this connection."""
    workload: str
    kind: str
    type: str
    tag: str
    data: Json
    variable: str = ""
    """The dynamic variable that the message sets, if it does."""
    settles: Natural = 0
    """The delivery whose run has ended well with this message, as by a `settle` behind it; 0: none. From protocol 4."""


class Span(msgspec.Struct, array_like=True, gc=False):
    """What took how long in a run whose trace is sampled: the run itself, or one request of its output."""

    span: SpanId
    started_ns: Natural
    ended_ns: Natural
    failed: bool
    method: Method = ""
    """Of the request; empty: it is the run."""
    status: Natural = 0
    """What the request was answered with; 0: it was not."""


class Settle(Frame):
    """The run for a delivery has ended. Behind the messages that this run has published, of which the last one says it
    in its place when the run ended well."""

    delivery: Natural
    reason: str | None
    """Why the run failed and need not be tried again; None when it has not."""
    spans: tuple[Span, ...] = ()
    """The run, and then its requests, when the `traceparent` of its message says that it is sampled."""


class Status(Frame):
    """A workload is in another state."""

    workload: str
    version: str
    state: WorkloadState
    reason: str
    restarts: Natural


class Run(Frame):
    """A run of a workload has ended, or several of them, which messages had started."""

    workload: str
    runs: Natural
    trigger: str
    """once, interval, cron, message or continuous"""
    started_ns: Natural
    """When the first of them started, in nanoseconds since the epoch."""
    ended_ns: Natural
    """When the last of them ended."""
    events_in: Natural
    events_out: Natural
    errors: Natural
    ok: bool
    """None of them has failed."""
    reason: str
    """Why the last one that failed did so."""
    cause: str = ""
    """Of a scheduled workload: schedule, catch-up, manual or backfill."""
    scheduled_ns: Natural = 0
    """Of a scheduled workload: which time the run was for."""
    order: Natural = 0
    """What asked for it, as `fire` named it; 0: the timetable."""
    run: str = ""
    """What the worker calls it; empty for several."""
    failed: Natural = 0
    """How many of them have failed."""
    canceled: bool = False
    """Somebody wanted its end."""
    refused: Natural = 0
    """Events that an action dropped because it could not be done, or that the output refused."""
    skipped: Natural = 0
    """Files, objects and lines that the input left out."""


class Began(Frame):
    """A run takes longer than most: it is told before its end, so that it can be looked at and ended."""

    since: ClassVar[int] = 3
    workload: str
    run: str
    """What the worker calls it."""
    trigger: str
    started_ns: Natural
    delivery: Natural = 0
    """Whose message started it, if one did."""
    cause: str = ""
    scheduled_ns: Natural = 0
    order: Natural = 0


class Fired(Frame):
    """A run of a scheduled workload begins."""

    since: ClassVar[int] = 3

    workload: str
    cause: str
    """schedule, catch-up, manual or backfill"""
    scheduled_ns: Natural
    """Which time it is for."""
    skipped: Natural
    """How many times came due since the run before and were left out."""
    order: Natural = 0
    """What asked for it, as `fire` named it; 0: the timetable."""


class Missed(Frame):
    """Times of a scheduled workload came due while it could not run, and are left out."""

    since: ClassVar[int] = 3

    workload: str
    count: Natural
    """At least so many."""
    first_ns: Natural
    last_ns: Natural
    owed: Natural
    """How many others are made up for now."""


class Lines(msgspec.Struct, array_like=True, gc=False):
    """Lines of the log of a workload, in their order (core.model.log_lines)."""

    workload: str
    lines: Natural
    """How many."""
    columns: Json
    """Five lists: names of levels; and for each line, as numbers: the place of its level in them; its time, by how much
    it is later than the one before (of the first, in nanoseconds since the epoch); how many bytes of the text are its
    own; and of these, how many its fields and the blank before them take. A sixth, when some were written in a run: of
    lines in a row that have it in common, what the worker calls the run, the invocation that started it (either may
    be empty), and how many they are."""
    text: Json
    """One text: of each line what it says, its fields (a blank and an object of JSON, when there are any) and a line
    end."""


class Logs(Frame):
    """What was written to the logs of some workloads within a tenth of a second or so. It is confirmed by `logged`."""

    since: ClassVar[int] = 3

    sequence: Natural
    """Grows by one with each of them on this connection."""
    parts: list[Lines]
    too_many: Natural = 0
    """Lines that were left out since the last one, for a job wrote too many."""
    slow_engine: Natural = 0
    """Lines that were left out since the last one, for the engine had not taken those before."""


class TargetOutage(msgspec.Struct, array_like=True, gc=False):
    """An input or output tries in vain to reach what it connects to, or did so until it came through."""

    component: str
    """Its name in the job language."""
    target: str
    """What it connects to, in words."""
    since_ns: Natural
    """When the first of these tries had failed."""
    tries: Natural
    """How many have failed."""
    reason: str
    """Why the last one failed, shortened and without secrets."""
    ended_ns: Natural = 0
    """When one came through; 0: none has."""


class Figures(msgspec.Struct, array_like=True, gc=False):
    """Totals of a workload since its worker was told to run it."""

    events_in: Natural
    events_out: Natural
    bytes_in: Natural
    bytes_out: Natural
    errors: Natural
    runs: Natural
    runs_failed: Natural
    last_event_at_ns: Natural
    """0: there was none."""
    lag_seconds: float
    """For how long a run of its schedule is overdue."""
    refused_by_input: Natural = 0
    """Files, objects and lines that the input left out."""
    refused_by_actions: Natural = 0
    """Events that an action dropped, because it could not be done."""
    refused_by_output: Natural = 0
    """Events that the output refused."""
    letters_dropped: Natural = 0
    """Refused events of which no letter was kept, for there was no room."""
    input_outage: TargetOutage | None = None
    """Of what the input connects to, the present one or the last; null: there was none."""
    output_outage: TargetOutage | None = None
    """Of what the output connects to, likewise."""
    conditions_failed: Natural = 0
    """Events for which a condition could not be worked out, so that it did not hold."""
    calls: Natural = 0
    """Requests that its actions have sent, each try."""
    calls_failed: Natural = 0
    """Calls of its actions that gave no usable answer, after all their tries."""
    cache_hits: Natural = 0
    """Answers that its actions remembered, so that no call was made."""
    cache_misses: Natural = 0
    """Answers that a cache of its actions did not hold."""
    prompt_tokens: Natural = 0
    """Tokens that models have read for it."""
    completion_tokens: Natural = 0
    """Tokens that models have written for it."""
    cost_millionths: Natural = 0
    """What that has cost by the prices of its document, in millionths of their unit."""


OF_CALLS = (
    *("calls", "calls_failed", "cache_hits", "cache_misses"),
    *("prompt_tokens", "completion_tokens", "cost_millionths"),
)
"""Those of the figures that only a job has whose actions call somebody."""


class Beat(Frame):
    """A sign of life, with the figures that have changed since the last one."""

    figures: dict[str, Figures]
    """By workload."""


# -- from both --------------------------------------------------------------------------------------------------------


class Refused(Frame):
    """The other end has sent what is no frame of this protocol; this connection ends."""

    reason: str


FromEngine = (
    Assign | Unassign | Deliver | Published | Logged | Channels | Variable | Secrets | Schedule | Fire | Drain | Refused
)
FromWorker = Settle | Publish | Beat | Run | Began | Logs | Status | Fired | Missed | Hello | Bye | Unconfined | Refused
ACTS: Final = (Publish,)
"""What a worker does in the name of a workload; with the others that name one it tells of it."""

encode = msgspec.json.Encoder().encode
"""A frame as the bytes of its line, without the newline."""


def value(json: Json) -> Any:
    """What a part says that was passed on as JSON. Raises ValueError when it is not JSON."""
    return orjson.loads(memoryview(json))


class Codec:
    """What one end reads."""

    def __init__(self, kinds: Any) -> None:
        """`kinds`: a union of frames."""
        self._decoder = msgspec.json.Decoder(kinds)

    def decode(self, line: bytes) -> Any:
        """The frame of a line.

        Raises FrameRefused.
        """
        try:
            return self._decoder.decode(line)
        except msgspec.DecodeError as error:
            raise FrameRefused(f"This is no frame of protocol {PROTOCOL}: {error}.") from None

    @staticmethod
    def refusal(reason: str) -> bytes:
        """The frame that says that another one was refused."""
        return encode(Refused(reason))


OF_ENGINE: Final = Codec(FromEngine)
OF_WORKER: Final = Codec(FromWorker)
