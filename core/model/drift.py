"""Drift: in what way something that runs is not as it was applied, and what mends it."""

from __future__ import annotations

from enum import StrEnum


class DriftKind(StrEnum):
    """In what way something is not as it was applied."""

    MISSING = "missing"  # a replica is not there, or has no worker
    EXTRA = "extra"  # something runs that nobody wished for
    MODIFIED = "modified"  # somebody edited its job document
    MOVED = "moved"  # it is elsewhere, or its worker has gone to another group
    NOT_RUNNING = "not-running"  # a replica is there and does not run, or has failed and is not over that
    WORKER_OFFLINE = "worker-offline"  # its worker is not there
    OUT_OF_SYNC = "out-of-sync"  # it runs another version, or its worker does not hold what it was told


class StepAction(StrEnum):
    """What mends a drift."""

    ASSIGN = "assign"  # tell the worker what it should run
    UNASSIGN = "unassign"  # tell the worker to stop what nobody wished for
    MOVE = "move"  # give the replica to another worker of its group
    WAIT = "wait"  # it mends itself: a worker comes back, a job restarts after its back-off
