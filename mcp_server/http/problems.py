"""Errors on the HTTP door: application/problem+json (RFC 9457), one status per error code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from core import errors

MEDIA_TYPE = "application/problem+json"

STATUS: dict[str, int] = {
    "invalid_params": 422,
    "invalid_document": 422,
    "not_found": 404,
    "already_exists": 409,
    "stale_plan": 409,
    "plan_used": 409,
    "plan_expired": 409,
    "plan_blocked": 409,
    "write_disabled": 403,
    "forbidden": 403,
    "unauthenticated": 401,
    "rate_limited": 429,
    "quota_exceeded": 507,
    "idempotency_mismatch": 422,
    "not_licensed": 403,
    "target_unavailable": 409,
    "storage_unavailable": 503,
    "busy": 503,
    "unconfirmed": 409,  # none of those that programs repeat by themselves
    "internal": 500,
}

SAFE_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def status_of(error: errors.SluiceError) -> int:
    """The status of an error: its class's own, where the door has one, or that of its code."""
    own = getattr(error, "status", None)
    return own if isinstance(own, int) else STATUS[error.code]


def body(error: errors.SluiceError, status: int) -> dict[str, Any]:
    """The problem document of an error: type, title, status, detail, code, hint, errors[], details?."""
    document: dict[str, Any] = {
        "type": f"urn:sluice:error:{error.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "code": error.code,
        "hint": error.hint,
        "errors": [problem.to_dict() for problem in error.errors],
    }
    if error.details:
        document["details"] = error.details
    return document


def response(error: errors.SluiceError, status: int | None = None, headers: dict[str, str] | None = None) -> Response:
    """Answer with an error; 401 names the scheme, 429 and 503 say when to come back."""
    code = status or status_of(error)
    sent = {**SAFE_HEADERS, **(headers or {})}
    if code == HTTPStatus.UNAUTHORIZED:
        sent.setdefault("www-authenticate", 'Bearer realm="sluice"')
    elif code in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        sent["retry-after"] = str(max(1, int(error.details.get("retry_after_seconds", 1))))
    return Response(orjson.dumps(body(error, code), default=str), code, sent, MEDIA_TYPE)


async def refuse_socket(
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]], status: int, error: errors.SluiceError
) -> None:
    """Answer a request for a WebSocket with an error, in place of one."""
    body = f"{error.message} {error.hint}".strip().encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
