"""A small framed channel: newline-delimited JSON over a stream socket, with calls, answers and notices.

It joins the owner with attached front doors (unix socket) and with its worker children (socketpair). Frames:

    {"id": 7, "call": "trigger_get", "args": {...}}     a call
    {"id": 7, "result": {...}} | {"id": 7, "error": {code, message, hint, errors}}
    {"notice": "message", "data": ...}                  needs no answer
    ["settle", 17, null]                                neither; read by the codec of this end (core.model.frames),
                                                        which takes the place of notices

What is written during one tick of the event loop leaves in one system call, which is 20-70 % of the throughput
under load, and EARLY_BYTES of it before its end, so that the peer begins while the rest is written; order is kept. A
peer that dies (EOF, EPIPE, ECONNRESET) is an orderly end, told by `on_close`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import orjson

from core import errors

MAX_FRAME_BYTES = 32 * 1024 * 1024
MAX_CALLS_IN_FLIGHT = 4096
EARLY_BYTES = 8 * 1024  # about 16 messages of runs
CALL_OR_ANSWER = b'{"id":'  # how both begin; with a codec, every other line is a frame of its own or refused

OnCall = Callable[["Channel", str, Any], Awaitable[Any]]
OnNotice = Callable[["Channel", str, Any], None]
OnFrame = Callable[[Any], None]


class Codec(Protocol):
    """Reads the frames of one peer."""

    def decode(self, line: bytes) -> Any:
        """The value of a line. Raises ValueError for what is none."""

    def refusal(self, reason: str) -> bytes:
        """What tells the peer that a line was none."""


class Channel(asyncio.Protocol):
    """One end of the channel. Handlers run on the loop; `on_notice` and `on_frame` must not block."""

    def __init__(
        self,
        *,
        on_call: OnCall | None = None,
        on_notice: OnNotice | None = None,
        codec: Codec | None = None,
        on_frame: OnFrame | None = None,
        on_open: Callable[[Channel], None] | None = None,
        on_close: Callable[[Channel], None] | None = None,
        on_tick: Callable[[Channel], None] | None = None,
    ) -> None:
        self._on_call = on_call
        self._on_notice = on_notice
        self._codec = codec
        self._on_frame = on_frame
        self._on_open = on_open
        self._on_close = on_close
        self._on_tick = on_tick  # after all frames of one read
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._part_bytes = 0
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_id = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self.closed = asyncio.Event()

    # -- what a user calls ---------------------------------------------------------------------------------

    async def call(self, name: str, args: Any) -> Any:
        """Send a call and wait for its answer.

        Raises the SluiceError that the peer answered with, or Busy when the channel ends or is given up first.
        """
        if self.closed.is_set():
            raise ChannelClosed()
        self._last_id += 1
        future: asyncio.Future[Any] = self._loop.create_future()
        self._answers[self._last_id] = future
        self.send(orjson.dumps({"id": self._last_id, "call": name, "args": args}, option=orjson.OPT_NON_STR_KEYS))
        if not self._writable.is_set():
            await self._writable.wait()
        return await future

    @property
    def waiting(self) -> bool:
        """Whether a call has no answer yet."""
        return bool(self._answers)

    def give_up(self) -> None:
        """End every call that waits with ChannelSilent; the channel stays, and a late answer is for nobody."""
        for future in self._answers.values():
            if not future.done():
                future.set_exception(ChannelSilent())
                future.exception()  # a waiter that is gone already must not make asyncio warn
        self._answers.clear()

    def notice(self, name: str, data: Any) -> None:
        """Send something that needs no answer; dropped when the channel has ended."""
        self.send(orjson.dumps({"notice": name, "data": data}))

    def send(self, frame: bytes) -> None:
        """Queue one encoded frame (without its newline) for the end of this tick, or until there are EARLY_BYTES."""
        if self.closed.is_set():
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frame)
        self._out_bytes += len(frame)
        if self._out_bytes > EARLY_BYTES:
            self._flush()

    async def close(self) -> None:
        """Flush what is queued and end the channel. Safe to call twice."""
        if self._transport is not None and not self.closed.is_set():
            self._flush()
            self._transport.close()
            await self.closed.wait()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=4 * 1024 * 1024)
        if self._on_open is not None:
            self._on_open(self)

    def data_received(self, data: bytes) -> None:
        head, newline, rest = data.partition(b"\n")
        if not newline:
            self._keep(data)
            return
        self._parts.append(head)
        self._frame(b"".join(self._parts))
        self._parts.clear()
        self._part_bytes = 0
        if rest:
            lines = rest.split(b"\n")
            tail = lines.pop()
            for line in lines:
                if self._transport is None or self._transport.is_closing():
                    return  # a frame was refused, or a handler has ended the channel
                self._frame(line)
            if tail:
                self._keep(tail)
        if self._on_tick is not None:
            self._on_tick(self)

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self._part_bytes += len(part)
        if self._part_bytes > MAX_FRAME_BYTES:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self._writable.set()
        self._out.clear()
        for future in self._answers.values():
            if not future.done():
                future.set_exception(ChannelClosed())
                future.exception()  # a waiter that is gone already must not make asyncio warn
        self._answers.clear()
        for task in self._tasks:
            task.cancel()
        if self._on_close is not None:
            self._on_close(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # -- frames --------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._out and self._transport is not None and not self._transport.is_closing():
            self._out.append(b"")
            self._transport.write(b"\n".join(self._out))
        self._out.clear()
        self._out_bytes = 0

    def _frame(self, line: bytes) -> None:
        if self._codec is not None and self._on_frame is not None and not line.startswith(CALL_OR_ANSWER):
            try:
                value = self._codec.decode(line)
            except ValueError as error:
                self._refuse(self._codec.refusal(str(error)))
                return
            self._on_frame(value)
            return
        try:
            frame = orjson.loads(line)
        except orjson.JSONDecodeError:
            self.abort()  # not our protocol: nothing after it can be trusted
            return
        if "notice" in frame:
            if self._on_notice is not None:
                self._on_notice(self, frame["notice"], frame["data"])
        elif "call" in frame:
            self._accept(frame["id"], frame["call"], frame["args"])
        else:
            future = self._answers.pop(frame["id"], None)
            if future is not None and not future.done():
                if "error" in frame:
                    future.set_exception(errors.from_dict(frame["error"]))
                else:
                    future.set_result(frame["result"])

    def _refuse(self, refusal: bytes) -> None:
        """Say so, and end: what comes behind a frame that is not understood cannot be trusted."""
        self.send(refusal)
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _accept(self, call_id: int, name: str, args: Any) -> None:
        if self._on_call is None or len(self._tasks) >= MAX_CALLS_IN_FLIGHT:
            refusal = errors.Busy("Too many calls are in flight on this connection.", hint="Wait for answers first.")
            self.send(orjson.dumps({"id": call_id, "error": refusal.to_dict()}))
            return
        task = self._loop.create_task(self._answer(self._on_call, call_id, name, args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, on_call: OnCall, call_id: int, name: str, args: Any) -> None:
        try:
            result = await on_call(self, name, args)
            frame = orjson.dumps({"id": call_id, "result": result}, option=orjson.OPT_NON_STR_KEYS)
        except errors.SluiceError as error:
            frame = orjson.dumps({"id": call_id, "error": error.to_dict()})
        self.send(frame)


class ChannelClosed(errors.Busy):
    """The engine went away while this call was under way."""


class ChannelSilent(errors.Busy):
    """The engine says nothing, although it is there."""


def last_frame(sock: socket.socket, frame: bytes) -> None:
    """Say one thing over a blocking socket that has no channel yet, and will have none."""
    sock.sendall(frame + b"\n")


async def over_socket(sock: socket.socket, **handlers: Any) -> Channel:
    """Put a channel over a connected stream socket (one end of a socketpair, an accepted connection)."""
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(lambda: Channel(**handlers), sock=sock)
    return protocol
