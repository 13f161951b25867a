"""The floor of HTTP: uvicorn with httptools and a bare ASGI function that sends the body back.

`python -m bench.floors.echo_http` prints its port; it ends with its standard input.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn

from bench.wire import until_stdin_ends


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = b""
    while True:
        part = await receive()
        body += part.get("body", b"")
        if not part.get("more_body"):
            break
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def main(app: Any = echo) -> None:
    # asyncio turns Nagle's algorithm off only for sockets that say that they are TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        date_header=False,
        timeout_keep_alive=60,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    print(listener.getsockname()[1], flush=True)
    await until_stdin_ends()
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main())
