"""`sluice login` and `sluice logout`: keep a short-lived token for a remote engine, so that commands need no key."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from core import clock, errors
from mcp_server import logins
from mcp_server.cli import connect, render

DEFAULT_TTL_SECONDS = 12 * 3600
MAX_KEY_BYTES = 4096


async def login(
    engine_url: str | None = None,
    /,
    *,
    api_key_file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Log in to a remote engine for this address and profile: in a browser, or with an API key, which is not kept.

    With a key a token is minted from it. Without one a code is shown, and whoever is signed in to the console of that
    engine lets it in.

    Parameters
    ----------
    engine_url
        The address of the engine; --url when left out.
    api_key_file
        The file that holds the API key; - reads it from standard input. Without it --api-key (SLUICE_API_KEY) counts,
        and without that one a browser.
    """
    from mcp_server import device, remote

    url = _address(engine_url, common)
    key = _key(api_key_file) if api_key_file is not None else common.api_key
    ttl = common.ttl or DEFAULT_TTL_SECONDS
    wanted = replace(common, url=url, jwt=None, api_key=key or None, ttl=ttl).target()
    assert wanted is not None
    made = await (remote.mint(wanted) if key else device.sign_in(wanted, _ask))
    expires = clock.from_datetime(datetime.fromisoformat(made["expires_at"]))
    path = logins.save(logins.Login(url, common.profile, made["access_token"], made["username"], expires))
    result = {
        "url": url,
        "profile": common.profile,
        "username": made["username"],
        "expires_at": made["expires_at"],
        "file": str(path),
    }
    render.json(result) if common.json else render.facts(result, tuple(result))
    return 0


async def logout(
    engine_url: str | None = None,
    /,
    *,
    all_: Annotated[bool, Parameter(name="--all", negative=())] = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Forget the login for an address and profile. Its token counts until it expires, or its key is revoked.

    Parameters
    ----------
    engine_url
        The address of the engine; --url when left out.
    all_
        Forget every login.
    """
    gone = logins.forget(None, None) if all_ else logins.forget(_address(engine_url, common), common.profile)
    if common.json:
        render.json({"forgotten": gone})
    else:
        render.text(f"Forgot {gone} login{'' if gone == 1 else 's'}." if gone else "There was no such login.")
    return 0


def _ask(url: str, code: str) -> None:
    connect.note(f"Open {url}")
    connect.note(f"and let in the program that shows {code}. It waits for five minutes.")


def _address(given: str | None, common: connect.Common) -> str:
    url = given or common.url
    if url is None:
        raise errors.InvalidParams("Which engine?", hint="Give its address, as in: sluice login https://host:3000")
    return logins.address(url)


def _key(path: str) -> str:
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(MAX_KEY_BYTES + 1)
        else:
            handle = os.open(Path(path), os.O_RDONLY | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                raw = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise errors.InvalidParams(f"--api-key-file {errors.shorten(path, 100)}: {error.strerror}.") from None
    key = raw.decode("ascii", "replace").strip()
    if not key or len(raw) > MAX_KEY_BYTES or not key.isascii() or len(key.split()) != 1:
        raise errors.InvalidParams(
            "What --api-key-file names does not hold one API key.", hint="It is the text that starts with sluice_."
        )
    return key
