"""Why a run of a trigger is as it is: the record's own history, and what its target job does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core import clock
from core.explain.chain import Call, Cause, Explanation
from core.explain.targets import Mismatch
from core.model.workload import WorkloadView

TERMINAL = ("succeeded", "failed", "timed_out", "canceled")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about an invocation."""

    record: Mapping[str, Any]  # as trigger_invocation_get shows it
    job: str  # the target of its trigger; empty when the trigger is gone
    workloads: Sequence[WorkloadView]  # of the target job
    failures: Sequence[Cause]  # of the target job since the call, and its last log lines
    workers: Sequence[Cause]  # lost while the run was under way
    slot: str = ""  # that the run waited for
    mismatches: Sequence[Mismatch] = ()  # between its trigger and the job, as both are now
    end: RunEnd | None = None  # how the job's own run with the message ended, when that is known
    again: bool = False  # whether the caller may run it again, and a second run does no harm


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How the run of the job that had the message ended, and what is known of the runs in that time."""

    at_ns: int
    events_out: int
    runs: int  # that `events_out` counts; 0: nothing is known of them yet
    output: str  # where the events went


def explain(facts: Facts) -> Explanation:
    record, job = facts.record, facts.job
    who = record["caller"]["username"]
    asked = (
        f"{who} invoked {record['trigger_slug']} (revision {record['trigger_revision']}) through {record['surface']}"
    )
    causes = [Cause(asked, record["requested_at_ns"]), *facts.workers, *facts.failures]
    causes += [Cause(_event(event, job), event["at_ns"]) for event in record["events"]]
    state = record["state"]
    result = record["result"] if isinstance(record["result"], dict) else {}
    running = [row for row in facts.workloads if row.state == "running"]
    if state == "timed_out" and record["deadline_ns"]:
        causes.append(Cause("the deadline for a valid trigger_response passed", record["deadline_ns"]))
        if facts.end is not None:
            causes.append(Cause(_end(facts, facts.end), facts.end.at_ns))
    if state in ("failed", "timed_out"):
        causes += [Cause(one.message) for one in facts.mismatches if one.code != "published_nowhere"]
    if result.get("error_message"):
        causes.append(Cause(f"{result.get('error_code', 'failed')}: {result['error_message']}"))
    if not facts.workloads and job:
        causes.append(Cause(f"job {job} is not deployed now"))
    elif job and state != "succeeded":
        states = ", ".join(f"{row.worker}: {row.state}" for row in facts.workloads[:4])
        causes.append(Cause(f"job {job} has {len(running)} of {len(facts.workloads)} replicas running now ({states})"))
    return Explanation(
        "invocation", record["invocation_id"], state, _summary(facts, result), causes, _next(facts, running)
    )


def _event(event: Mapping[str, Any], job: str) -> str:
    match event["type"]:
        case "accepted":
            return "the call was valid and was recorded"
        case "dispatched":
            return f"its message was handed to the bus for job {job or '(unknown)'}"
        case "redelivered":
            again = f"its message was delivered again (attempt {event.get('attempt', '?')})"
            return f"its worker or the engine went away before an end of the run was known, so {again}"
        case "run_failed":
            return f"the run of the job failed: {event.get('reason', '')}"
        case "response_refused":
            return f"a trigger_response came and was refused: {event.get('reason', '')}"
        case "timed_out":
            return "nothing valid had answered by the deadline"
        case "cancel_requested":
            why = event.get("reason")
            return f"{event['by']} wanted its end, through {event['surface']}" + (f": {why}" if why else "")
        case "canceled" if not event["confirmed"]:
            return "it was canceled, and its worker has not said that it stopped"
        case "succeeded" | "failed" as end:
            by = event.get("by") or event.get("reason")
            return f"the record ended as {end}" + (f" ({by})" if by else "")
        case other:
            return str(other).replace("_", " ") + (f": {event['reason']}" if event.get("reason") else "")


def _summary(facts: Facts, result: Mapping[str, Any]) -> str:
    record = facts.record
    attempts = f" in {record['attempts']} attempts" if record["attempts"] > 1 else ""
    ended = f" after {_seconds(record)}" if record["finished_at_ns"] else ""
    text = f"The run of {record['trigger_slug']} is {record['state']}{ended}{attempts}."
    if record["state"] == "timed_out" and record["deadline_ns"]:
        text += f" No valid response came before {clock.iso(record['deadline_ns'])}. {_silence(facts)}"
    elif record["state"] == "canceled":
        why = f" ({result['reason']})" if result.get("reason") else ""
        text += f" {result.get('canceled_by')} wanted its end{why}. {result.get('hint', '')}"
    elif result.get("error_message"):
        text += f" {result['error_message']}"
    return text


def _silence(facts: Facts) -> str:
    """Why nobody answered a run that timed out, and whether its work may be done."""
    job = facts.job or "its job"
    if any(event["type"] == "timed_out" and event.get("withdrawn") for event in facts.record["events"]):
        return f"No replica of {job} had taken its message, which was withdrawn: nothing of it was done."
    if facts.end is None:
        return f"{job} had not ended its run by then: a part of the work may be done, or all of it later."
    text = f"{_end(facts, facts.end)}, and sent nothing valid to slot {facts.slot}"
    if any(one.code == "never_answers" for one in facts.mismatches):
        text += "; its document has no trigger_response: add respond, as output or emit, or remove response_slot"
    return f"{text}. The work may be done already; a run again would do it once more."


def _end(facts: Facts, end: RunEnd) -> str:
    """How the run of the job ended: when, well or not, and what went where."""
    failed = next((event for event in facts.record["events"] if event["type"] == "run_failed"), None)
    how = "ended ok" if failed is None else f"failed ({failed.get('reason', '')})"
    events = f"{end.events_out} event{'s' * (end.events_out != 1)} to {end.output}"
    sent = ""
    if end.runs:
        sent = f", {events}" if end.runs == 1 else f", {events} in the {end.runs} runs around then"
    return f"{facts.job} {how} at {clock.iso(end.at_ns)}{sent}"


def _seconds(record: Mapping[str, Any]) -> str:
    return f"{(record['finished_at_ns'] - record['requested_at_ns']) / clock.NANOSECONDS:.2f} s"


def _next(facts: Facts, running: Sequence[WorkloadView]) -> list[Call]:
    record, job = facts.record, facts.job
    if record["state"] not in TERMINAL:
        arguments = {"invocation_id": record["invocation_id"], "wait_seconds": 30}
        return [Call("trigger_invocation_get", arguments, "wait for its end")]
    if record["state"] == "succeeded":
        return [Call("trigger_invocation_get", {"invocation_id": record["invocation_id"]}, "see the result")]
    calls, slug = [], record["trigger_slug"]
    if facts.mismatches:
        calls.append(Call("explain", {"kind": "trigger", "id": slug}, "see what mends it"))
    elif facts.workloads:
        calls.append(Call("explain", {"kind": "job", "id": job}, "see what the target job does"))
    calls.append(Call("trigger_get", {"slug": slug}, "see target job, tag and response slot"))
    if running and facts.again:
        arguments = {"slug": record["trigger_slug"], "params": dict(record["params"])}
        calls.append(Call("trigger_invoke", arguments, "run it again, which its trigger calls harmless"))
    return calls
