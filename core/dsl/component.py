"""What a component of the job language is: declared, documented and given its schema in one stroke.

A component is a pydantic model of its keys (kebab-case in documents, unknown keys refused, a docstring under each
field is its documentation) with a class attribute `example`. `open()` turns the declaration into something that
moves events. One generic registry serves inputs, actions and outputs.

The three contracts, in the order in which an event meets them:

* `Source.batches(run)` yields `Batch`es of one firing. It never waits for a batch to be settled before it yields
  the next one; it remembers its place (file offset, fingerprint, message ack) only when `Batch.settle` is called,
  so that nothing is forgotten that the output has not accepted: delivery is at least once.
* `process(events, run)` (made by core.dsl.language.compile) maps a list of events to a list of events.
* `Sink.write(batch, run)` takes over the duty to settle the batch, now or later (a sink that collects larger
  batches, or a worker channel whose consumer settles it).
"""

from __future__ import annotations

import asyncio
import functools
import importlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from core.docstrings import Described
from core.guard.filepolicy import CLOSED, FilePolicy
from core.model import frames
from core.model.kv import Namespace
from core.model.letter import Code
from core.model.trace_context import TraceContext

Event = dict[str, Any]
LOGGED_ERRORS = 20  # of one run; the others are counted only


class Config(Described, BaseModel):
    """Base of every declaration in a job document: kebab-case keys, unknown keys refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.rstrip("_").replace("_", "-"),
        validate_by_name=False,
        validate_by_alias=True,
        defer_build=True,  # of the 50 components a process meets a few: each is built when it is first used
    )

    scalar: ClassVar[str] = ""  # the key that a bare value stands for, as in `print: STDOUT`
    listed: ClassVar[str] = ""  # the key that a bare list stands for
    elsewhere: ClassVar[Mapping[str, str]] = {}  # keys that people look for here -> what says it
    spellings: ClassVar[Mapping[str, str]] = {}  # other spellings of a key that older documents use -> our key

    @model_validator(mode="before")
    @classmethod
    def _accept_other_forms(cls, data: Any) -> Any:
        if cls.scalar and data is not None and not isinstance(data, dict | list | BaseModel):
            return {cls.scalar: data}
        if cls.listed and isinstance(data, list):
            return {cls.listed: data}
        if cls.spellings and isinstance(data, dict) and not cls.spellings.keys().isdisjoint(data):
            twice = [f"{old} and {new}" for old, new in cls.spellings.items() if old in data and new in data]
            if twice:
                raise ValueError(f"{twice[0]} are two spellings of one key; keep one")
            return {cls.spellings.get(key, key): value for key, value in data.items()}
        return data

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema tells the other forms too, so that the published schema accepts what the model accepts."""
        out = handler.resolve_ref_schema(handler(schema))
        properties = out.get("properties", {})
        for old, new in cls.spellings.items():
            if new in properties:
                properties[old] = {**properties[new], "deprecated": True, "description": f"The same as {new}."}
        for key in [key for key in out.get("required", ()) if key in cls.spellings.values()]:
            out["required"] = [other for other in out["required"] if other != key]
            either = [key, *(old for old, new in cls.spellings.items() if new == key)]
            out.setdefault("allOf", []).append({"anyOf": [{"required": [one]} for one in either]})
        bare = [_without_null(properties[key]) for key in (cls.scalar, cls.listed) if key in properties]
        if bare:
            title = out.pop("title", cls.__name__)
            return {"title": title, "anyOf": [out, *bare]}
        return out


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a bare value: nothing at all does not stand for a key."""
    branches = [branch for branch in schema.get("anyOf", ()) if branch != {"type": "null"}]
    return {**schema, "anyOf": branches} if branches else schema


class Component(Config):
    """A declaration with a name in the registry. The class docstring is its documentation."""

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()  # what its worker has to open to it, whatever its keys say (language.needs)
    connects_to: ClassVar[str] = ""  # what that is, in words, of one that tries again (connections.retry)
    example: ClassVar[str] = ""  # YAML of one whole job document that runs; a test runs every one


class Refusal(NamedTuple):
    """An event that a job cannot bring to its end, and why."""

    step: str
    """/input, /output, or the pointer of an action; empty for the job as a whole."""
    code: Code
    reason: str
    event: Any = None
    """The event as it is at that step, or what is known of one that never came to be; None: nothing is."""
    component: str = ""
    """That of the step; empty for an end of the job, which has only one."""
    read: Callable[[], None] | None = None
    """Not refused at all: what was skipped before, with this reason, has been read; called when that is on record."""


class Letters(Protocol):
    """What becomes of refused events (core.letters)."""

    def take(self, run: Run, refused: Refusal) -> None:
        """Take one, as it is now. Raises JobFailed when the job is to fail of it."""

    @property
    def lost(self) -> int:
        """How many refused events no letter holds as they were, so far: what they were made of is all there is."""


@dataclass(slots=True)
class Run:
    """One firing of a job: what its templates may read and what it leaves behind."""

    id: str = ""
    msg: dict[str, Any] | None = None  # public payload of the message that started the run, for ${msg|path}
    time: dict[str, Any] = field(default_factory=dict)  # for ${time|NAME}
    stat: dict[str, Any] = field(default_factory=dict)  # for ${stat|NAME}
    events_in: int = 0
    events_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    documents: int = 0  # documents of the input that have ended, for what an action remembers of one
    document: str = ""  # the one that the events at hand are from, when its source can resume in the middle of it
    begins: bool = False  # whether they are its first events
    errors: int = 0  # whatever a component told as a fault; the run goes on
    skipped: int = 0  # those of them that are files, objects or lines which an input left out
    failed: int = 0  # events that an action dropped, because it could not be done
    conditions_failed: int = 0  # events for which a condition could not be worked out, and so did not hold
    unjudged: Event | None = None  # the last of them
    left_out: int = 0  # events that the output refused; their batches are accepted without them
    last_error: str = ""  # why the last of them was refused
    answered: bool = False  # whether the output has answered the invocation that started the run
    letters: Letters | None = None  # where refused events go; nowhere in a trace
    acting: tuple[str, str] = ("", "")  # of an action that waits: its pointer and its name
    replay: bool = False  # of a dead letter, beside the runs of the job
    trace: TraceContext | None = None  # which trace it belongs to, if its message says so; itself a span of it
    requests: list[frames.Span] | None = None  # that it made, when that trace is sampled

    @property
    def lost(self) -> int:
        """See Letters."""
        return 0 if self.letters is None else self.letters.lost

    def refuse(self, env: Env, text: str, count: int = 1) -> None:
        """Count what a component could not do, and tell the log of the job about the first ones."""
        self.errors += count
        self.last_error = text
        if self.errors <= LOGGED_ERRORS:
            env.log("warning", text)

    def condition_failed(self, event: Event) -> None:
        """Count an event for which a condition could not be worked out: once, also when that was so of several."""
        if self.unjudged is not event:
            self.unjudged = event
            self.conditions_failed += 1

    def leave_out(self, env: Env, code: Code, text: str, *events: Any) -> None:
        """Refuse events that the output goes on without: they do not count as `events_out`, and become letters.

        Raises JobFailed when the job is to fail of a refused event.
        """
        self.left_out += len(events)
        self.refuse(env, text, len(events))
        self._give("/output", code, text, events)

    def skip(self, env: Env, text: str, what: Event, code: Code = Code.SKIPPED) -> None:
        """Leave out what an input cannot read; `what` says which it is. Raises like `leave_out`."""
        self.skipped += 1
        self.refuse(env, text)
        self._give("/input", code, text, (what,))

    def read_after_all(self, text: str, what: Event, then: Callable[[], None]) -> None:
        """What was skipped in these words has been read now; `then` is called when its letter is settled."""
        if self.letters is not None:
            self.letters.take(self, Refusal("/input", Code.SKIPPED, text, what, read=then))

    def fail(self, env: Env, text: str, event: Any, acting: tuple[str, str] | None = None) -> None:
        """Drop an event that an action cannot be done to, the one that is `acting`. Raises like `leave_out`."""
        self.failed += 1
        self.refuse(env, text)
        if self.letters is not None:
            step, component = acting or self.acting
            self.letters.take(self, Refusal(step, Code.ACTION_FAILED, text, event, component))

    def shorten(self, env: Env, text: str, what: Event, lost: bool) -> None:
        """Tell of a line that is too long for an event: it is cut, or nothing is left of it. Raises like `skip`."""
        if lost:
            self.skip(env, text, what, Code.TOO_LARGE)
        else:
            self.refuse(env, text)

    def _give(self, step: str, code: Code, text: str, events: Sequence[Any]) -> None:
        if self.letters is not None:
            for event in events:
                self.letters.take(self, Refusal(step, code, text, event))


@dataclass(slots=True)
class Batch:
    """Events that travel together; `settle(None)`: the output accepted them, `settle(error)`: it did not."""

    events: list[Event]
    settle: Callable[[BaseException | None], None] = lambda error: None
    document_end: bool = False  # the last batch of a document, for `batch.mode: document`
    document: str = ""  # see Run; a name that stays the same over restarts
    begins: bool = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that a job wants to publish; the worker adds job, worker, tenant and time."""

    kind: str
    type: str
    tag: str = ""
    data: dict[str, Any] | None = None
    variable: str = ""  # set-variable-name: a variable update instead of a message


