"""A user who invokes a limited trigger as fast as one door lets him, and prints what became of every call.

A line is: when the call began and ended (on the clock that all processes of a machine share), and `accepted` or the
code of the refusal. It goes on until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import mcp
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests import waiting

SLUG = "limited"
PACE_SECONDS = 0.03  # between two calls, so that the server under test gets the processor
Call = Callable[[], Awaitable[dict[str, Any]]]


async def repeat(call: Call) -> None:
    while True:
        began = time.monotonic()
        answer = await call()
        told = "accepted" if "invocation_id" in answer else answer["code"]
        sys.stdout.write(f"{began} {time.monotonic()} {told}\n")
        sys.stdout.flush()
        await waiting.pause(PACE_SECONDS)  # the pace of its calls


async def over_http(url: str, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client:

        async def call() -> dict[str, Any]:
            answer = await client.post(f"/api/triggers/{SLUG}/invoke", json={"tenant_id": "tenant-a"})
            assert (answer.status_code == 429) == ("retry-after" in answer.headers), answer.text
            return dict(answer.json())

        await repeat(call)


async def over_mcp(home: str, user: str) -> None:
    program = "from mcp_server.cli.main import main_mcp; main_mcp()"
    flags = ["--allow-write", "--home", home, "--tenant", "tenant-a", "--as", user]
    parameters = StdioServerParameters(command=sys.executable, args=["-c", program, *flags])
    async with mcp.Client(stdio_client(parameters)) as client:

        async def call() -> dict[str, Any]:
            answer = (await client.call_tool(f"trigger_invoke_{SLUG}", {})).structured_content
            assert answer is not None
            return dict(answer.get("error", answer))

        await repeat(call)


async def over_cli(home: str, user: str) -> None:
    program = "from mcp_server.cli.main import main; main()"
    words = ["trigger", "invoke", SLUG, "--json", "--home", home, "--tenant", "tenant-a"]
    environment = {**os.environ, "LOGNAME": user}

    async def call() -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        out, fault = await process.communicate()
        answer = json.loads(out or fault)
        return dict(answer.get("error", answer))

    await repeat(call)


if __name__ == "__main__":
    asyncio.run({"http": over_http, "mcp": over_mcp, "cli": over_cli}[sys.argv[1]](*sys.argv[2:4]))
