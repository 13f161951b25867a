"""MCP Apps: two pages that a host shows beside an answer, the plan as a picture and the form of a trigger.

Each is one self-contained HTML document: script and style are inside, allowed by their hashes, and its policy admits
no connection and nothing from elsewhere. They are built with the console and of its parts (console/src/apps): in a
checkout, when one is first read (console_build.py). Where they are not built and cannot be, none is offered; a host
then shows the text of the answer, as one without MCP Apps does, and that says the same.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core import errors
from mcp_server import console_build

EXTENSION = "io.modelcontextprotocol/ui"
MIME = "text/html;profile=mcp-app"
PLAN = "ui://sluice/plan.html"
TRIGGER = "ui://sluice/trigger.html"

TOOLS: Mapping[str, str] = {"deployment_plan": PLAN, "plan_get": PLAN, "trigger_get": TRIGGER}
"""Which tool's answer is shown on which page."""

_TITLES = {PLAN: "Plan of a deployment", TRIGGER: "Form of a trigger"}
PLACE = Path(__file__).parent.parent / "console" / "static" / "apps"  # where the build leaves them
_META = {"ui": {"csp": {"connectDomains": [], "resourceDomains": [], "frameDomains": []}, "prefersBorder": True}}


def available() -> bool:
    """Whether the pages are there, or are built when one is read."""
    return PLACE.is_dir() or console_build.possible()


def resources() -> list[dict[str, Any]]:
    """The pages that are offered, as resources."""
    return [_resource(uri, title) for uri, title in _TITLES.items()] if available() else []


def _resource(uri: str, title: str) -> dict[str, Any]:
    return {
        "uri": uri,
        "name": uri.rpartition("/")[2].removesuffix(".html") + "-page",
        "title": title,
        "description": f"{title}, shown by hosts with MCP Apps.",
        "mimeType": MIME,
        "_meta": _META,
    }


def tool_meta(name: str) -> dict[str, Any] | None:
    """The `_meta` of the tool whose answer has a page."""
    if name not in TOOLS or not available():
        return None
    return {"ui": {"resourceUri": TOOLS[name], "visibility": ["model", "app"]}}


async def page(uri: str) -> dict[str, Any] | None:
    """The contents of a page in the wire form of a resource; None for any other URI.

    Raises NotFound when the pages were to be built, and that failed.
    """
    if uri not in _TITLES or not available():
        return None
    reason = await console_build.finished()
    if not PLACE.is_dir():
        raise errors.NotFound(f"The page is not built. {reason}", hint="Run: make console")
    return {"uri": uri, "mimeType": MIME, "text": html(uri), "_meta": _META}


@functools.cache
def html(uri: str) -> str:
    """The whole document of a page that is built."""
    made = PLACE / uri.rpartition("/")[2].removesuffix(".html")
    script, style = (made.with_suffix(kind).read_text(encoding="utf-8") for kind in (".js", ".css"))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    version = importlib.metadata.version("sluice-mcp")
    return (
        f'<!doctype html>\n<html lang="en" data-version="{version}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{_TITLES[uri]}</title><style>{style}</style></head>"
        f'<body><main id="main"><p class="quiet">Waiting for the answer…</p></main>'
        f'<p id="status" role="status"></p><script>{script}</script></body></html>\n'
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
