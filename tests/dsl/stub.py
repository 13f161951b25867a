"""An Env that only remembers, and the shortest way from actions to events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.dsl.component import UNNOTED, Channel, Contact, Event, Limits, Outgoing, Run, Tally
from core.dsl.language import compile as compiler
from core.dsl.language.course import Passage
from core.model.kv import Namespace, qualify
from core.worker.kv import NoKV
from tests.filepolicies import EVERYWHERE


class Sent:
    """What stands for the future of a published message."""

    def add_done_callback(self, callback: Any) -> None:
        self.callback = callback


@dataclass
class Stub:
    job: str = "handler"
    worker: str = "w1"
    tenant: str = "default"
    workload: str = "handler#0"
    limits: Limits = field(default_factory=lambda: Limits(files=EVERYWHERE))
    state_dir: Path = Path("unused")
    lines: list[tuple[str, str]] = field(default_factory=list)
    messages: list[Outgoing] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    contact: Contact = UNNOTED
    tally: Tally = field(default_factory=Tally)
    before_events: list[Callable[[], None]] = field(default_factory=list)

    def log(self, level: str, text: str, **fields: Any) -> None:
        self.lines.append((level, text))

    def publish(self, message: Outgoing) -> asyncio.Future[None]:
        self.messages.append(message)
        return Sent()  # type: ignore[return-value]

    def channel(self, name: str) -> Channel:
        raise NotImplementedError

    def kv(self, namespace: str) -> Namespace:
        return Namespace(NoKV(), qualify(self.tenant, namespace))

    def variable(self, name: str) -> str | None:
        return self.variables.get(name)


def document(*actions: Any) -> dict[str, Any]:
    return {
        "name": "handler",
        "input": {"echo": {"event": "{}", "json": True}},
        "actions": list(actions),
        "output": {"discard": {}},
    }


def run(events: list[Event], *actions: Any, env: Stub | None = None, firing: Run | None = None) -> list[Event]:
    """Take events through actions."""
    return through(compiler.compile_job(document(*actions), env or Stub()), events, firing)


def through(job: compiler.CompiledJob, events: list[Event], firing: Run | None = None) -> list[Event]:
    """Take events through the actions of a job, none of which waits."""
    passage, out = Passage(job.legs, events, firing or Run()), []
    while True:
        out += passage.work(0.0)
        if passage.done:
            return out
