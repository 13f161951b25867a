"""What `sluice license show` and `install` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_server.cli import render


def show(license: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print which edition and features are licensed, until when, and why."""
    told = {
        **{key: license[key] for key in ("edition", "status", "customer", "id", "expires_at", "reason")},
        "features": ", ".join(name for name, granted in license["features"].items() if granted) or "none",
        "limits": ", ".join(f"{n} {what}" for what, n in license["limits"].items() if n is not None) or "none",
    }
    render.facts(told, tuple(told))
