"""Messages of the bus: small notes for coordination, never bulk data (docs/jobs.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from core import clock

VERSION = "0.1"  # of the event shape that an internal-messages input delivers
TRIGGER_INVOKE = "trigger_invoke"  # the type of the payload of an invocation
INVOCATION_ID = re.compile(r"inv_[0-9a-zA-Z]{28}")


class Kind(StrEnum):
    SYSTEM = "system"
    USER = "user"


class Source(StrEnum):
    SERVER = "server"
    WORKER = "worker"
    JOB = "job"


class Type(StrEnum):
    """The message types that Sluice itself emits."""

    USER_GENERATED = "user-generated"  # output.message, and every trigger invocation; the only type with tags
    USER_ALERT = "user-alert"  # the message action
    TRIGGER_PROXY_RESPONSE = "trigger-proxy-response"  # http-post, when the event carries trigger_proxy
    JOB_RUN_STARTED = "job-run-started"
    JOB_RUN_ENDED = "job-run-ended"
    JOB_FAILED = "job-failed"  # a workload ended with an error; it restarts after a back-off
    TENANT_ON_PROBATION = "tenant-on-probation"  # its jobs ended workers again and again: nothing new of it runs yet
    JOB_QUARANTINED = "job-quarantined"  # workers died again and again while it was at work: it does not run any more
    INVOCATION_CANCELED = "invocation-canceled"  # a run of a trigger was ended by who wanted it
    WORKER_ONLINE = "worker-online"
    WORKER_LOST = "worker-lost"
    DEPLOYMENT_APPLIED = "deployment-applied"
    HEALTH_CHANGED = "health-changed"  # of a deployment, or of a job on its own; data: before, health, reason
    SCHEDULE_MISSED = "schedule-missed"  # times of a job came due while nothing could run it, and are left out
    SCHEDULE_PAUSED = "schedule-paused"
    SCHEDULE_RESUMED = "schedule-resumed"
    VARIABLE_SET = "variable-set"  # a dynamic variable has a new value; the message has its name only
    MCP_ACTIVITY = "mcp-activity"  # metadata of a tool call, when a session forwards its activity


class Class(StrEnum):
    """What messages are kept for as long, and as many, as their class says: runs never push out the rest."""

    CONTROL = "control"  # what happened to jobs, workers and deployments
    USER = "user"  # what jobs and people said
    RUN = "run"  # that runs began and ended


CLASSES: Mapping[Class, tuple[str, ...]] = {
    Class.USER: (Type.USER_GENERATED, Type.USER_ALERT, Type.TRIGGER_PROXY_RESPONSE),
    Class.RUN: (Type.JOB_RUN_STARTED, Type.JOB_RUN_ENDED),
}
"""The types of a class; every other type is of CONTROL."""


def class_of(type: str) -> Class:
    return next((one for one, types in CLASSES.items() if type in types), Class.CONTROL)


class Message(NamedTuple):
    """One message. `data` is the public payload that `${msg|path}` reads; user payloads sit under `job_event`."""

    id: int
    tenant: str
    kind: str
    source: str
    type: str
    tag: str = ""
    job: str = ""
    worker: str = ""
    at_ns: int = 0
    data: Mapping[str, Any] | None = None
    traceparent: str = ""  # of the invocation that it carries (core.model.trace_context)

    def event(self) -> dict[str, Any]:
        """The event that an internal-messages input delivers (docs/components.md)."""
        out: dict[str, Any] = {
            "id": text_id(self.id),
            "kind": self.kind,
            "message_type": self.type,
            "nanoseconds_since_epoch": self.at_ns,
            "source": self.source,
            "version": VERSION,
        }
        if self.tag:
            out["tag"] = self.tag
        if self.job:
            out["job_name"] = self.job
        if self.worker:
            out["worker_id"] = self.worker
        if self.traceparent:
            out["traceparent"] = self.traceparent
        if self.data is not None:
            out["message_data"] = self.data
        return out

    def encode(self) -> bytes:
        """The event as JSON bytes: what is stored is what goes over the wire."""
        return orjson.dumps(self.event())


def renumbered(event: bytes, id: int) -> bytes:
    """An encoded event with another id."""
    return orjson.dumps({**orjson.loads(event), "id": text_id(id)})


def text_id(number: int) -> str:
    return "msg_" + clock.encode(number)


def is_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return text.startswith("msg_") and clock.is_encoded(text[4:])


def number(text_id: str) -> int:
    """The number behind an id. Raises ValueError for what is none."""
    return clock.decode(text_id.removeprefix("msg_"))


Wanted = str | tuple[str, ...]
"""One value, any of several, or (empty) whatever there is."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages a job listens to; an empty field matches everything."""

    kind: Wanted = ""
    types: tuple[str, ...] = ()
    tag: Wanted = ""
    sources: tuple[str, ...] = ()
    job: Wanted = ""
    worker: Wanted = ""

    def matches(self, message: Message) -> bool:
        return (
            _fits(self.kind, message.kind)
            and (not self.types or message.type in self.types)
            and _fits(self.tag, message.tag)
            and (not self.sources or message.source in self.sources)
            and _fits(self.job, message.job)
            and _fits(self.worker, message.worker)
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of which a message must have one; none when it may have any or none."""
        return self.tag if isinstance(self.tag, tuple) else (self.tag,) if self.tag else ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "types": list(self.types),
            "tag": self.tag,
            "sources": list(self.sources),
            "job": self.job,
            "worker": self.worker,
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Filter:
        return Filter(
            _wanted(data.get("kind", "")),
            tuple(data.get("types", ())),
            _wanted(data.get("tag", "")),
            tuple(data.get("sources", ())),
            _wanted(data.get("job", "")),
            _wanted(data.get("worker", "")),
        )


def _fits(wanted: Wanted, value: str) -> bool:
    return not wanted or wanted == value or (type(wanted) is tuple and value in wanted)


def _wanted(value: str | list[str] | tuple[str, ...]) -> Wanted:
    return value if isinstance(value, str) else tuple(value)


def is_invocation(event: Mapping[str, Any]) -> bool:
    """Whether a message, as an event, is an invocation: then somebody hears of its run, and can have it run again."""
    return _invoked(event) is not None


def claimed_invocation(event: Mapping[str, Any]) -> object:
    """What a message, as an event, says to be the id of the invocation that it is or hands on (`checked_invocation`);
    None when it is none."""
    body = _invoked(event)
    return None if body is None else body.get("invocation_id")


def checked_invocation(claimed: object) -> str:
    """The id of an invocation; empty when it is none."""
    return claimed if isinstance(claimed, str) and INVOCATION_ID.fullmatch(claimed) else ""


def _invoked(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    body = (event.get("message_data") or {}).get("job_event")
    return body if isinstance(body, dict) and body.get("type") == TRIGGER_INVOKE else None
