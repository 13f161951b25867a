"""Kills the process of a test child at a chosen one of the boundaries that it passes."""

from __future__ import annotations

import os
import signal


class Boundaries:
    """Counts from when it is started, and kills at the chosen one."""

    def __init__(self, fatal: int) -> None:
        self.fatal = fatal
        self.count = -1  # not started

    def pass_one(self) -> None:
        if self.count < 0:
            return
        self.count += 1
        if self.count == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
