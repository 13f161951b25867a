"""Signing in to a remote engine where there is no browser: a code is shown, and somebody lets this program in."""

from __future__ import annotations

import asyncio
import getpass
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson

from core import clock, errors
from mcp_server import remote
from mcp_server.http import admission
from mcp_server.remote import Target

MOST_SECONDS = 900.0  # whatever the engine says


async def sign_in(
    target: Target,
    ask: Callable[[str, str], None],
    *,
    now: Callable[[], float] = clock.monotonic,
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> dict[str, Any]:
    """{access_token, expires_at, username} once somebody has approved; `ask` is told the address to open, and the code.

    Raises Unauthenticated when nobody did in time, Forbidden when somebody refused it, Busy when the engine cannot be
    reached, NotFound for one that is too old for this.
    """
    async with remote.client_for(target) as client:
        name = f"sluice login of {getpass.getuser()} on {socket.gethostname()}"[:100]
        begun = await _post(client, admission.LOGIN_DEVICE, {"name": name})
        ask(f"{target.url.rstrip('/')}{begun['path']}", str(begun["user_code"]))
        ends, interval = now() + min(float(begun["expires_in"]), MOST_SECONDS), float(begun["interval"])
        while now() < ends:
            await pause(interval)
            try:
                found = await _post(client, admission.LOGIN_DEVICE_POLL, {"device_code": begun["device_code"]})
            except errors.Busy:
                continue  # it is asked again until the time is over
            if found["state"] == "done":
                return found
            if found["state"] == "slow_down":
                interval += float(begun["interval"])
    raise errors.Unauthenticated("Nobody has let this program in.", hint="Begin again: sluice login URL")


async def _post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = await client.post(path, content=orjson.dumps(body), headers={"content-type": "application/json"})
        said = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise errors.Busy(
            f"The engine cannot be reached: {errors.shorten(str(error) or type(error).__name__, 120)}.",
            hint="Compare the address; is `sluice serve` running there?",
        ) from error
    if not answer.is_success or not isinstance(said, dict):
        told = said if isinstance(said, dict) else {}
        raise errors.from_dict({**told, "message": told.get("detail", f"The engine answered {answer.status_code}.")})
    return said
