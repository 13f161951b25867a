"""What there is of jobs, one entry for each: versions, draft, and where it runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from core import clock
from core.model.workload import WorkloadView

if TYPE_CHECKING:
    from core.model.results import jobs


def entries(
    newest: Iterable[Mapping[str, Any]], drafts: Iterable[Mapping[str, Any]], workloads: Iterable[WorkloadView]
) -> list[jobs.JobItem]:
    """The jobs by name, from the newest version of each, the drafts, and what is wanted on workers."""
    items: dict[str, jobs.JobItem] = {}
    for row in newest:
        items[row["name"]] = _entry(row["name"], row["version"])
    for row in drafts:
        items.setdefault(row["name"], _entry(row["name"], None))["draft"] = row["revision"]
    for workload in workloads:
        item = items.setdefault(workload.job, _entry(workload.job, workload.version))
        item["managed_by"] = workload.deployment or None
        shown: jobs.JobReplica = {"worker": workload.worker, "state": workload.state, "reason": workload.reason}
        item["workloads"].append(shown if workload.condition is None else {**shown, **workload.condition.to_dict()})
    return [items[name] for name in sorted(items)]


def _entry(name: str, version: int | str | None) -> jobs.JobItem:
    return {"name": name, "version": version, "draft": None, "managed_by": None, "workloads": []}


def draft(row: Mapping[str, Any]) -> jobs.JobDraft:
    """The open draft of a job, with its document."""
    return {
        "revision": row["revision"],
        "document": row["document"],
        "origin": row["origin"],
        "updated_at": clock.iso(row["updated_at_ns"]),
        "updated_by": row["updated_by"],
    }


def fits(entry: jobs.JobItem, query: str, state: str | None) -> bool:
    """Whether every word of a query is in the name of a job or of its deployment, and a replica of it is in a state;
    `staged` is one that nothing runs, `draft` one with an open draft."""
    text = f"{entry['name']} {entry['managed_by'] or ''}".casefold()
    if not all(word in text for word in query.casefold().split()):
        return False
    match state:
        case None:
            return True
        case "draft":
            return entry["draft"] is not None
        case "staged":
            return not entry["workloads"]
    return any(one["state"] == state for one in entry["workloads"])
