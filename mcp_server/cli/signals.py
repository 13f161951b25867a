"""The signals that end a long-running command."""

from __future__ import annotations

import contextlib
import signal
from typing import Self

import anyio


class StopRequest:
    """SIGTERM or SIGINT, kept from the beginning of the block on, also before somebody waits for it.

    Once it is taken, and after the block, a second one ends the process at once.
    """

    def __enter__(self) -> Self:
        self._open = contextlib.ExitStack()
        self._received = self._open.enter_context(anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT))
        return self

    def __exit__(self, *why: object) -> None:
        self._open.close()

    async def taken(self) -> signal.Signals:
        """Wait for the signal."""
        number = await anext(aiter(self._received))
        self._open.close()
        return number
