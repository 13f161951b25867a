"""What `sluice group show` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_server.cli import render


def show(group: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print a group, its workers and what is placed in it."""
    rows = group.pop("worker_rows")
    render.facts(group, tuple(group))
    render.heading("Workers")
    columns = ("name", "state", "pid", "slots", "jobs", "labels")
    render.rows(rows, columns, empty=f"None: put one in it with 'sluice worker update NAME --group {typed['name']}'.")
