"""What `sluice job` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_server.cli import connect, documents, forms, render

_FAULTS = ("where", "pointer", "message")


def compared(text: str, flag: str) -> int:
    """The version that --compare names; `draft` is 0. Raises InvalidParams."""
    return 0 if text == "draft" else documents.whole(flag, text)


def show(job: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print a job: document, versions, draft, workloads, last failure, log."""
    failure, draft, origin, schedule = job["last_failure"], job["draft"], job["origin"], job["schedule"]
    told = {
        "name": job["name"],
        "version": job["version"],
        "managed_by": job["managed_by"],
        "origin": origin
        and f"{origin['role']} of step {origin['step']}, {origin['module']}, revision {origin['revision']}",
        "draft": draft and f"revision {draft['revision']}, by {draft['updated_by']} at {draft['updated_at']}",
        "next": schedule and ("paused" if schedule["paused"] else schedule["next"]),
        "last": schedule and schedule["last"],
        "last_failure": failure and f"{failure['at']}  {failure['reason']}",
        "letters": letters(job),
    }
    render.facts(told, tuple(told))
    columns = ("job", "replica", "worker", "state", "health", "since", "restarts", "failures", "reason", "metrics")
    render.section("Workloads", job["workloads"], columns)
    conditions = [{"replica": row["replica"], **one} for row in job["workloads"] for one in row.get("conditions", ())]
    render.section("Conditions", conditions, ("replica", "type", "status", "reason", "since", "message"))
    render.section("Versions", job["versions"], ("version", "created_at", "created_by"))
    render.section("Log", [_log_line(line) for line in job["log"]], ("at", "level", "text"))
    if "diff" in job:
        render.heading("Changes")
        render.text(job["diff"] or "There are none.")
    for title, document in (("Document", job["document"]), ("Draft", draft and draft["document"])):
        if document is not None:
            render.heading(title)
            render.text(document if isinstance(document, str) else render.yaml(document))


def letters(answer: Mapping[str, Any]) -> str | None:
    """What an answer says of dead letters; None when there are none."""
    box = answer.get("letters")
    if box is None:
        return None
    return f"{box['waiting']} wait" + (f", {box['dropped']} were dropped: there was no room" if box["dropped"] else "")


def _log_line(line: dict[str, Any]) -> dict[str, Any]:
    fields = " ".join(f"{key}={value}" for key, value in line.get("fields", {}).items())
    return {**line, "text": f"{line['text']}  {fields}".rstrip()}


def validated(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print whether a document is a job, or its faults."""
    told = f"the job {found['name']} is valid" if found["valid"] else found["message"]
    documents.tell(told, typed["origin"])
    untold = documents.untold(found)
    if untold:
        render.rows(untold, _FAULTS, empty="")
    if found.get("hint"):
        connect.note(f"hint: {found['hint']}")


def put(job: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print what was stored, and what is to be mended in a draft."""
    render.facts(job, ("name", "version", "revision", "changed", "valid"))
    render.section("Faults to mend before it is staged", job.get("errors", []), _FAULTS)


def cloned(job: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print the text of a copy."""
    for warning in job["warnings"]:
        connect.note(f"note: {warning}")
    render.text(job["document"])
    name = typed["new_name"]
    connect.note(f"Saved as draft {name}. Edit it with: sluice job put --draft -f FILE --base-revision 1")


def deployed(made: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print the workloads of a job, and which of them did not come up."""
    render.facts(made, ("name", "version"))
    render.rows(made["workloads"], ("job", "replica", "worker", "state", "reason"), empty="No workloads yet.")
    render.section("Warnings", made.get("warnings", []), ("message", "hint"))
    for one in forms.unfit(made) if typed.get("wait_seconds") != 0 else ():
        reason = one["reason"] or "it has not come up in time"
        connect.note(f"error: {one['job']} on {one['worker']} is {one['state']}: {reason}")
