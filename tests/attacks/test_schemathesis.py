"""The description of the HTTP API against the server: generated requests, right and wrong, for every operation.

The server may refuse, in the documented ways; it may not fail, hang, take what the description forbids, or answer with
what the description does not know.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import anyio
import pytest

from mcp_server.http import auth
from tests import figures
from tests.attacks import rig

pytestmark = pytest.mark.anyio
CONFIG = Path(__file__).with_name("schemathesis.toml")
OPTIONS = (
    "--no-color",
    "--warnings=off",
    "--continue-on-failure",
    "--no-shrink",
    "--generation-database=none",
    "--generation-with-security-parameters=false",
    "--request-timeout=8",
    "--exclude-path-regex=subscribe$",  # streams do not end by themselves
)


async def generated(home: Path, *options: str, seconds: float) -> int:
    """Run schemathesis against a server; returns how many cases it sent. Fails with its report."""
    async with rig.target(home, workers=1) as server:
        command = [
            str(Path(sys.executable).with_name("st")),
            f"--config-file={CONFIG}",
            "run",
            f"{server.url}/api/openapi.json",
            f"--header=Authorization: Bearer {server.tokens['admin']}",
            *OPTIONS,
            *options,
        ]
        with anyio.fail_after(seconds):
            done = await anyio.run_process(command, check=False, cwd=home.parent, env={**os.environ, "NO_COLOR": "1"})
        report = done.stdout.decode()
        assert done.returncode == 0, report[-20_000:] + done.stderr.decode()[-2_000:]
        assert (await server.call("GET", "/health")).status_code == 200
        assert (await server.call("GET", f"/api/triggers/{rig.TRIGGER['slug']}", who="other")).status_code == 404
    found = re.search(r"([0-9]+) generated", report)
    assert found is not None
    print(f"{found[1]} cases")
    return int(found[1])


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad credentials come from the address of the good ones here, and each is to be told so; that many of them are
    slowed down is tests/operations/test_tokens.py."""
    monkeypatch.setattr(auth, "FAILURES", 1_000_000)


async def test_every_operation_answers_as_it_is_described(tmp_path: Path) -> None:
    cases = await generated(tmp_path / "home", "--phases=fuzzing", "--max-examples=1", "--seed=7", seconds=180)
    assert cases >= 300


@pytest.mark.soak
async def test_ten_thousand_cases_and_every_boundary(tmp_path: Path, record_property: figures.Recorder) -> None:
    phases = "--phases=examples,coverage,fuzzing"
    cases = await generated(tmp_path / "home", phases, "--max-examples=60", "--seed=11", seconds=3600)
    figures.record(record_property, requests=cases)
    assert cases >= 10_000
