"""The actions that speak up: message tells people, abort stops the job."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Literal

from core.dsl.component import REGISTRY, Env, Event, Outgoing, Run
from core.dsl.events.codegen import Warn
from core.dsl.language import templates
from core.dsl.language.action import Action, Each, JobAborted
from core.errors import shorten
from core.model.message import Kind, Type


@REGISTRY.register("abort")
class Abort(Action):
    """Stop the job: it fails with this message, its input is not acknowledged, and it is not restarted.

    It starts again when it is deployed again, or when its worker is restarted. A job that messages trigger goes on:
    only the run ends, its message is given up, and an invocation fails with this message. Give it a condition.
    """

    scalar: ClassVar[str] = "message"
    example: ClassVar[str] = """
name: stop-on-poison
input: {echo: {event: '{"kind": "fine"}', json: true}}
actions:
  - abort: {condition: 'kind == "poison"', message: "poison in ${kind}"}
output: {print: STDOUT}
"""

    message: templates.Text = ""
    """Why the job stops; shown in its state and its log."""

    def each(self, env: Env, warn: Warn) -> Each:
        text = templates.template(self.message or "The job was aborted by its abort action.", env, warn)

        def abort(event: Event, run: Run) -> Event:
            raise JobAborted(shorten(text(event, run), 1000))

        return abort


@REGISTRY.register("message")
class Message(Action):
    """Send a notification for people, a `user-alert` message on the bus; the event goes on unchanged."""

    example: ClassVar[str] = """
name: watch-disk
input: {echo: {event: '{"disk": 97, "host": "db1"}', json: true}}
actions:
  - message:
      condition: disk > 90
      notification-type: alert
      message-content: "disk of ${host} is ${disk} % full"
      log-event: true
output: {discard: {}}
"""

    notification_type: Literal["alert", "info"] = "info"
    """How urgent it is."""
    message_content: templates.Text
    """The text."""
    log_event: bool = False
    """Write it to the log of the job as well."""
    tag: templates.Text = ""
    """A label in the payload of the message, for those who read it."""

    def each(self, env: Env, warn: Warn) -> Each:
        content, tag = templates.template(self.message_content, env, warn), templates.template(self.tag, env, warn)
        kind, log_event = self.notification_type, self.log_event
        level = "warning" if kind == "alert" else "info"

        def report(future: asyncio.Future[None]) -> None:
            if not future.cancelled() and (error := future.exception()) is not None:
                env.log("error", "message: the bus did not take a notification", error=str(error))

        def send(event: Event, run: Run) -> Event:
            data: dict[str, Any] = {"notification_type": kind, "content": content(event, run)}
            if label := tag(event, run):
                data["tag"] = label
            env.publish(Outgoing(Kind.USER, Type.USER_ALERT, "", data)).add_done_callback(report)
            if log_event:
                env.log(level, data["content"])
            return event

        return send