@dataclass(frozen=True, slots=True)
class Limits:
    """What the administrator of this worker allows; documents cannot raise it."""

    allow_exec: bool = False
    confined: bool = False  # commands get a sandbox of their own, within that of the worker
    files: FilePolicy = CLOSED
    egress_allow: tuple[str, ...] = ()  # private addresses or CIDR blocks that outgoing HTTP may reach
    listen_allow: tuple[str, ...] = ()  # addresses or CIDR blocks to listen at besides loopback
    closed_ports: frozenset[int] = frozenset()  # where no job listens, on whatever address
    lua_memory_mb: int = 64
    max_line_bytes: int = 16 * 1024 * 1024
    nats: str = field(default="", repr=False)  # the address of the NATS server, perhaps with a password
    stream_replicas: int = 1  # on how many of its servers a new stream is kept
    # What the operator's environment says for clients of clouds; None: no job may act as the operator there.
    cloud: Mapping[str, str] | None = field(default=None, repr=False)


class Channel(Protocol):
    """A named, bounded hop between jobs of one worker."""

    async def put(self, batch: Batch) -> None:
        """Wait for room, then hand the batch over; its consumer settles it."""

    async def get(self) -> Batch:
        """Wait for the next batch."""


class Contact(Protocol):
    """What becomes of the tries to reach the target of an input or output (core.worker.contacts)."""

    @property
    def failing(self) -> bool:
        """Whether the last try has failed."""

    def failed(self, reason: str) -> None:
        """A try has failed, in a way that may be gone at the next one."""

    def reached(self) -> None:
        """A try has come through; need not be told when the one before has, too."""


