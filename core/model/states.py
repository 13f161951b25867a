"""State tables of every noun that has a life, as data, with the one function that moves along them.

docs/states.md is drawn from these tables by a test, so the picture cannot lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from core.errors import InvalidTransition


class InvocationState(StrEnum):
    """The life of one run of a trigger."""

    ACCEPTED = "accepted"  # recorded; its message is not yet with the bus
    DISPATCHED = "dispatched"  # its message is durable and on its way to one replica of the target job
    SUCCEEDED = "succeeded"  # a valid response said so, or (dispatch-only) the message was accepted
    FAILED = "failed"  # a valid response said so, or nothing could take the message
    TIMED_OUT = "timed_out"  # no valid response came before the deadline
    CANCELED = "canceled"  # somebody wanted its end before any other one came


class PlanState(StrEnum):
    """The life of a saved plan; a plan is single use."""

    OPEN = "open"  # can be applied
    APPLIED = "applied"  # was applied once
    STALE = "stale"  # the world moved before it was applied
    EXPIRED = "expired"  # too old
    DISCARDED = "discarded"  # withdrawn by its owner


class DeploymentState(StrEnum):
    """The life of a deployment."""

    APPLYING = "applying"  # the wish is committed, workers are being brought to it
    RUNNING = "running"  # every workload is as wished
    DEGRADED = "degraded"  # some workload is not as wished
    FAILED = "failed"  # an apply did not come to its end
    REMOVING = "removing"  # the wish is empty, workers are being cleared
    REMOVED = "removed"  # nothing is left but the history


class WorkflowState(StrEnum):
    """The life of one version of a workflow."""

    DRAFT = "draft"  # editable
    PUBLISHED = "published"  # immutable, deployable
    RETIRED = "retired"  # immutable, no longer offered


class WorkloadState(StrEnum):
    """The life of one job instance on one worker."""

    ASSIGNED = "assigned"  # wished for; the worker has not confirmed it
    STARTING = "starting"  # compiling and opening its input and output
    RUNNING = "running"  # at work, or waiting for its schedule or messages
    COMPLETED = "completed"  # a run-once job came to its end
    FAILED = "failed"  # ended with an error; restarts after a back-off, unless it was aborted
    STOPPED = "stopped"  # was told to stop
    QUARANTINED = "quarantined"  # its workers died again and again while it was at work; kept from them


class WorkerState(StrEnum):
    """What the engine knows about a worker."""

    ONLINE = "online"  # its heartbeats arrive
    DRAINING = "draining"  # gets nothing new, and gives away what can move
    OFFLINE = "offline"  # said good-bye, or was shut out
    LOST = "lost"  # fell silent or died


class GitopsRunState(StrEnum):
    """The life of one GitOps run: an apply, a promotion or a rollback of one scope."""

    RUNNING = "running"  # its changes are being made, one after the other
    SUCCEEDED = "succeeded"  # every change was made, and every deployment came up
    FAILED = "failed"  # a change was refused, or a deployment did not come up; those before it stand
    INTERRUPTED = "interrupted"  # its engine ended; applying again goes on from there


class RunState(StrEnum):
    """The life of one run of a job."""

    RUNNING = "running"  # it is under way
    SUCCEEDED = "succeeded"  # its output has accepted all of its events, but for those that were refused
    FAILED = "failed"  # all of them were refused, or it, its worker or its engine came to an end before that
    CANCELED = "canceled"  # somebody wanted its end
    SKIPPED = "skipped"  # its time came while a run was under way, and it was left out
    MISSED = "missed"  # its time came while nothing could run it


State = TypeVar("State", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Table(Generic[State]):
    """The moves of one noun: for each state, the states that may follow it."""

    noun: str
    initial: State
    moves: Mapping[State, frozenset[State]]

    def terminal(self, state: State) -> bool:
        return not self.moves[state]

    def allows(self, old: State, new: State) -> bool:
        return new in self.moves[old]

    def advance(self, old: State, new: State) -> State:
        """Return `new` if the table has that move.

        Raises InvalidTransition, which is a fault of ours and never of a caller.
        """
        if not self.allows(old, new):
            raise InvalidTransition(f"{self.noun} cannot move from {old} to {new}")
        return new


def _table(noun: str, initial: State, moves: dict[State, tuple[State, ...]]) -> Table[State]:
    every = type(initial)
    return Table(noun, initial, {state: frozenset(moves.get(state, ())) for state in every})


_I, _P, _D, _F, _W, _K = InvocationState, PlanState, DeploymentState, WorkflowState, WorkloadState, WorkerState
_G, _R = GitopsRunState, RunState

INVOCATION = _table(
    "invocation",
    _I.ACCEPTED,
    {
        _I.ACCEPTED: (_I.DISPATCHED, _I.FAILED, _I.TIMED_OUT, _I.CANCELED),
        _I.DISPATCHED: (_I.SUCCEEDED, _I.FAILED, _I.TIMED_OUT, _I.CANCELED),
    },
)
PLAN = _table("plan", _P.OPEN, {_P.OPEN: (_P.APPLIED, _P.STALE, _P.EXPIRED, _P.DISCARDED)})
DEPLOYMENT = _table(
    "deployment",
    _D.APPLYING,
    {
        _D.APPLYING: (_D.APPLYING, _D.RUNNING, _D.DEGRADED, _D.FAILED, _D.REMOVING),
        _D.RUNNING: (_D.DEGRADED, _D.APPLYING, _D.REMOVING),
        _D.DEGRADED: (_D.RUNNING, _D.APPLYING, _D.REMOVING),
        _D.FAILED: (_D.APPLYING, _D.REMOVING),
        _D.REMOVING: (_D.REMOVED, _D.APPLYING),
        _D.REMOVED: (_D.APPLYING,),
    },
)
WORKFLOW = _table("workflow version", _F.DRAFT, {_F.DRAFT: (_F.PUBLISHED,), _F.PUBLISHED: (_F.RETIRED,)})
WORKLOAD = _table(
    "workload",
    _W.ASSIGNED,
    {
        _W.ASSIGNED: (_W.STARTING, _W.STOPPED, _W.QUARANTINED),
        _W.STARTING: (_W.RUNNING, _W.FAILED, _W.COMPLETED, _W.STOPPED, _W.QUARANTINED),
        _W.RUNNING: (_W.COMPLETED, _W.FAILED, _W.STOPPED, _W.QUARANTINED),
        _W.FAILED: (_W.STARTING, _W.STOPPED, _W.QUARANTINED),
        _W.QUARANTINED: (_W.ASSIGNED,),
    },
)
WORKER = _table(
    "worker",
    _K.ONLINE,
    {
        _K.ONLINE: (_K.DRAINING, _K.OFFLINE, _K.LOST),
        _K.DRAINING: (_K.ONLINE, _K.OFFLINE, _K.LOST),
        _K.OFFLINE: (_K.ONLINE, _K.DRAINING),
        _K.LOST: (_K.ONLINE, _K.DRAINING),
    },
)
GITOPS_RUN = _table("gitops run", _G.RUNNING, {_G.RUNNING: (_G.SUCCEEDED, _G.FAILED, _G.INTERRUPTED)})
RUN = _table("run", _R.RUNNING, {_R.RUNNING: (_R.SUCCEEDED, _R.FAILED, _R.CANCELED)})
TABLES: tuple[Table[Any], ...] = (INVOCATION, PLAN, DEPLOYMENT, WORKFLOW, WORKLOAD, WORKER, RUN, GITOPS_RUN)
