"""What `sluice worker` prints of one worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_server.cli import render


def show(worker: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print a worker: what it reports of itself, and the jobs on it."""
    workloads, report = worker.pop("workloads"), worker.pop("report")
    render.facts(worker, tuple(worker))
    if report is not None:
        render.heading("Report")
        render.facts(report, tuple(report))
    render.section("Workloads", workloads, ("job", "replica", "state", "restarts", "reason", "metrics"))


def moved(worker: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print a worker that has changed, what left it and what stays."""
    render.facts(worker, ("name", "group", "state", "slots", "jobs", "labels"))
    render.section("Moved", render.folded(worker["moved"], "id", "worker"), ("number", "id", "worker"))
    render.section("Stays", render.folded(worker["stays"], "id", "reason"), ("number", "id", "reason"))


def revoked(ended: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print a credential that has ended, what left its worker and what stays."""
    render.facts(ended, ("name", "state", "group", "key", "generation", "decided_by"))
    render.section("Moved", render.folded(ended["moved"], "id", "worker"), ("number", "id", "worker"))
    render.section("Stays", render.folded(ended["stays"], "id", "reason"), ("number", "id", "reason"))
