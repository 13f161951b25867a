"""Commands at a real pseudo-terminal, as a person types them."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from mcp_server.cli import stage

pytestmark = pytest.mark.anyio
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
JOB = """
name: handler
input: {echo: {event: "{}", json: true, trigger: {message: {filter-kind: user, filter-tag: go}}}}
output: {print: STDOUT}
"""
TRIGGER = {
    "slug": "slow",
    "target_job_name": "handler",
    "target_message_tag": "go",
    "response_slot": "answer",
    "response_timeout_seconds": 2,
}


def terminals() -> bool:
    """Whether this machine has pseudo-terminals (a chroot without /dev/pts has none)."""
    try:
        for side in pty.openpty():
            os.close(side)
    except OSError:
        return False
    return True


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[stage.Stage]:
    if not terminals():
        pytest.skip("there are no pseudo-terminals here")
    made = stage.Stage(tmp_path / "home")
    try:
        with anyio.fail_after(40):
            await made.start(workers=1)
        yield made
    finally:
        with anyio.fail_after(30, shield=True):
            await made.stop()


class Typed:
    """A command that runs at a terminal of its own."""

    def __init__(self, scene: stage.Stage, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        environment = {**stage.environment(), "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
        self._process = subprocess.Popen(
            [stage.program("sluice"), *words, "--home", str(scene.home)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.screen = ""

    def _read(self, until: str | None) -> None:
        while until is None or until not in ESCAPE.sub("", self.screen):
            try:
                said = os.read(self._ours, 65536)
            except OSError:  # the other side is closed
                return
            if not said:
                return
            self.screen += said.decode(errors="replace")

    async def shows(self, text: str) -> None:
        """Wait until the terminal has shown this."""
        await anyio.to_thread.run_sync(self._read, text, abandon_on_cancel=True)
        assert text in ESCAPE.sub("", self.screen), self.screen

    async def ended(self) -> int:
        """The exit code; what was shown is in `screen`."""
        await anyio.to_thread.run_sync(self._read, None, abandon_on_cancel=True)
        os.close(self._ours)
        return await anyio.to_thread.run_sync(self._process.wait)

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)


async def test_an_apply_shows_how_far_it_is_and_then_what_came_of_it(scene: stage.Stage, tmp_path: Path) -> None:
    source = {"source": "workflow:quickstart-file-store-roundtrip", "values": {"path": "files"}}
    plan = await scene.must("POST", "/api/deployments/web/plan", **source)
    with anyio.fail_after(60):
        typed = Typed(scene, "apply", plan["plan_id"])
        assert await typed.ended() == 0
    assert "━" in typed.screen and "\x1b[?25l" in typed.screen, "a bar was drawn"
    assert "\x1b[?25h" in typed.screen, "and the cursor came back"
    shown = ESCAPE.sub("", typed.screen)
    assert re.search(r"\b4/4\b|\b[0-4]/[?4]", shown)
    assert re.search(r"state\s+running", shown) and "web--print" in shown


async def test_watching_an_invocation_tells_its_events_until_its_end(scene: stage.Stage) -> None:
    await scene.must("POST", "/api/jobs", document=JOB)
    await scene.must("POST", "/api/jobs/handler/deploy")
    await scene.must("POST", "/api/triggers/publish", **TRIGGER)
    ran = await scene.must("POST", "/api/triggers/slow/invoke", wait_timeout_seconds=0)
    with anyio.fail_after(60):
        typed = Typed(scene, "invocation", "watch", ran["invocation_id"])
        await typed.shows("dispatched")
        assert await typed.ended() == 1, "a run that timed out is no success"
    shown = ESCAPE.sub("", typed.screen)
    assert re.findall(r"Z  (\w+)", shown) == ["accepted", "dispatched", "timed_out"]
    assert re.search(r"state\s+timed_out", shown)


async def test_an_interrupt_ends_what_follows(scene: stage.Stage) -> None:
    with anyio.fail_after(60):
        typed = Typed(scene, "messages", "--follow")
        await typed.shows("Following; Ctrl-C ends it.")
        typed.interrupt()
        code = await typed.ended()
    assert code in (0, 130)
    assert "Traceback" not in typed.screen
