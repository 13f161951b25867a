"""A dead letter: an event that a job could not bring to its end, with where and why; and how a worker tells of one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson

from core import clock

if TYPE_CHECKING:
    from core.model.results import letters, workloads

MOST_NUMBER: Final = 2**63 - 1  # that the store can hold
MOST_EVENT_BYTES: Final = 256 * 1024  # of the event, as JSON; what is longer is cut
MOST_REASON_CHARACTERS: Final = 1000
MOST_NAME_CHARACTERS: Final = 200
TRIED_AGAIN: Final = "its reader tries it again by itself"
NOT_TRIED: Final = "its reader does not run; it tries again when the job is deployed again"
READ_SINCE: Final = "its reader has read it since"


class Code(StrEnum):
    """Why an event was refused, for programs; what a code means does not change."""

    NO_FIELD = "no-field"
    """A field that the output needs is missing, empty or of another kind."""
    EMPTY_PLACEHOLDER = "empty-placeholder"
    """A placeholder of a path or name has no value."""
    PATH_REFUSED = "path-refused"
    """The values of the event make a path or name that is not allowed, or that no file can have there."""
    NOT_JSON = "not-json"
    """The event cannot be written as JSON."""
    TOO_LARGE = "too-large"
    """The event is larger than the receiver takes, or makes a text of the output longer than one may be."""
    NO_ROUTE = "no-route"
    """A conditional dispatch has no output for the event."""
    NO_ANSWER = "no-answer"
    """The event cannot be the answer to an invocation."""
    REFUSED = "refused"
    """The receiver refused this event for good, and took others."""
    ACTION_FAILED = "action-failed"
    """An action could not be done to the event."""
    SKIPPED = "skipped"
    """A file or an object could not be read."""
    UNREADABLE = "unreadable"
    """A record or object is none that can be read, or was gone before it was; its reader has gone on."""
    GIVEN_UP = "given-up"
    """A message was given up: each run that it started failed."""


class Status(StrEnum):
    """What becomes of a letter."""

    WAITING = "waiting"
    REPLAYING = "replaying"  # it is to be taken through the job again
    REPLAYED = "replayed"  # and its output has accepted it; of what was skipped: its reader has read it


class Posted(msgspec.Struct, array_like=True, gc=False):
    """A letter as a worker tells of it."""

    at_ns: int
    version: str
    run: str
    invocation: str
    step: str
    """A pointer into the document of the job."""
    component: str
    code: str
    reason: str
    event: str | None = None
    """JSON; the beginning of it, or how it looks, when `truncated`; None when the job keeps none, or there was none."""
    truncated: bool = False
    redacted: bool = False
    """Whether a secret was taken out of the event or the message, so that it is not what it was."""
    message: str | None = None
    """The payload of the message that started the run, as JSON, for templates that read it."""
    read: bool = False
    """No letter: what was skipped, and has one, has been read. An engine of before counts one attempt more."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter as it is kept."""

    id: int
    tenant: str
    job: str
    deployment: str
    workload: str
    worker: str
    at_ns: int
    version: str
    run: str
    invocation: str
    step: str
    component: str
    code: str
    reason: str
    event: str | None
    truncated: bool
    redacted: bool
    message: str | None
    subject: str
    """What names a file or object that is tried again by itself, so that it is one letter however often it fails."""
    status: str
    attempts: int
    """How often the event was refused at its step."""
    tried_at_ns: int
    """When it was last."""
    replay_step: str = ""
    """From where it is replayed, when that is not its own step."""

    @property
    def obstacle(self) -> str:
        """Why it cannot be replayed; empty when it can."""
        if self.step.startswith("/input"):
            if self.code != Code.SKIPPED:
                return "it never became an event"
            return READ_SINCE if self.status == Status.REPLAYED else TRIED_AGAIN
        if self.event is None:
            return "it has no event"
        if self.truncated:
            return "its event was cut, or has no form in JSON"
        return "a secret was taken out of its event" if self.redacted else ""

    def summary(self) -> letters.LetterItem:
        """All but the event, as operations answer it."""
        return {
            "id": text_id(self.id),
            "at": clock.iso(self.at_ns),
            "job": self.job,
            "version": self.version,
            "deployment": self.deployment or None,
            "workload": self.workload,
            "run": self.run or None,
            "invocation": self.invocation or None,
            "step": self.step,
            "component": self.component,
            "code": self.code,
            "reason": self.reason,
            "status": self.status,
            "attempts": self.attempts,
            "tried_at": clock.iso(self.tried_at_ns),
            "truncated": self.truncated,
            "redacted": self.redacted,
        }

    def to_dict(self, *, is_read: bool = True) -> letters.Letter:
        """The letter with its event: the JSON value, or the beginning of its text when that is not all. `is_read`:
        whether its job runs, so that its reader looks again."""
        event = self.event if self.event is None or self.truncated else orjson.loads(self.event)
        obstacle = self.obstacle
        if obstacle == TRIED_AGAIN and not is_read:
            obstacle = NOT_TRIED
        return {**self.summary(), "event": event, "replayable": not obstacle, "obstacle": obstacle or None}


@dataclass(frozen=True, slots=True)
class Box:
    """What is kept of one job, and what was not."""

    waiting: int = 0  # also those that are being replayed
    replayed: int = 0
    bytes: int = 0
    dropped: int = 0
    """Letters that came while there was no room, since the box was last emptied."""
    dropped_at_ns: int = 0
    """When the last of them came."""
    oldest: int = 0
    """The id of the oldest letter that waits."""

    @property
    def any(self) -> bool:
        """Whether there is anything to tell of."""
        return bool(self.waiting or self.dropped)

    def to_dict(self) -> workloads.Letters:
        """As answers show it."""
        shown: workloads.Letters = {"waiting": self.waiting, "dropped": self.dropped}
        if self.oldest:
            shown["oldest_at"] = clock.iso(self.oldest)  # an id is the time at which it was made
        if self.dropped:
            shown["dropped_at"] = clock.iso(self.dropped_at_ns)
        return shown


EMPTY: Final = Box()


def text_id(number: int) -> str:
    return "let_" + clock.encode(number)


def number(text: str) -> int:
    """The number behind an id; of one that is too large for any, the largest. Raises ValueError for what is none."""
    return min(clock.decode(text.removeprefix("let_")), MOST_NUMBER)


def of_event(event: Any, most_bytes: int = MOST_EVENT_BYTES) -> tuple[str, bool]:
    """An event as JSON, and whether that is not all of it."""
    data, whole = as_json(event)
    text, long = cut(data, most_bytes)
    return text, long or not whole


def as_json(event: Any) -> tuple[bytes, bool]:
    """An event as JSON, and whether that is what it is: what has no JSON form is written as Python shows it."""
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS), True
    except (
        TypeError
    ):  # a long integer, a text that is no Unicode, a nesting too deep: readers of JSON have none of them
        return orjson.dumps(repr(event).encode(errors="replace").decode()), False


def cut(data: bytes, most_bytes: int = MOST_EVENT_BYTES) -> tuple[str, bool]:
    """The beginning of a text in whole characters, and whether there is more of it."""
    if len(data) <= most_bytes:
        return data.decode(), False
    return data[:most_bytes].decode(errors="ignore"), True
