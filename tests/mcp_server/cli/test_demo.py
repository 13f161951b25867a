"""The demo leaves nothing behind, however it ends."""

from __future__ import annotations

import io
from pathlib import Path

import anyio
import anyio.lowlevel
import psutil
import pytest
from rich import console

from mcp_server.cli import demo, progress, stage

pytestmark = pytest.mark.anyio


async def test_a_demo_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    environment = {**stage.environment(), "TMPDIR": str(tmp_path)}
    with anyio.fail_after(60):
        async with await anyio.open_process([stage.program("sluice"), "demo"], env=environment) as running:
            assert running.stdout is not None
            seen = b""
            while b"online: " not in seen:
                seen += await running.stdout.receive()
            children = psutil.Process(running.pid).children(recursive=True)
            assert len(children) >= 3  # the engine and two workers
            running.terminate()
            async for _ in running.stdout:
                pass
            code = await running.wait()
    assert code == demo.INTERRUPTED
    assert [left async for left in anyio.Path(tmp_path).iterdir()] == []
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


async def test_at_a_terminal_it_shows_the_step_that_it_waits_for_and_in_a_pipe_it_does_not() -> None:
    for terminal in (True, False):
        out = console.Console(file=io.StringIO(), force_terminal=terminal, width=80)
        with progress.line(out) as doing:
            doing("waiting for the workers")
            out.print("a line")
        text = out.file.getvalue()  # type: ignore[attr-defined]
        assert ("waiting for the workers" in text) is terminal
        assert "a line" in text and ("\x1b[?25h" in text) is terminal, "the cursor came back"


async def test_work_beside_ends_with_the_body_and_its_failure_is_raised_where_it_is_waited_for() -> None:
    ended = anyio.Event()

    async def long() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async def wrong() -> None:
        raise stage.Surprise("no")

    async with stage.beside(long()):
        await anyio.lowlevel.checkpoint()
    assert ended.is_set()
    with pytest.raises(stage.Surprise):
        async with stage.beside(wrong()) as task:
            await task


async def test_a_surprise_ends_the_story() -> None:
    story = demo.Story(quiet=True)
    story.part("1. One")
    story.see(True, "did this", "that")
    with pytest.raises(stage.Surprise, match="did this; saw something else"):
        story.see(False, "did this", "something else")


async def test_the_stage_is_cleared_when_the_play_fails() -> None:
    with pytest.raises(stage.Surprise):
        async with stage.set_up(keep=True) as scene:
            scene.home.mkdir()
            raise stage.Surprise("no")
    assert not scene.home.parent.exists()
