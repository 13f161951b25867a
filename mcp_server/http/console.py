"""The console and the viewer of the API: static files that the build made (packaging/console.py), alike for everybody.

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
_MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sluice</title>
<h1>The console is not built</h1><p>This is a checkout whose console was left out, or could not be made; the viewer of
the API is made with it. Make them with <code>make console</code>, and start the server again. Everything else works:
the HTTP API with <a href="/api/openapi.json">its description</a>, the command line, MCP.</p></html>
"""


def built() -> bool:
    """Whether there is a console."""
    return (STATIC / PAGE).is_file()


def router(static: Path = STATIC) -> APIRouter:
    """The routes below /console."""
    out = APIRouter(route_class=routes.PlainRoute)

    async def file(request: Request) -> Response:
        name = str(request.path_params["name"])
        if name.startswith(ASSETS):
            return _asset(static, name, "gzip" in request.headers.get("accept-encoding", ""))
        return page(static, PAGE)

    async def viewer(request: Request) -> Response:
        return page(static, VIEWER)

    async def to_the_page(request: Request) -> Response:
        return RedirectResponse(admission.CONSOLE, 308)

    out.add_api_route(admission.CONSOLE + "{name:path}", file, methods=["GET", "HEAD"], include_in_schema=False)
    out.add_api_route(admission.VIEWER, viewer, methods=["GET", "HEAD"], include_in_schema=False)
    out.add_api_route(admission.CONSOLE.rstrip("/"), to_the_page, methods=["GET", "HEAD"], include_in_schema=False)
    return out


def page(static: Path, name: str) -> Response:
    """A page with a nonce of its own, or how to make it when it was not made."""
    nonce = secrets.token_urlsafe(16)
    headers = {**_SAFE, "content-security-policy": _POLICY.format(nonce=escape(nonce))}
    made = _read(static).get(name)
    if made is None:
        return Response(_MISSING, 404, headers, "text/html")
    return Response(made.replace(NONCE, nonce.encode()), 200, headers, "text/html")


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