class Unnoted:
    """The contact of what is neither input nor output of a job that runs: nobody asks."""

    failing = False

    def failed(self, reason: str) -> None:
        pass

    def reached(self) -> None:
        pass


UNNOTED = Unnoted()


@dataclass(slots=True)
class Tally:
    """What the actions of a workload that call others have done, over restarts of its job."""

    calls: int = 0  # requests that were sent, each try
    calls_failed: int = 0  # that gave no usable answer, after all their tries
    cache_hits: int = 0
    cache_misses: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_millionths: int = 0  # of the unit in which the document gives its prices


class Env(Protocol):
    """What a running component may ask of the worker that runs it."""

    job: str
    worker: str
    tenant: str
    workload: str
    limits: Limits
    state_dir: Path  # private to this workload, survives restarts; created on first use

    tally: Tally

    @property
    def before_events(self) -> list[Callable[[], None]]:
        """What has to be done in a thread before the job gets its first event; it raises what the job fails of."""

    @property
    def contact(self) -> Contact:
        """That of the component which has been opened with this Env."""

    def at(self, component: Component) -> Env:
        """This Env, to open an input or output with: what it tries is noted as that of its kind."""

    def log(self, level: str, text: str, **fields: Any) -> None:
        """Write one line to the log of the job (bounded; untrusted text is allowed in fields). Safe in every thread."""

    def publish(self, message: Outgoing) -> asyncio.Future[None]:
        """Send a message to the bus; the future ends when the engine has made it durable."""

    def channel(self, name: str) -> Channel: ...

    def variable(self, name: str) -> str | None:
        """The present value of a dynamic variable."""

    def secret(self, source: str, name: str) -> str:
        """The present value of the secret behind `${source|name}`. Raises JobFailed when this job does not have it."""

    def kv(self, namespace: str) -> Namespace:
        """A namespace of the KV store; a name without a tenant is this job's.

        Raises Forbidden for another tenant's.
        """


