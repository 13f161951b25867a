"""The floor of the channel: newline-delimited JSON over a unix socket, every frame parsed and answered.

`python -m bench.floors.echo_channel SOCKET` is the server; it ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, cast

import orjson

from bench.wire import until_stdin_ends


class Echo(asyncio.Protocol):
    """Answers all frames of one read in one write."""

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        answers = []
        for line in lines:
            frame: dict[str, Any] = orjson.loads(line)
            answers.append(orjson.dumps({"id": frame["id"], "result": frame["args"]}))
        if answers:
            self._transport.write(b"\n".join([*answers, b""]))


async def main(path: str) -> None:
    server = await asyncio.get_running_loop().create_unix_server(Echo, path)
    async with server:
        print("ready", flush=True)
        await until_stdin_ends()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
