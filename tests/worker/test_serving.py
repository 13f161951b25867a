"""The worker as its engine sees it, over a real channel: assignments in order, logs, reports and channel drivers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core import channel
from core.errors import SluiceError
from core.model import frames
from core.model.log_line import LogLine
from core.model.log_lines import Bundle
from core.store import log_chunks
from core.worker import journal
from core.worker.runtime import Options, Runtime
from tests import waiting

pytestmark = pytest.mark.anyio


class Engine:
    """The other end of the channel."""

    def __init__(self) -> None:
        self.told: list[frames.FromWorker] = []
        self.takes = True
        self.link: channel.Channel

    def heard(self, frame: frames.FromWorker) -> None:
        self.told.append(frame)
        if isinstance(frame, frames.Publish):
            self.say(frames.Published(frame.sequence))
        if isinstance(frame, frames.Logs) and self.takes:
            self.say(frames.Logged(frame.sequence))

    def say(self, frame: frames.Frame) -> None:
        self.link.send(frames.encode(frame))

    def assign(self, id: str, version: str, document: dict[str, Any]) -> None:
        tenant, _, rest = id.partition("/")
        job = rest.rpartition("#")[0]
        text = orjson.dumps({"name": job, **document}).decode()
        self.say(frames.Assign(id, tenant, job, version, 0, text))

    def states(self, id: str) -> list[tuple[str, str]]:
        """(version, state) in order."""
        return [(d.version, d.state) for d in self.told if isinstance(d, frames.Status) and d.workload == id]

    def lines(self, id: str) -> list[LogLine]:
        told = [part for one in self.told if isinstance(one, frames.Logs) for part in one.parts if part.workload == id]
        bundles = [Bundle(1, part.lines, part.columns, part.text) for part in told]
        return [line for bundle in bundles for line in log_chunks.of_bundle(bundle).lines()]

    def printed(self, id: str) -> list[str]:
        return [line.text for line in self.lines(id) if line.level == "print"]

    def figures(self, id: str) -> list[frames.Figures]:
        """What the worker told of a workload's figures, in order."""
        beats = [told for told in self.told if isinstance(told, frames.Beat)]
        return [beat.figures[id] for beat in beats if id in beat.figures]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    ours, theirs = socket.socketpair()
    made = Engine()
    options = Options("w1", str(tmp_path / "home"), heartbeat_seconds=0.02, drain_seconds=1.0)
    serving = asyncio.create_task(Runtime(options).serve(theirs))
    made.link = await channel.over_socket(ours, codec=frames.OF_WORKER, on_frame=made.heard)
    yield made
    made.say(frames.Drain())
    with anyio.fail_after(10):
        await serving
    await made.link.close()


def ticking(text: str) -> dict[str, Any]:
    return {"input": {"echo": {"event": text, "trigger": {"interval": "10ms"}}}, "output": {"print": "STDOUT"}}


def alone(states: list[tuple[str, str]]) -> bool:
    """Whether no version began before the one before it had ended."""
    running = ""
    for version, state in states:
        if state in ("starting", "running"):
            if running not in ("", version):
                return False
            running = version
        elif version == running:
            running = ""
    return True


async def test_versions_that_follow_fast_end_one_after_the_other_and_the_last_one_runs(engine: Engine) -> None:
    id = "t/job#0"
    engine.assign(id, "1", ticking("one"))
    await waiting.until(lambda: engine.printed(id))
    for version, text in (("2", "two"), ("3", "three"), ("4", "four")):
        engine.assign(id, version, ticking(text))
    await waiting.until(lambda: any("four" in line for line in engine.printed(id)))
    assert alone(engine.states(id))
    assert ("1", "stopped") in engine.states(id)
    before = len(engine.printed(id))
    await waiting.until(lambda: len(engine.printed(id)) > before + 5)
    assert all("four" in line for line in engine.printed(id)[before:]), "no other version is left running"


async def test_a_job_that_comes_back_while_it_is_ending_waits_for_its_end(engine: Engine) -> None:
    id = "t/job#0"
    stubborn = {"input": {"worker-channel": "c"}, "output": {"worker-channel": "d"}}
    engine.assign(id, "1", stubborn)
    await waiting.until(lambda: ("1", "running") in engine.states(id))
    engine.say(frames.Unassign(id))
    engine.assign(id, "1b", ticking("again"))
    await waiting.until(lambda: engine.printed(id))
    assert alone(engine.states(id))
    assert engine.states(id).index(("1", "stopped")) < engine.states(id).index(("1b", "running"))


