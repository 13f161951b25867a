"""The guide to triggers, run from its first command to its last."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from mcp_server.cli import stage
from tests import fences
from tests.dsl import web

pytestmark = pytest.mark.anyio

GUIDE = (Path(__file__).parents[2] / "docs" / "triggers.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def steps(folder: Path) -> Iterator[tuple[str, str]]:
    """(commands, what they print) in order; documents are written where the commands look for them."""
    script = ""
    for kind, name, text in FENCE.findall(GUIDE):
        if kind == "output":
            yield script, text
            script = ""
        elif name and name != fences.CALL:
            (folder / name).write_text(text, encoding="utf-8")
        elif kind == "sh":
            script += text


async def answer(request: web.Request, writer: object) -> None:
    body = b'{"healthy": true}'
    writer.write(web.answer(200, body, content_type="application/json"))  # type: ignore[attr-defined]


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="the guide uses curl and jq")
async def test_the_guide_does_what_it_says(tmp_path: Path) -> None:
    folder = tmp_path / "guide"
    folder.mkdir()
    scene = stage.Stage(tmp_path / "home", SLUICE_EGRESS_ALLOW="127.0.0.0/8")
    done = 0
    async with web.serve(answer) as receiver:
        try:
            with anyio.fail_after(120):
                await scene.start(workers=1)
                environment = {
                    **os.environ,
                    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                    "SLUICE_HOME": str(scene.home),
                    "SLUICE_TENANT": "tenant-a",
                    "SLUICE_TOKEN": (scene.home / "admin.token").read_text(encoding="ascii").strip(),
                    "RECEIVER": receiver.url("").rstrip("/"),
                }
                for script, expected in steps(folder):
                    command = f"set -eu; SLUICE_URL={scene.url}\n{script}"
                    ran = await anyio.run_process(
                        ["bash", "-c", command], check=False, cwd=folder, env=environment, stdin=subprocess.DEVNULL
                    )
                    assert f"{ran.stdout.decode().rstrip()}\n".endswith(expected), (script, ran.stdout, ran.stderr)
                    done += 1
        finally:
            with anyio.fail_after(30, shield=True):
                await scene.stop()
    assert done == 7
    assert [r.line.split()[1] for r in receiver.requests if "/hook" in r.line] == ["/hook", "/hook"]
