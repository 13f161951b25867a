"""The walk-throughs under examples/: their commands are run as they stand, and print what they say."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from mcp_server.cli import stage
from tests import waiting
from tests.catalog import rig
from tests.examples import shell

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
WALKS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "examples").glob("*.md"))
    if path.name != "README.md"
}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[stage.Stage]:
    running = stage.Stage(tmp_path_factory.mktemp("walks") / "home", SLUICE_EGRESS_ALLOW="127.0.0.1/32")
    try:
        await running.start(workers=2)
        yield running
    finally:
        with anyio.fail_after(30, shield=True):
            await running.stop()


@pytest.mark.parametrize("walk", WALKS)
async def test_the_commands_of_a_walk_print_what_it_says(scene: stage.Stage, walk: str) -> None:
    if "\ncurl " in WALKS[walk] and shutil.which("curl") is None:
        pytest.skip("the walk uses curl, which is not installed")
    text = WALKS[walk].replace("~/.local/share/sluice-data/default", str(scene.data()))
    blocks = [*BLOCK.findall(text.replace("127.0.0.1:8089", f"127.0.0.1:{rig.free_port()}")), ("sh", "")]
    plan = ""
    with anyio.fail_after(90):
        for (language, script), (shown, wanted) in pairwise(blocks):
            if language != "sh":
                continue
            printed = await shell.typed(script.replace("PLAN_ID", plan), scene.home, ROOT, must=shown == "sh")
            plan = "".join(re.findall(r"sluice apply (plan_\w+)", printed)) or plan
            while shown != "sh" and printed != wanted.strip():
                assert not script.startswith("curl"), printed
                await waiting.pause(0.1)  # what it shows is on its way
                printed = await shell.typed(script, scene.home, ROOT, must=False)


def test_there_are_three_walks_with_a_document_each() -> None:
    assert len(WALKS) >= 3
    for name, text in WALKS.items():
        built_in = "--from workflow:document-retrieval" in text
        assert built_in or f"examples/{name}.yaml" in text
        assert built_in or (ROOT / "examples" / f"{name}.yaml").exists()