async def test_a_job_that_writes_too_much_is_told_how_many_lines_were_left_out(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "BURST", 200)
    monkeypatch.setattr(journal, "LINES_PER_SECOND", 0)
    id = "t/job#0"
    text = "\n".join(f"line {number}" for number in range(150))
    engine.assign(id, "1", {"input": {"echo": {"event": f"{text}\n{text}"}}, "output": {"print": "STDOUT"}})
    await waiting.until(lambda: ("1", "completed") in engine.states(id))
    assert len(engine.printed(id)) == 181, "the rest of the room is for warnings"
    engine.say(frames.Unassign(id))
    await waiting.until(lambda: engine.lines(id)[-1].level == "warning")
    last = engine.lines(id)[-1]
    assert last.fields["dropped"]["count"] + 181 == 300


async def test_a_report_tells_memory_loop_lag_and_channels(engine: Engine) -> None:
    engine.assign("t/job#0", "1", {"input": {"worker-channel": "c"}, "output": {"discard": {}}})
    await waiting.until(lambda: ("1", "running") in engine.states("t/job#0"))
    report = await engine.link.call("report", {})
    assert report["memory_bytes"] > 1_000_000
    assert report["channels"] == {"t/c": 0}
    with pytest.raises(SluiceError, match="does not know the call"):
        await engine.link.call("nonsense", {})


async def test_figures_of_a_job_survive_its_failures(engine: Engine) -> None:
    id = "t/job#0"
    failing = {**ticking("x"), "output": {"http-post": {"url": "http://127.0.0.1:9/"}}}
    engine.assign(id, "1", failing)
    await waiting.until(lambda: engine.states(id).count(("1", "failed")) >= 2)
    await waiting.until(lambda: any(one.runs_failed >= 2 for one in engine.figures(id)))
    assert all(one.events_out == 0 for one in engine.figures(id))


async def test_clone_gives_every_reader_a_copy_and_a_changed_driver_reaches_jobs_that_run(engine: Engine) -> None:
    def reader(driver: str) -> dict[str, Any]:
        return {"input": {"worker-channel": {"channel": "c", "driver": driver}}, "output": {"print": "STDOUT"}}

    def lines(id: str) -> int:
        return len(engine.printed(id))

    writer = {"input": {"echo": {"event": "x", "trigger": {"interval": "5ms"}}}, "output": {"worker-channel": "c"}}
    engine.say(frames.Channels([frames.ChannelDriver("t/c", "standard", 2)]))
    engine.assign("t/a#0", "1", reader("standard"))
    engine.assign("t/b#0", "1", reader("standard"))
    engine.assign("t/w#0", "1", writer)
    await waiting.until(lambda: lines("t/a#0") + lines("t/b#0") >= 4)
    engine.say(frames.Channels([frames.ChannelDriver("t/c", "clone", 2)]))
    engine.assign("t/b#0", "2", reader("clone"))
    await waiting.until(lambda: ("2", "running") in engine.states("t/b#0"))
    a, b = lines("t/a#0"), lines("t/b#0")
    await waiting.until(lambda: lines("t/a#0") >= a + 10 and lines("t/b#0") >= b + 10)


async def test_replicas_of_a_job_share_the_copy_of_a_clone_channel(engine: Engine) -> None:
    reader = {"input": {"worker-channel": {"channel": "c", "driver": "clone"}}, "output": {"print": "STDOUT"}}
    engine.say(frames.Channels([frames.ChannelDriver("t/c", "clone", 1)]))
    engine.assign("t/a#0", "1", reader)
    engine.assign("t/a#1", "1", reader)
    text = "\n".join(str(number) for number in range(5))
    engine.assign("t/w#0", "1", {"input": {"echo": {"event": text}}, "output": {"worker-channel": "c"}})
    await waiting.until(lambda: ("1", "completed") in engine.states("t/w#0"))
    assert len(engine.printed("t/a#0")) + len(engine.printed("t/a#1")) == 5
