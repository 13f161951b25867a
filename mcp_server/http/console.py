"""The console and the viewer of the API: static files that the build made (packaging/console.py), alike for everybody.
In a checkout, the first request for one of them starts the build when they are missing or older than their source.

Whatever is below /console/ and is no file is the one page, which shows what its address says; /api/docs is the other.
Their policy lets in nothing from elsewhere, no script but their own files, and styles of these and of what carries the
nonce of this answer.
"""

from __future__ import annotations

import functools
import gzip
import mimetypes
import secrets
from html import escape
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mcp_server import console_build
from mcp_server.http import admission, problems, routes

STATIC = Path(__file__).parent.parent / "console" / "static"
NONCE = b"__NONCE__"  # in index.html, for the one of each answer
ASSETS = "assets/"  # below it, each name says its content
_YEAR = 365 * 86_400
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SAFE = {**problems.SAFE_HEADERS, "referrer-policy": "no-referrer", "cross-origin-opener-policy": "same-origin"}
PAGE, VIEWER = "index.html", "api.html"
_DOCUMENT = """<!doctype html><html lang="en"><meta charset="utf-8">{more}<title>Sluice</title>
<h1>{title}</h1><p>{text}</p></html>
"""
_BUILDING = _DOCUMENT.format(
    # A refresh by the document itself would stay on a page with a code behind `#`, as links to sign in have.
    more='<script nonce="__NONCE__">setTimeout(() => location.reload(), 2000)</script>',
    title="The console is being built",
    text="This takes about half a minute, once for each state of the source. This page reloads itself.",
)
_MISSING = _DOCUMENT.format(
    more="",
    title="The console is not built",
    text="{reason}Build it and the viewer of the API with <code>make console</code>, and restart the server. "
    'Everything else works: the HTTP API with <a href="/api/openapi.json">its description</a>, the command line, MCP.',
)


def available() -> bool:
    """Whether there is a console, or the first request for it builds one."""
    return (STATIC / PAGE).is_file() or console_build.possible()


def router(static: Path = STATIC) -> APIRouter:
    """The routes below /console."""
    out = APIRouter(route_class=routes.PlainRoute)

    async def file(request: Request) -> Response:
        return await built(request, str(request.path_params["name"]))

    async def viewer(request: Request) -> Response:
        return await built(request, VIEWER)

    async def built(request: Request, name: str) -> Response:
        build = await console_build.begun()
        if build is not None and build.building:  # nothing is read before it is over
            return _answer(_BUILDING.encode(), 503, scripts="'nonce-{nonce}'")
        if name.startswith(ASSETS):
            return _asset(static, name, "gzip" in request.headers.get("accept-encoding", ""))
        return page(static, VIEWER if name == VIEWER else PAGE, "" if build is None else build.reason)

    async def to_the_page(request: Request) -> Response:
        return RedirectResponse(admission.CONSOLE, 308)

    out.add_api_route(admission.CONSOLE + "{name:path}", file, methods=["GET", "HEAD"], include_in_schema=False)
    out.add_api_route(admission.VIEWER, viewer, methods=["GET", "HEAD"], include_in_schema=False)
    out.add_api_route(admission.CONSOLE.rstrip("/"), to_the_page, methods=["GET", "HEAD"], include_in_schema=False)
    return out


def page(static: Path, name: str, reason: str = "") -> Response:
    """A page with a nonce of its own, or how to build it where it is missing, with the reason when that failed."""
    content = _read(static).get(name)
    if content is None:
        return _answer(_MISSING.format(reason=f"<pre>{escape(reason)}</pre>" if reason else "").encode(), 404)
    return _answer(content, 200)


def _answer(content: bytes, status: int, scripts: str = "'self'") -> Response:
    """A document with a nonce of its own, which loads `scripts` alone."""
    nonce = secrets.token_urlsafe(16)
    policy = _POLICY.replace("script-src 'self'", f"script-src {scripts}").format(nonce=escape(nonce))
    headers = {**_SAFE, "content-security-policy": policy}
    return Response(content.replace(NONCE, nonce.encode()), status, headers, "text/html")


def _asset(static: Path, name: str, zipped: bool) -> Response:
    content = _read(static).get(name)
    if content is None:
        return Response("There is no such file.", 404, _SAFE, "text/plain")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {**_SAFE, "cache-control": f"public, max-age={_YEAR}, immutable", "vary": "accept-encoding"}
    if zipped:
        return Response(_zipped(static, name), 200, {**headers, "content-encoding": "gzip"}, kind)
    return Response(content, 200, headers, kind)


@functools.cache
def _read(static: Path) -> dict[str, bytes]:
    """Every file by its name; read once, so that no name of a request becomes a path."""
    files = (file for file in static.rglob("*") if file.is_file()) if static.is_dir() else ()
    return {file.relative_to(static).as_posix(): file.read_bytes() for file in files}


@functools.lru_cache(maxsize=256)
def _zipped(static: Path, name: str) -> bytes:
    return gzip.compress(_read(static)[name], 9, mtime=0)
