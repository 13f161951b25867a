"""The cookie of the console, which stands for a bearer token, and when it counts.

A browser sends cookies also with what other pages ask for, so one counts only where the browser says that the page is
ours (Fetch Metadata, https://www.w3.org/TR/fetch-metadata/): SameSite does not tell apart two ports of one host.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any, Literal

from starlette.responses import Response

from core import errors

Scope = MutableMapping[str, Any]


def name_of(scope: Scope) -> str:
    """Of this server: one name for each port, since browsers share the cookies of all ports of a host."""
    if scope.get("scheme") == "https":
        return "__Host-sluice"
    return f"sluice-{(scope.get('server') or ('', 0))[1]}"


def bearer(scope: Scope, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """What a request shows in the place of an Authorization header: its cookie, as a bearer token; None without one.

    Raises Forbidden for a cookie that came with a request of another page.
    """
    held = list(headers)
    wanted = name_of(scope).encode() + b"="
    found = [
        part.strip().removeprefix(wanted)
        for name, value in held
        if name == b"cookie"
        for part in value.split(b";")
        if part.strip().startswith(wanted)
    ]
    if not found:
        return None
    if not _of_our_page(scope, dict(held)):
        raise errors.Forbidden(
            "A request of another page does not act as the one who is signed in here.",
            hint="Open the console itself, or send 'Authorization: Bearer TOKEN'.",
        )
    return f"Bearer {found[0].decode('latin-1')}"


def leave(
    answer: Response,
    scope: Scope,
    value: str,
    seconds: int,
    same_site: Literal["strict", "lax"] = "strict",
    name: str | None = None,
) -> None:
    """Have a browser keep a cookie for so many seconds, 0 to forget it; without a name it is the one of a session."""
    answer.set_cookie(
        name_of(scope) if name is None else name,
        value,
        max_age=seconds,
        path="/",
        secure=scope.get("scheme") == "https",
        httponly=True,
        samesite=same_site,
    )


def _of_our_page(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    site = headers.get(b"sec-fetch-site")
    if site is None:  # an older browser: it says where a request comes from with everything but a plain GET
        scheme, host = str(scope.get("scheme", "http")), headers.get(b"host", b"").decode("latin-1")
        return headers.get(b"origin", b"").decode("latin-1").lower() == f"{scheme}://{host}".lower()
    if site == b"none":  # typed, or a bookmark: it may look, and nothing else
        return scope["method"] in ("GET", "HEAD") and headers.get(b"sec-fetch-mode") == b"navigate"
    return site == b"same-origin"