class Source(Protocol):
    """An opened input."""

    def batches(self, run: Run) -> AsyncIterator[Batch]:
        """Yield the batches of one firing; a continuous input yields until it is cancelled."""

    async def close(self) -> None:
        """Release what was opened. Safe to call twice."""


@runtime_checkable
class BehindSource(Protocol):
    """A source that knows when it is behind what it reads from, for the lag of the job."""

    def behind_since(self) -> float | None:
        """Since when, on the monotonic clock, there has always been something unread; None when there is nothing."""


class Sink(Protocol):
    """An opened output."""

    async def write(self, batch: Batch, run: Run) -> None:
        """Take the batch and the duty to settle it.

        Raises when the output cannot accept it after its own retries; the batch is then settled with that error.
        """

    async def flush(self, run: Run) -> None:
        """The firing is over: pass on what is still held back."""

    async def close(self) -> None:
        """Release what was opened. Safe to call twice."""


@runtime_checkable
class InstantSource(Protocol):
    """A source that also has its events at hand without waiting, so that a run needs no task."""

    def events(self, run: Run) -> list[Event]:
        """The events of one firing."""


@runtime_checkable
class InstantSink(Protocol):
    """A sink that can also take events without waiting, so that a run needs no task."""

    def write_now(self, events: list[Event], run: Run) -> None:
        """Accept the events before this returns."""


@runtime_checkable
class ConcludingSink(Protocol):
    """A sink that also has something to say at the end of a run that a message started."""

    def conclude(self, run: Run, reason: str) -> None:
        """The run is over; `reason`: why it failed, empty when it did not. Never raises.

        What is published here leaves before the acknowledgement of the message.
        """


class Input(Component):
    """A declared input."""

    kind: ClassVar[str] = "input"

    @property
    def continuous(self) -> bool:
        """Whether it runs until it is stopped; such an input has no schedule of its own."""
        return False

    def effect_of_reading(self) -> str:
        """What reading from it changes for others, so that a trace must not take a sample; empty when nothing."""
        return "reading takes events away from those who wait for them"

    def open(self, env: Env) -> Source:
        raise NotImplementedError


class Output(Component):
    """A declared output."""

    kind: ClassVar[str] = "output"

    def open(self, env: Env) -> Sink:
        raise NotImplementedError


C = TypeVar("C", bound=type[Component])


class Registry:
    """Components by (kind, name); a name that is taken raises at import.

    Each package of a kind lists its components and the modules that declare them; a module is imported when one of its
    components is first asked for. By name, because components import the language that this is below.
    """

    def __init__(self) -> None:
        self._classes: dict[tuple[str, str], type[Component]] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """Class decorator that gives the component its name in documents."""

        def declare(cls: C) -> C:
            key = (cls.kind, name)
            if key in self._classes:
                raise ValueError(f"{cls.kind} {name} is declared twice")
            cls.name = name
            self._classes[key] = cls
            return cls

        return declare

    def get(self, kind: str, name: str) -> type[Component] | None:
        if (kind, name) not in self._classes and (module := _modules(kind).get(name)):
            importlib.import_module(module)
        return self._classes.get((kind, name))

    def names(self, kind: str) -> list[str]:
        return sorted({*_modules(kind), *(name for k, name in self._classes if k == kind)})

    def __iter__(self) -> Iterator[type[Component]]:
        """All there are, by kind and name; imports every one."""
        for module in {module for kind in KINDS for module in _modules(kind).values()}:
            importlib.import_module(module)
        return iter(sorted(self._classes.values(), key=lambda cls: (cls.kind, cls.name)))


KINDS = ("input", "action", "output")


@functools.cache
def _modules(kind: str) -> Mapping[str, str]:
    """Which module declares a component of a kind, by its name."""
    package = importlib.import_module(f"core.dsl.{kind}s")
    return {name: f"{package.__name__}.{module}" for name, module in package.COMPONENTS.items()}


REGISTRY = Registry()
