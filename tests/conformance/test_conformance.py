"""The official conformance suite and clients that nobody here wrote, against the MCP door over stdio and HTTP.

Needs npm and the network once: `pytest -m conformance`.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from mcp_server import attach
from tests.conformance import npm
from tests.mcp_server import fake

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TRIGGER = {
    "slug": "smoke",
    "target_job_name": "smoke_handler",
    "publication": {"mcp": True},
    "parameter_schema": {"type": "object", "properties": {"value": {"type": "string"}}, "additionalProperties": False},
}

pytestmark = [pytest.mark.conformance, npm.needed]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory with one published trigger, for which nothing is deployed."""
    home = tmp_path_factory.mktemp("sluice") / "home"
    home.mkdir(mode=0o700)

    async def publish() -> None:
        async with attach.open_session(Settings(home=home, workers=0)) as session:
            await session.call("trigger_publish", TRIGGER, fake.CALLER)

    asyncio.run(publish())
    return home


def stdio(home: Path) -> list[str]:
    """The command of a server over stdio."""
    program = "from mcp_server.cli.main import main_mcp; main_mcp()"
    return [sys.executable, "-c", program, "--home", str(home), "--allow-write", "--toolsets", "all"]


@pytest.fixture
def serve(home: Path) -> Iterator[Any]:
    """Start an HTTP server and return its URL."""
    started: list[subprocess.Popen[str]] = []

    def start(*flags: str) -> str:
        command = [sys.executable, "-m", "tests.conformance.http_server", str(home), *flags]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip()

    yield start
    for process in started:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def suite(packages: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = packages / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    return npm.node(packages, str(program), "server", "--url", url, *arguments)


def score(output: str) -> tuple[int, int]:
    """How many checks passed and failed, by the last line of the suite's summary."""
    match = re.search(r"Total: (\d+) passed, (\d+) failed", output)
    assert match is not None, output
    return int(match[1]), int(match[2])


def test_the_frozen_requirements_of_the_newest_protocol_are_met(packages: Path, serve: Any, tmp_path: Path) -> None:
    done = suite(packages, serve("--fixtures"), "--requirements", "2026-07-28", "-o", str(tmp_path))
    assert done.returncode == 0, done.stdout[-6000:]
    scored = done.stdout.split("=== SUMMARY ===")[1]
    assert "✗" not in scored, scored
    assert len(set(re.findall(r"✓ (tasks-[a-z-]+) \(extension\)", scored))) == 10, scored


def test_every_scenario_of_the_newest_protocol_passes(packages: Path, serve: Any) -> None:
    done = suite(packages, serve("--fixtures"), "--suite", "all", "--spec-version", "2026-07-28")
    assert done.returncode == 0, done.stdout[-6000:]
    passed, failed = score(done.stdout)
    assert failed == 0
    assert passed >= 150


def test_the_protocol_before_passes_but_for_the_explained_baseline(packages: Path, serve: Any) -> None:
    baseline = str(HERE / "baseline-2025-11-25.yaml")
    done = suite(
        packages, serve("--fixtures"), "--suite", "all", "--spec-version", "2025-11-25", "--expected-failures", baseline
    )
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.parametrize(
    "scenario",
    ["server-initialize", "server-session-lifecycle", "ping", "tools-list", "dns-rebinding-protection"],
)
def test_the_product_alone_passes_what_needs_no_fixture(packages: Path, serve: Any, scenario: str) -> None:
    url = serve()
    done = suite(packages, url, "--scenario", scenario, "--spec-version", "2025-11-25")
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.parametrize(
    ("client", "era"), [("sdk", "legacy"), ("client", "legacy"), ("client", "auto"), ("client", "2026-07-28")]
)
def test_the_typescript_clients_list_and_call(
    packages: Path, home: Path, serve: Any, transport: str, client: str, era: str
) -> None:
    target = json.dumps(stdio(home)) if transport == "stdio" else serve()
    done = npm.node(packages, str(HERE / "clients.cjs"), str(packages), client, era, target)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["listChanged"] is True
    assert "trigger_invoke_smoke" in seen["tools"]
    assert seen["tools"] == sorted(seen["tools"])
    assert seen["ran"]["isError"] is False
    assert seen["ran"]["structured"]["result"]["error_code"] == "target_unavailable"
    assert seen["wrong"]["isError"] is True
    assert seen["wrong"]["structured"]["error"]["errors"][0]["pointer"] == "/value"
    assert seen["listed"]["structured"]["items"][0]["slug"] == "smoke"
    assert seen["missing"]["structured"]["error"]["code"] == "not_found"
    assert seen["unknown"] == -32602
    assert seen["resource"] == "application/json"


@pytest.mark.usefixtures("console_files")
@pytest.mark.parametrize("tool", ["deployment_plan", "trigger_get"])
def test_the_inspector_finds_the_page_of_a_tool(packages: Path, serve: Any, tmp_path: Path, tool: str) -> None:
    asked = ("--protocol-era", "auto", "--method", "tools/call", "--tool-name", tool, "--app-info")
    done = npm.inspector(packages, tmp_path, serve(), *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ui://sluice/" in done.stdout


@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_finds_no_fault_in_the_tool_schemas(
    packages: Path, home: Path, serve: Any, tmp_path: Path, transport: str, era: str
) -> None:
    target = stdio(home) if transport == "stdio" else [serve()]
    done = npm.inspector(packages, tmp_path, *target, "--protocol-era", era, "--method", "tools/list", "--strict")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "trigger_invoke_smoke" in done.stdout
