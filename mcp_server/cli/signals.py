"""Wait for the signal that ends a long-running command."""

from __future__ import annotations

import signal

import anyio


async def stop_requested() -> signal.Signals:
    """Return when SIGTERM or SIGINT arrives; afterwards a second one ends the process at once."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        async for number in received:
            return number
    raise AssertionError("a signal receiver does not end by itself")
