"""What a worker answers when it is asked to end the run of one message (the request `cancel`)."""

from __future__ import annotations

from enum import StrEnum


class Stopped(StrEnum):
    """What became of the run."""

    STOPPED = "stopped"  # it had begun, or waited for its turn, and does not go on
    OVER = "over"  # the worker does not have the message: its run had ended
    SHARED = "shared"  # its job takes messages in batches, and the others of the batch go on with it
