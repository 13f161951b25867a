"""Workers of other machines that run nothing, many in one process: they join, beat, and say of what they are told to
run that it runs. `python -m bench.crowd URL TOKEN_FILE HOME NUMBER` prints a line when all have joined."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

from core import channel
from core.external.tunnel import Tunnel
from core.external.ways import ByCredential, OverWebSocket, Session
from core.model import frames
from core.model.states import WorkloadState

AT_ONCE = 4  # as many as one address may have that have proved nothing yet
SLOTS = 64


class Idler:
    """One worker."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._runs: dict[str, str] = {}
        self._channel: channel.Channel

    async def work(self) -> None:
        near, far = socket.socketpair()
        line, beat = self._session.line, self._session.heartbeat_seconds
        tunnel = Tunnel(
            far, self._session.records, line.send, line.take, beat_seconds=beat, chunk_bytes=line.chunk_bytes
        )
        self._channel = await channel.over_socket(
            near, codec=frames.OF_ENGINE, on_frame=self._hear, on_call=self._asked
        )
        self._say(frames.Hello(self._session.name, sandbox="none"))
        beating = asyncio.create_task(self._beat(beat))
        try:
            raise RuntimeError(f"{self._session.name} has lost its engine: {await tunnel.run()}")
        finally:
            beating.cancel()

    async def _beat(self, seconds: float) -> None:
        while True:
            self._say(frames.Beat({}))
            await asyncio.sleep(seconds)

    def _hear(self, frame: Any) -> None:
        if isinstance(frame, frames.Assign):
            self._runs[frame.workload] = frame.version
            self._say(frames.Status(frame.workload, frame.version, WorkloadState.RUNNING, "", 0))

    async def _asked(self, link: channel.Channel, name: str, args: Any) -> Any:
        return self._runs if name == "holdings" else {}

    def _say(self, frame: frames.Frame) -> None:
        self._channel.send(frames.encode(frame))


async def gather(url: str, token: str, home: Path, number: int) -> None:
    """So many workers, until one of them loses its engine."""
    room = asyncio.Semaphore(AT_ONCE)

    async def join(n: int) -> Session:
        name, wire = f"idle-{n}", OverWebSocket(url, None)
        path = home / f"{name}.credential"
        way = ByCredential(wire, path, token=token, name=name, host=name, slots=SLOTS, told=lambda _: None)
        async with room:
            return await way.join()

    async with asyncio.TaskGroup() as working:
        for joined in asyncio.as_completed([join(n) for n in range(number)]):
            working.create_task(Idler(await joined).work())
        print("joined", flush=True)


def main(url: str, token_file: str, home: str, number: str) -> None:
    Path(home).mkdir()
    asyncio.run(gather(url, Path(token_file).read_text(), Path(home), int(number)))


if __name__ == "__main__":
    main(*sys.argv[1:])
