"""The floor of MCP over stdio: the SDK's low-level server with one trivial tool and ready-made pages of tools.

`python -m bench.floors.mcp_stdio [PAGES]`; PAGES is a JSON file with the results of tools/list, page by page, which
a middleware returns as they are.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path
from typing import Any

import orjson
from mcp.server import Server
from mcp.server.stdio import stdio_server


async def call_tool(context: Any, params: Any) -> dict[str, Any]:
    arguments = params.arguments or {}
    return {
        "resultType": "complete",
        "content": [{"type": "text", "text": orjson.dumps(arguments).decode()}],
        "structuredContent": arguments,
    }


async def list_tools(context: Any, params: Any) -> dict[str, Any]:
    return {"resultType": "complete", "tools": []}


async def main(pages: list[dict[str, Any]]) -> None:
    by_cursor: dict[str | None, dict[str, Any]] = {}
    cursor: str | None = None
    for page in pages:
        by_cursor[cursor] = page
        cursor = page.get("nextCursor")

    async def ready_made(ctx: Any, call_next: Any) -> Any:
        if ctx.method == "tools/list" and by_cursor:
            return by_cursor[(ctx.params or {}).get("cursor")]
        return await call_next(ctx)

    server: Server[Any] = Server(
        "floor",
        version="1",
        on_call_tool=call_tool,  # type: ignore[arg-type]
        on_list_tools=list_tools,  # type: ignore[arg-type]
        get_tool_input_schema=lambda name: None,
    )
    server.middleware.append(ready_made)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main(orjson.loads(Path(sys.argv[1]).read_bytes()) if len(sys.argv) > 1 else []))
