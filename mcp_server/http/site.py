"""The documentation as a site: static files that `make site` made of docs/, alike for everybody.

Its pages hold no script and no style of their own (packaging/site/conf.py sees to it), so that their policy lets in
files of this server alone, without a nonce.
"""

from __future__ import annotations

import functools
import gzip
import mimetypes
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mcp_server.http import admission, problems, routes

STATIC = Path(__file__).parent.parent / "site" / "static"
INDEX = "index.html"
_HOUR = 3600
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src"
    " 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    **problems.SAFE_HEADERS,
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "content-security-policy": _POLICY,
    "vary": "accept-encoding",
}
_TEXTS = (".html", ".css", ".js", ".svg", ".txt")
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sluice</title>
<h1>{title}</h1><p>{text}</p></html>
"""
_MISSING = _PAGE.format(
    title="The documentation is not built",
    text="This is a checkout. Make it with <code>make site</code>; until then the pages are files under docs/, and"
    " MCP clients read them as docs://PAGE.",
)
_NO_PAGE = _PAGE.format(title="There is no such page", text='<a href="/docs/">All pages</a>')


def router(static: Path = STATIC) -> APIRouter:
    """The routes below /docs."""
    out = APIRouter(route_class=routes.PlainRoute)

    async def file(request: Request) -> Response:
        return answer(static, str(request.path_params["name"]), request.headers.get("accept-encoding", ""))

    async def to_the_index(request: Request) -> Response:
        return RedirectResponse(admission.SITE, 308)

    out.add_api_route(admission.SITE + "{name:path}", file, methods=["GET", "HEAD"], include_in_schema=False)
    out.add_api_route(admission.SITE.rstrip("/"), to_the_index, methods=["GET", "HEAD"], include_in_schema=False)
    return out


def answer(static: Path, name: str, encodings: str) -> Response:
    """A file of the site; `/docs/PAGE` is PAGE.html, as people type it."""
    files = _files(static)
    if INDEX not in files:
        return Response(_MISSING, 404, _HEADERS, "text/html")
    found = next((one for one in (name or INDEX, f"{name}.html") if one in files), None)
    if found is None:
        return Response(_NO_PAGE, 404, _HEADERS, "text/html")
    kind = mimetypes.guess_type(found)[0] or "application/octet-stream"
    headers = {**_HEADERS, "cache-control": f"public, max-age={_HOUR}"}
    if "gzip" in encodings and found.endswith(_TEXTS):
        return Response(_zipped(static, found), 200, {**headers, "content-encoding": "gzip"}, kind)
    return Response(files[found], 200, headers, kind)


@functools.cache
def _files(static: Path) -> dict[str, bytes]:
    """Every file by its name; read once, so that no name of a request becomes a path."""
    files = (file for file in static.rglob("*") if file.is_file()) if static.is_dir() else ()
    return {file.relative_to(static).as_posix(): file.read_bytes() for file in files}


@functools.lru_cache(maxsize=256)
def _zipped(static: Path, name: str) -> bytes:
    return gzip.compress(_files(static)[name], 9, mtime=0)
