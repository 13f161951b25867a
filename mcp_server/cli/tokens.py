"""What `sluice token create` gives and prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_server.cli import connect, render


def with_tenants(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> dict[str, Any]:
    """A token is for the tenant of the command unless it says which."""
    return {"tenants": [common.tenant], **given}


def created(token: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print a token, which is shown once."""
    connect.note("Keep this token; it cannot be shown again.")
    render.text(token["token"])
