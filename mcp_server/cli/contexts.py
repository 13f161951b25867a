"""What `sluice context get` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_server.cli import render


def effective(seen: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print what a job in some place sees, and which level gives it."""
    rows = [{"key": key, "value": value, "from": seen["from"][key]} for key, value in seen["values"].items()]
    render.rows(rows, ("key", "value", "from"), empty="Nothing is set. Set a value with: sluice context set KEY=VALUE")
