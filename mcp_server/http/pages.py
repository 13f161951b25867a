"""Small pages for people in a browser: they hold no script, and nothing of elsewhere."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from starlette.responses import Response

from core import errors
from mcp_server.http import problems

_POLICY = (
    "default-src 'none'; style-src 'sha256-{digest}'; form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
)
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark}"
)
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>{title} - Sluice</title><style>{style}</style><h1>{title}</h1>{body}</html>\n"
)


def page(title: str, body: str, status: int = 200, forms: str = "'self'") -> Response:
    """A page; `body` is HTML that is safe. `forms` is where forms may lead, as the policy of the page says it."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    headers = {
        **problems.SAFE_HEADERS,
        "content-security-policy": _POLICY.format(digest=digest, forms=forms),
        "referrer-policy": "same-origin",  # with none, a browser says of our own forms that they come from nowhere
    }
    return Response(_PAGE.format(title=escape(title), style=_STYLE, body=body), status, headers, "text/html")


def fault(error: errors.SluiceError, title: str) -> Response:
    """What went wrong, and what helps."""
    told = f"<p>{escape(error.message)}</p>" + (f"<p>{escape(error.hint)}</p>" if error.hint else "")
    return page(title, f'{told}<p><a href="/console/">To the console</a></p>', problems.STATUS[error.code])
