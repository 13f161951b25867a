"""A line: what one worker and one engine say to each other, record by record, over whichever wire there is."""

from __future__ import annotations

from typing import Protocol

PATH = "/api/workers/connect"
"""Where the server of an engine has a WebSocket for workers (RFC 6455)."""
SUBPROTOCOL = "sluice.worker.2"


class LineBroken(Exception):
    """The line has ended, or takes nothing at present; the text says why."""


class Line(Protocol):
    """One end. Whoever has it closes it."""

    @property
    def chunk_bytes(self) -> int:
        """How much data one record may hold."""

    async def send(self, record: bytes) -> None:
        """Put a record on the line; waits while the other end is slow. Raises LineBroken."""

    async def take(self) -> bytes:
        """Wait for the next record. Raises LineBroken when the line is known to have ended."""

    async def close(self, reason: str = "") -> None:
        """End it, and tell the other end why where the wire can. Does not raise, and may be called twice."""
