"""The one place where HTTP clients are made: without cookies, without redirects, without what the environment says.

A jar would hand a receiver what it had set in an earlier request: of another tenant, or of another run.
"""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx


def open_client(*, trust_env: bool = False, **options: Any) -> httpx.AsyncClient:
    """A client with the options of `httpx.AsyncClient`; whoever opens it closes it.

    It keeps and sends no cookie and follows no redirect. `trust_env` is for the commands of a user alone, who says with
    variables by which proxy a remote engine is reached: with it proxies, .netrc and certificates of the environment
    count.
    """
    nothing = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx.AsyncClient(cookies=nothing, trust_env=trust_env, follow_redirects=False, **options)
