"""`sluice wait` and `--watch`: how something stands, and that nobody looks more often than there is news."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import anyio
import pytest

from core import errors
from mcp_server.cli import connect, main, render, wait, watching
from tests import cases

pytestmark = pytest.mark.anyio
UP, DOWN, DONE = (
    {"state": "running", "health": "healthy"},
    {"state": "failed", "health": "down", "reason": "no disk"},
    {"state": "completed", "health": "healthy"},
)


@cases.table(
    ("kind", "answer", "wanted", "met", "hopeless"),
    [
        ("deployment", {"state": "running", "health": "degraded"}, "running", True, False),
        ("deployment", {"state": "running", "health": "degraded"}, "healthy", False, False),
        ("deployment", {"state": "applying", "health": None}, "running", False, False),
        ("deployment", {"state": "removed", "health": None}, "running", False, True),
        ("invocation", {"state": "dispatched"}, "ended", False, False),
        ("invocation", {"state": "failed"}, "ended", True, True),
        ("invocation", {"state": "failed"}, "succeeded", False, True),
        ("job", {"workloads": [UP, UP]}, "running", True, False),
        ("job", {"workloads": [UP, DOWN]}, "running", False, False),
        ("job", {"workloads": []}, "running", False, False),
        ("job", {"workloads": [DONE, DOWN]}, "ended", True, False),
        ("job", {"workloads": [UP, DONE]}, "healthy", True, False),
    ],
)
async def test_how_something_stands_is_read_off_its_answer(
    kind: str, answer: dict[str, Any], wanted: str, met: bool, hopeless: bool
) -> None:
    standing = wait.KINDS[kind].judge(answer, wanted)
    assert (standing.met, standing.hopeless) == (met, hopeless)
    if answer == {"workloads": [UP, DOWN]}:
        assert standing.told == "workloads failed, running: no disk"


@cases.table(("text", "seconds"), [("90", 90), ("60s", 60), ("1.5m", 90), ("1h", 3600), ("200ms", 0.2)])
async def test_a_span_of_time_is_written_with_its_unit(text: str, seconds: float) -> None:
    assert wait.span(text) == seconds
    with pytest.raises(errors.InvalidParams):
        wait.span(text + " ago")


class Engine:
    """A deployment that runs once it has been announced."""

    def __init__(self) -> None:
        self.looks = 0
        self.state = "applying"
        self.heard = anyio.Event()
        self.notice: Callable[[str, dict[str, Any]], None] = lambda kind, data: None

    @property
    def session(self) -> Engine:
        return self

    def subscribe(self, notice: Callable[[str, dict[str, Any]], None]) -> Callable[[], None]:
        self.notice = notice
        return lambda: None

    async def call(self, operation: str, /, **given: Any) -> dict[str, Any]:
        self.looks += 1
        self.heard.set()
        return {"state": self.state, "health": "unknown", "reason": "step one"}


async def test_what_the_engine_announces_ends_the_wait_at_the_next_look() -> None:
    engine, found = Engine(), []

    async def waits() -> None:
        found.append(await wait.until(cast(connect.Client, engine), "deployment", "web", "running", 60))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits)
            await engine.heard.wait()
            engine.state = "running"
            engine.notice("deployment", {})
    assert found[0].met and engine.looks == 2


async def test_a_wait_that_ends_by_its_time_says_how_it_stood(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextlib.asynccontextmanager
    async def opened(common: connect.Common, *, follows: bool = False) -> AsyncIterator[Engine]:
        assert follows
        yield Engine()

    monkeypatch.setattr(connect, "engine", opened)
    typed = ["wait", "deployment", "web", "--for", "healthy", "--timeout", "0s"]
    assert await anyio.to_thread.run_sync(main.run, typed) == 7
    said = capsys.readouterr().err
    assert "Waiting up to 0 s for deployment web to be healthy." in said
    assert "deployment web was not within 0 s healthy: state applying, health unknown: step one" in said
    assert await anyio.to_thread.run_sync(main.run, ["wait", "deployment", "web", "--for", "ended"]) == 1


async def test_a_line_tells_what_is_new_has_changed_or_is_gone() -> None:
    before = {"a": {"state": "online", "last_heartbeat_at": "1"}, "b": {"state": "online"}}
    now = {"a": {"state": "online", "last_heartbeat_at": "2"}, "c": {"state": "online"}}
    assert watching.changes(before, now) == [({"state": "online"}, False), ({"state": "online"}, True)]
    assert watching.changes(now, {**now, "a": {"state": "lost"}}) == [({"state": "lost"}, False)]
    assert watching.changes(now, now) == []


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("json", '{"name":"w1","state":"lost","gone":false}\n'),
        ("yaml", "---\nname: w1\nstate: lost\ngone: false\n"),
        ("name", "w1\n"),
    ],
)
def test_what_is_watched_in_a_pipe_is_told_in_the_form_that_was_asked_for(
    form: Any, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(render, "_chosen", form)
    watching._tell({}, [{"name": "w1", "state": "lost"}], ("name", "state"))
    assert capsys.readouterr().out == told
