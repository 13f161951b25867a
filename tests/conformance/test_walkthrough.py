"""One walk with four clients against `sluice serve`: list what there is, publish a trigger, run it, read its status.

curl walks over the HTTP API, the Python SDK, the TypeScript SDKs and the MCP inspector over MCP; each as an
administrator by a bearer token, and each sees what the others published.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import mcp
import pytest
from mcp.client.streamable_http import streamable_http_client

from mcp_server.cli import stage
from tests.conformance import npm
from tests.engines import EXAMPLES

pytestmark = pytest.mark.anyio

DEFINITION: dict[str, Any] = json.loads((EXAMPLES / "smoke_trigger.json").read_text()) | {"tenant_id": "default"}
HANDLER = (EXAMPLES / "smoke_trigger_handler.yaml").read_text()


def definition(slug: str) -> dict[str, Any]:
    return {**DEFINITION, "slug": slug, "publication": {"mcp": True, "ui_admin": True}}


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[stage.Stage]:
    """`sluice serve` with the job that the triggers start."""
    scene = stage.Stage(tmp_path / "home", SLUICE_ALLOW_WRITE="1")
    try:
        with anyio.fail_after(90):
            await scene.start(workers=1)
            await scene.must("POST", "/api/jobs", document=HANDLER)
            await scene.must("POST", "/api/jobs/smoke_trigger_handler/deploy")
            yield scene
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()


def token(scene: stage.Stage) -> str:
    return (scene.home / "admin.token").read_text(encoding="ascii").strip()


def walked(ran: dict[str, Any], status: dict[str, Any], slug: str) -> None:
    """What every walk has to end with."""
    assert ran["state"] == "succeeded" and ran["trigger_slug"] == slug
    assert ran["params"] == {"env": "staging", "depth": 1}
    assert ran["result"]["trigger_response"]["result"]["message"] == "Smoke check passed"
    assert status == {**ran, "next": status["next"]}, "and the call that finds its log"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_with_curl(tmp_path: Path) -> None:
    async with served(tmp_path) as scene:

        async def curl(method: str, path: str, body: Any = None) -> Any:
            command = ["curl", "-sS", "--fail-with-body", "-X", method, "--noproxy", "*", "-K", "-", scene.url + path]
            if body is not None:
                command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
            # The token goes in by standard input, where no list of processes shows it.
            done = await anyio.run_process(command, input=f'header = "Authorization: Bearer {token(scene)}"'.encode())
            return json.loads(done.stdout)

        listed = "/api/triggers?surface=ui&invokable_only=true"
        assert (await curl("GET", listed))["items"] == []
        published = await curl("POST", "/api/triggers/publish", definition("by_curl"))
        assert published["revision"] == 1
        assert [one["slug"] for one in (await curl("GET", listed))["items"]] == ["by_curl"]
        asked = {"params": {"env": "staging"}, "wait_timeout_seconds": 20}
        ran = await curl("POST", "/api/triggers/by_curl/invoke", asked)
        walked(ran, await curl("GET", f"/api/trigger-invocations/{ran['invocation_id']}"), "by_curl")


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_with_the_python_sdk(tmp_path: Path, era: str) -> None:
    async with served(tmp_path) as scene:
        headers = {"authorization": f"Bearer {token(scene)}"}
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False) as http,
            mcp.Client(streamable_http_client(f"{scene.url}/mcp", http_client=http), mode=era) as client,
        ):
            made = stage.McpClient(client)
            assert "trigger_invoke_by_python" not in await made.tools()
            published = await made.call("trigger_publish", **definition("by_python"))
            assert published.result["tool_name"] in await made.tools()
            ran = await made.call("trigger_invoke_by_python", env="staging")
            status = await made.call("trigger_invocation_get", invocation_id=ran.result["invocation_id"])
            walked(ran.result, status.result, "by_python")


@pytest.mark.conformance
@npm.needed
@pytest.mark.parametrize("client", ["sdk", "client"])
async def test_with_the_typescript_sdks(packages: Path, tmp_path: Path, client: str) -> None:
    async with served(tmp_path) as scene:
        program = str(npm.HERE / "walk.cjs")
        given = (str(packages), client, f"{scene.url}/mcp", token(scene), json.dumps(definition("by_typescript")))
        done = await anyio.to_thread.run_sync(lambda: npm.node(packages, program, *given))
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        assert "trigger_publish" in seen["before"] and "trigger_invoke_by_typescript" not in seen["before"]
        assert "trigger_invoke_by_typescript" in seen["after"]
        walked(seen["ran"], seen["status"], "by_typescript")


@pytest.mark.conformance
@npm.needed
async def test_with_the_inspector(packages: Path, tmp_path: Path) -> None:
    async with served(tmp_path) as scene:

        async def inspect(*arguments: str) -> dict[str, Any]:
            connection = (f"{scene.url}/mcp", "--header", f"Authorization: Bearer {token(scene)}")
            done: subprocess.CompletedProcess[str] = await anyio.to_thread.run_sync(
                lambda: npm.inspector(packages, tmp_path, *connection, *arguments)
            )
            assert done.returncode == 0, done.stdout + done.stderr
            answer: dict[str, Any] = json.loads(done.stdout)
            return answer

        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            pairs = [f"{name}={json.dumps(value)}" for name, value in arguments.items()]
            answer = await inspect("--method", "tools/call", "--tool-name", tool, "--tool-arg", *pairs)
            content: dict[str, Any] = answer["structuredContent"]
            return content

        async def names() -> list[str]:
            return [tool["name"] for tool in (await inspect("--method", "tools/list"))["tools"]]

        assert "trigger_invoke_by_inspector" not in await names()
        await call("trigger_publish", **definition("by_inspector"))
        assert "trigger_invoke_by_inspector" in await names()
        ran = await call("trigger_invoke_by_inspector", env="staging")
        walked(ran, await call("trigger_invocation_get", invocation_id=ran["invocation_id"]), "by_inspector")
