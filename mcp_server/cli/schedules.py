"""What `sluice schedule` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_server.cli import render

_FACTS = ("name", "deployment", "state", "schedule", "time_zone", "last_scheduled", "last_run", "last_success_at")
_COUNTS = ("failures", "missed", "skipped", "waiting", "on_time", "reason", "replicas", "paused", "settings")

_RUN = ("run_id", "state", "cause", "scheduled_for", "started_at", "ended_at", "count", "reason")


def show(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print a schedule: when it fires, when it did, what came between."""
    told = {key: _line(value) for key, value in found.items() if key != "runs"}
    render.facts(told, tuple(key for key in (*_FACTS, *_COUNTS) if told.get(key) not in (None, "")))
    render.section("Next", [{"at": at} for at in found["next"]], ("at",))
    render.section("Runs", found.get("runs", []), _RUN)


def _line(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return ", ".join(f"{key} {one}" for key, one in value.items() if one not in (None, ""))


def backfilled(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print the times that a job runs for."""
    render.facts(found, ("name", "dry_run", "count"))
    render.section("Times", [{"at": at} for at in found["times"]], ("at",))
