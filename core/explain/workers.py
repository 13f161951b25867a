"""Why a worker is as it is: since when, who drained it, which jobs ended it, what was down while it was away. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core import clock
from core.explain import conditions
from core.explain.chain import Call, Cause, Explanation
from core.explain.conditions import Down
from core.fleet.connection import EXTERNAL
from core.model.condition import Condition, Health
from core.model.enrolment import EnrolmentState
from core.model.states import WorkerState, WorkloadState
from core.model.workload import WorkloadView, parse
from core.store.conditions import TransitionRow
from core.store.deaths import DeathRow

if TYPE_CHECKING:
    from core.model.results import explaining

SHOWN_MOVES = 4
SHOWN_DEATHS = 3
SHOWN_NAMES = 4


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a worker, as a tenant may know it."""

    row: Mapping[str, Any]  # as worker_list shows it
    condition: Condition | None
    moves: Sequence[TransitionRow]  # when it came and went, newest first
    workloads: Sequence[WorkloadView]  # of the tenant, that it should run
    down: Sequence[Down]  # what of the tenant was down with it
    deaths: Sequence[DeathRow]  # its ends while a job of the tenant was at work, oldest first
    deeds: Sequence[Cause]  # who drained it
    may_operate: bool  # whether the caller may change workers
    now_ns: int
    credential: EnrolmentState | None = None  # of one of another machine: that of its name

    @property
    def suspended(self) -> bool:
        return self.credential is EnrolmentState.SUSPENDED and not _present(self)


def explain(facts: Facts) -> Explanation:
    row, name = facts.row, facts.row["name"]
    causes = [*facts.deeds]
    if facts.suspended:
        causes.append(Cause("its credential was shown from two places, so there may be a copy of it: it is suspended"))
    causes += [_move(one) for one in facts.moves[:SHOWN_MOVES]]
    causes += [one.to_cause(facts.now_ns) for one in facts.down]
    for death in facts.deaths[-SHOWN_DEATHS:]:
        causes.append(Cause(f"it ended while {death.job} was at work: {death.cause}", death.at_ns))
    barred = [one for one in facts.workloads if one.state == WorkloadState.QUARANTINED]
    if barred:
        causes.append(Cause(f"{_names(barred)} ended workers again and again, and is kept from them"))
    if str(row["sandbox"]).startswith("refused"):
        causes.append(Cause(f"its sandbox is {row['sandbox']}"))
    runs = [one for one in facts.workloads if one not in barred]
    should = "runs" if _present(facts) else "should run"
    causes.append(Cause(f"it {should} {_names(runs)}" if runs else f"it {should} nothing of this tenant"))
    return Explanation(
        "worker", name, row["state"], _summary(facts, len(runs)), causes, _next(facts, barred), _more(facts)
    )


def _present(facts: Facts) -> bool:
    return facts.row["state"] in (WorkerState.ONLINE, WorkerState.DRAINING)


def _move(one: TransitionRow) -> Cause:
    what = "it came online" if one.after == Health.HEALTHY else f"it went: {one.reason}"
    return Cause(what, one.at_ns)


def _names(workloads: Sequence[WorkloadView]) -> str:
    names = [parse(one.id).name for one in workloads]
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _summary(facts: Facts, runs: int) -> str:
    row = facts.row
    since = f" since {clock.iso(facts.condition.since_ns)}" if facts.condition is not None else ""
    if row["state"] == WorkerState.DRAINING and facts.deeds:
        since = f" since {clock.iso(max(one.at_ns for one in facts.deeds))}"
    text = f"Worker {row['name']} of group {row['group']} is {row['state']}{since}; "
    verb = ("runs" if runs == 1 else "run") if _present(facts) else "should run"
    text += f"{runs} workload{'' if runs == 1 else 's'} of this tenant {verb} there."
    lasting = [one for one in facts.down if not one.ended_at_ns]
    if lasting:
        text += f" {sum(len(one.workloads) for one in lasting)} are down because of it."
    if _present(facts):
        return text
    if facts.suspended:
        return text + " Its credential is suspended, since there may be a copy of it: nobody joins with it until it is"
        " approved, on the right machine, or revoked."
    if row["kind"] == EXTERNAL:
        return text + " It comes back when 'sluice worker' runs on its machine again."
    return text + " Its engine starts it again by itself."


def _next(facts: Facts, barred: Sequence[WorkloadView]) -> list[Call]:
    """Nothing that explains: who is led here has come from there."""
    name, calls = facts.row["name"], []
    if facts.row["drained"] and facts.may_operate:
        calls.append(Call("worker_resume", {"name": name}, "let it take jobs again"))
    if barred:
        calls.append(Call("job_get", {"name": barred[0].job}, "see the job that ended it"))
    away = not _present(facts)
    managed = next((one.deployment for one in facts.workloads if one.deployment and away), "")
    if managed:
        arguments = {"name": managed, "dry_run": True}
        calls.append(Call("deployment_reconcile", arguments, "see what would move to another worker"))
    if facts.suspended and facts.may_operate:
        calls.append(Call("worker_credential_list", {"state": facts.credential}, "see what is known of it"))
        calls.append(
            Call("worker_approve", {"name": name}, "let it join, once it is sure which machine is the right one")
        )
        calls.append(Call("worker_revoke", {"name": name}, "end it for good, if a copy is in other hands"))
    elif away and facts.row["kind"] == EXTERNAL and facts.may_operate:
        calls.append(Call("worker_remove", {"name": name}, "forget it, once it has gone for good"))
    if not away or not calls:
        calls.append(Call("worker_get", {"name": name}, "see its memory, its loop lag and its jobs"))
    return calls


def _more(facts: Facts) -> explaining.More:
    more = conditions.more(facts.condition, facts.down, facts.now_ns)
    return {"group": facts.row["group"], "drained": facts.row["drained"], "restarts": facts.row["restarts"], **more}
