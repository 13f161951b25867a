"""Why a run of a trigger is as it is: the record's own history, and what its target job does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core import clock
from core.explain.chain import Call, Cause, Explanation
from core.model.workload import WorkloadView

TERMINAL = ("succeeded", "failed", "timed_out")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about an invocation."""

    record: Mapping[str, Any]  # as trigger_invocation_get shows it
    job: str  # the target of its trigger; empty when the trigger is gone
    workloads: Sequence[WorkloadView]  # of the target job
    failures: Sequence[Cause]  # of the target job since the call, and its last log lines
    workers: Sequence[Cause]  # lost while the run was under way


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
            return f"the worker that had the message died; it was delivered again (attempt {event.get('attempt', '?')})"
        case "run_failed":
            return f"the run of the job failed: {event.get('reason', '')}"
        case "response_refused":
            return f"a trigger_response came and was refused: {event.get('reason', '')}"
        case "timed_out":
            return "nothing valid had answered by the deadline"
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
        text += f" No valid response came before {clock.iso(record['deadline_ns'])}."
    elif result.get("error_message"):
        text += f" {result['error_message']}"
    return text


def _seconds(record: Mapping[str, Any]) -> str:
    return f"{(record['finished_at_ns'] - record['requested_at_ns']) / clock.NANOSECONDS:.2f} s"


def _next(facts: Facts, running: Sequence[WorkloadView]) -> list[Call]:
    record, job = facts.record, facts.job
    if record["state"] not in TERMINAL:
        arguments = {"invocation_id": record["invocation_id"], "wait_seconds": 30}
        return [Call("trigger_invocation_get", arguments, "wait for its end")]
    if record["state"] == "succeeded":
        return [Call("trigger_invocation_get", {"invocation_id": record["invocation_id"]}, "see the result")]
    calls = []
    if facts.workloads:
        calls.append(Call("explain", {"kind": "job", "id": job}, "see what the target job does"))
    calls.append(Call("trigger_get", {"slug": record["trigger_slug"]}, "see target job, tag and response slot"))
    if running:
        arguments = {"slug": record["trigger_slug"], "params": dict(record["params"])}
        calls.append(Call("trigger_invoke", arguments, "run it again"))
    return calls
