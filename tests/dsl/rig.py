"""A worker in miniature for tests of inputs, outputs and the executor: real components, real files, a fake bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.dsl.component import REGISTRY, Event, Limits, Outgoing, Run
from core.dsl.language.compile import CompiledJob
from core.dsl.language.course import Leg, Numbers
from core.model.kv import KV
from core.worker.channels import Channels
from core.worker.environment import Environment
from core.worker.executor import Executor
from core.worker.kv import NoKV
from core.worker.runs import RunReport
from tests import waiting
from tests.filepolicies import EVERYWHERE

Process = Callable[[list[Event], Run], list[Event]]


def pass_on(events: list[Event], run: Run) -> list[Event]:
    return events


@dataclass
class Worker:
    """What a job sees of its worker, with everything it did kept for the test."""

    state: Path
    limits: Limits = field(default_factory=lambda: Limits(files=EVERYWHERE))
    channels: Channels = field(default_factory=Channels)
    log_lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    messages: list[Outgoing] = field(default_factory=list)
    reports: list[RunReport] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    store: KV = field(default_factory=NoKV)
    bus_fault: Exception | None = None
    held: list[asyncio.Future[None]] | None = None  # a list: publishing waits until the test ends the futures

    def publish(self, message: Outgoing) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.messages.append(message)
        if self.bus_fault is not None:
            future.set_exception(self.bus_fault)
        elif self.held is not None:
            self.held.append(future)
        else:
            future.set_result(None)
        return future

    def env(self, name: str = "job") -> Environment:
        return Environment(
            job=name,
            worker="w1",
            tenant="default",
            workload=f"{name}.0",
            limits=self.limits,
            state_dir=self.state / name,
            log=lambda level, text, **fields: self.log_lines.append((level, text, fields)),
            publish=self.publish,
            variable=self.variables.get,
            channels=self.channels,
            store=self.store,
        )

    def executor(
        self, source: dict[str, Any], sink: dict[str, Any], process: Process = pass_on, name: str = "job", **more: Any
    ) -> Executor:
        return Executor(job(source, sink, process, name), self.env(name), on_run=self.reports.append, **more)

    async def run(self, source: dict[str, Any], sink: dict[str, Any], process: Process = pass_on) -> RunReport:
        """Run a job that ends by itself; returns the report of its last run. Raises JobFailed like the executor."""
        await self.executor(source, sink, process).run()
        return self.reports[-1]

    async def read(self, source: dict[str, Any]) -> list[Event]:
        """The events that an input gives to a job that runs once."""
        seen: list[Event] = []

        def keep(events: list[Event], run: Run) -> list[Event]:
            seen.extend(events)
            return pass_on(events, run)

        await self.run(source, {"discard": {}}, keep)
        return seen

    async def write(self, events: str, sink: dict[str, Any]) -> RunReport:
        """Send lines of JSON to an output."""
        return await self.run({"echo": {"event": events, "json": True}}, sink)

    @property
    def printed(self) -> list[str]:
        return [text for level, text, _ in self.log_lines if level == "print"]

    @property
    def warnings(self) -> list[str]:
        return [text for level, text, _ in self.log_lines if level == "warning"]


def declare(kind: str, document: dict[str, Any]) -> Any:
    """The declaration of one component, validated."""
    ((name, body),) = document.items()
    component = REGISTRY.get(kind, name)
    assert component is not None, name
    return component.model_validate(body)


def job(source: dict[str, Any], sink: dict[str, Any], process: Process = pass_on, name: str = "job") -> CompiledJob:
    def through(events: Iterable[Event], run: Run, numbers: Numbers) -> tuple[list[Event], Numbers]:
        given = list(events)
        return process(given, run) if given else [], numbers

    return CompiledJob(name, "", {}, declare("input", source), declare("output", sink), (Leg(through, slow=False),), ())


async def opened(executor: Executor) -> None:
    """Until a job is open: what is delivered from now on is a run at once."""
    await waiting.until(lambda: executor._open)
