"""The tutorials under docs/, typed as they stand: `sh` blocks are run, and print what the block behind them says."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from mcp_server.cli import stage
from tests import waiting
from tests.examples import shell
from tests.running import running

pytestmark = pytest.mark.anyio
DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = ("json", "text")
PROGRAMS = Path(sys.executable).parent
FILES = "~/.local/share/sluice-data/default"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[stage.Stage]:
    async with running(tmp_path_factory.mktemp("tutorials"), workers=2) as scene:
        yield scene


def surroundings(home: Path) -> dict[str, str]:
    return {**stage.environment(), "SLUICE_HOME": str(home), "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}


async def type_in(text: str, home: Path, place: Path) -> None:
    """Type every `sh` block; what follows as `json` or `text` is waited for, since it is on its way."""
    blocks = [*BLOCK.findall(text), ("", "")]
    assert any(language == "sh" for language, _ in blocks)
    plan = ""
    for (language, script), (shown, wanted) in pairwise(blocks):
        if language != "sh":
            continue
        awaited = shown in SHOWN
        printed = await shell.typed(script.replace("PLAN_ID", plan), home, place, must=not awaited)
        plan = "".join(re.findall(r"sluice apply (plan_\w+)", printed)) or plan
        if awaited and printed != wanted.strip():
            again = functools.partial(shell.typed, script, home, place, must=False)
            await waiting.until(again, wanted.strip().__eq__, seconds=60)


@pytest.mark.parametrize("page", ["first-pipeline", "gitops-in-a-repository"])
async def test_a_tutorial_does_what_it_says(scene: stage.Stage, tmp_path: Path, page: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8").replace(FILES, str(scene.data()))
    with anyio.fail_after(150):
        await type_in(text, scene.home, tmp_path)


async def test_a_worker_on_another_machine(tmp_path: Path) -> None:
    """Its two programs run beside the page, as in terminals of their own."""
    text = (DOCS / "external-worker.md").read_text(encoding="utf-8")
    lines = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    assert [line.split()[:2] for line in lines] == [["sluice", "serve"], ["sluice", "worker"]]
    home = tmp_path / "home"
    worker = text.index("$ sluice worker")
    begin = text.rindex("\n## ", 0, worker)
    with anyio.fail_after(150):
        with program(lines[0].replace("3000", "0") + " --workers 0", home, tmp_path, "listens on") as log:
            address = re.findall(r"listens on (\S+)", log.read_text(encoding="utf-8"))[0]
            await type_in(text[:begin], home, tmp_path)
            join = lines[1].replace("http://127.0.0.1:3000", address)
            with program(join, home, tmp_path, "has joined"):
                await type_in(text[begin:], home, tmp_path)


@contextmanager
def program(line: str, home: Path, place: Path, says: str) -> Iterator[Path]:
    """A line that runs for long, from when it has said something until it is no longer needed; the file with that."""
    log = place / f"{line.split()[1]}.log"
    with log.open("wb") as out:
        started = subprocess.Popen(line.split(), cwd=place, env=surroundings(home), stdout=out, stderr=out)
    try:
        waiting.until_now(lambda: any(says in one for one in waiting.lines(log)) or started.poll() is not None)
        assert started.poll() is None, log.read_text(encoding="utf-8")
        yield log
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(timeout=30)
