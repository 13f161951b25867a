"""The `on-error` key of a job: what becomes of an event that cannot be brought to its end."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from core.dsl.component import Config


class Send(Config):
    """Where refused events are sent: to a channel of the worker, or as messages."""

    channel: str | None = Field(default=None, min_length=1, max_length=256)
    """A worker channel, for a job of the same worker."""
    message: str | None = Field(default=None, min_length=1, max_length=200)
    """The tag of `user-generated` messages; what was refused is found under `job_event`."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.channel is None) == (self.message is None):
            raise ValueError("send has exactly one of channel and message")
        return self


class OnError(Config):
    """What becomes of an event that an output refuses or an action cannot be done to, of a file or object that cannot
    be read, and of a message that is given up.

    An outage is none of these: what cannot be reached is tried again, and the events wait.
    """

    scalar: ClassVar[str] = "mode"

    mode: Literal["keep", "log", "fail"] = "keep"
    """`keep`: as a dead letter, which can be looked at and replayed. `log`: count it and tell the log, no more. `fail`:
    the run fails, and its events come again."""
    event: bool = True
    """Keep the event itself; with false only where and why it was refused, so it cannot be replayed."""
    send: Send | None = None
    """Send it on instead of keeping it: {channel: NAME} or {message: TAG}."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.send is not None and "mode" in self.model_fields_set:
            raise ValueError("send stands in the place of mode; leave one of both out")
        return self


KEEP = OnError()
