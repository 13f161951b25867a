"""What `sluice explain` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_server.cli import render, wording


def show(told: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print why something is as it is, and what to do next, in commands."""
    render.text(told["summary"])
    render.heading("Because")
    for cause in told["because"]:
        render.text(f"  {cause['at'] or 'now':<24}  {wording.hint(render.printable('', cause['what']))}")
    render.steps(told["next"])
