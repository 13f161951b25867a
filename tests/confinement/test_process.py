"""What holds keys leaves no image of its memory, and still finds its way through its own /proc."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.engines import engine_on

pytestmark = pytest.mark.anyio
PR_GET_DUMPABLE = 3
NOBODY = 65534
PLAIN = """
import asyncio, os, socket, sys
from pathlib import Path
from core import channel, ownership
from core.confinement import process
deep, user = Path(sys.argv[1]), int(sys.argv[2])
import encodings.idna, encodings.ascii
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(user); os.setuid(user)
process.hide_memory()
deep.mkdir(mode=0o700)
owned = ownership.acquire(ownership.prepare(deep))
listening = owned.listen()
async def reach():
    link = await ownership.connect(deep)
    print(link is not None, len(str(deep)) > 108)
    await link.close()
asyncio.run(reach())
owned.release()
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_an_engine_hides_its_memory_wherever_it_is_opened(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0):
        assert ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)


def test_engines_are_opened_in_one_place() -> None:
    """So whatever is an engine (serve, sluice-mcp, a command) hides its memory."""
    root = Path(__file__).parents[2]
    modules = [path for room in ("core", "mcp_server") for path in (root / room).rglob("*.py")]
    made = [line for path in modules for line in path.read_text(encoding="utf-8").splitlines() if " = Engine(" in line]
    assert [line.strip().partition("(")[0] for line in made] == ["engine = Engine"]


def test_a_plain_user_that_hides_its_memory_still_reaches_a_socket_by_its_own_descriptors() -> None:
    with tempfile.TemporaryDirectory(prefix="sluice-") as base:
        Path(base).chmod(0o755)
        parent = Path(base) / ("d" * 100)
        parent.mkdir()
        user = NOBODY if os.geteuid() == 0 else os.geteuid()
        os.chown(parent, user, -1)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-c", PLAIN, str(parent / "home"), str(user)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True"]), done.stderr
