"""`sluice license`: what this installation may do."""

from __future__ import annotations

from typing import Any

from mcp_server.cli import connect, documents, render


async def show(*, common: connect.Common = connect.DEFAULTS) -> int:
    """Show which edition and features are licensed, until when, and why."""
    async with connect.engine(common) as engine:
        result = await engine.call("license_show")
    _print(result, common)
    return 0


async def install(file: str, /, *, common: connect.Common = connect.DEFAULTS) -> int:
    """Install a license file; it takes effect at once.

    Parameters
    ----------
    file
        The license file, or - for standard input. Its signer must be among the setting license_keys.
    """
    text, _ = documents.text(file)
    async with connect.engine(common) as engine:
        result = await engine.call("license_install", document=text)
    _print(result, common)
    return 0


def _print(result: dict[str, Any], common: connect.Common) -> None:
    if common.json:
        render.json(result)
        return
    shown = {
        **{key: result[key] for key in ("edition", "status", "customer", "id", "expires_at", "reason")},
        "features": ", ".join(name for name, granted in result["features"].items() if granted) or "none",
        "limits": ", ".join(f"{n} {what}" for what, n in result["limits"].items() if n is not None) or "none",
    }
    render.facts({key: value for key, value in shown.items() if value}, tuple(k for k, v in shown.items() if v))
