"""What a worker is told about the channels between its jobs, worked out from the documents that it shall run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.dsl.language import hops
from core.model.frames import ChannelDriver


def declared(workloads: Iterable[tuple[str, str, Mapping[str, Any]]]) -> list[ChannelDriver]:
    """The channels that are read by these workloads of one worker, given as (tenant, job, document); sorted.

    A channel has the driver `clone` when one of its readers says so, else `standard`. Replicas of a job are one reader.
    """
    readers: dict[str, set[str]] = {}
    clones: set[str] = set()
    for tenant, job, document in workloads:
        name = hops.reads(document)
        if not name:
            continue
        key = f"{tenant}/{name}"
        readers.setdefault(key, set()).add(job)
        body = document["input"]["worker-channel"]
        if isinstance(body, Mapping) and body.get("driver") == "clone":
            clones.add(key)
    return [ChannelDriver(key, "clone" if key in clones else "standard", len(readers[key])) for key in sorted(readers)]
