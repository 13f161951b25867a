"""What the http-poll input and the http-post output have in common: the request as a document writes it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Self

from pydantic import model_validator

from core import clock
from core.dsl import egress, expand
from core.dsl.component import Config, Env, Event, Run
from core.dsl.retry import Temporary
from core.errors import Forbidden, JobFailed, shorten

Texts = Callable[[Event, Run], dict[str, str]]
LONGEST_RETRY_AFTER_SECONDS = 3600.0


class Basic(Config):
    """HTTP basic authentication."""

    username: expand.Text
    """The user name."""
    password: expand.Text
    """The password; give it as `${secret|…}` or `${dyn|…}`, not as text."""


class Bearer(Config):
    """A bearer token."""

    token: expand.Text
    """The token; give it as `${secret|…}` or `${dyn|…}`, not as text."""


class Auth(Config):
    """How to authenticate: exactly one of basic and bearer."""

    basic: Basic | None = None
    """User name and password."""
    bearer: Bearer | None = None
    """A token."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.basic is None) == (self.bearer is None):
            raise ValueError("auth has exactly one of basic and bearer")
        return self


def texts(values: Mapping[str, str], env: Env) -> Texts:
    """A map whose values are templates, compiled."""
    fills = {name: expand.template(value, env) for name, value in values.items()}
    return lambda event, run: {name: fill(event, run) for name, fill in fills.items()}


def headers(values: Mapping[str, str], auth: Auth | None, env: Env) -> Texts:
    """The headers of a request with its authorization."""
    plain = texts(values, env)
    if auth is None:
        return plain
    if auth.bearer is not None:
        token = expand.template(auth.bearer.token, env)
        return lambda event, run: {**plain(event, run), "authorization": f"Bearer {token(event, run)}"}
    assert auth.basic is not None
    user, password = expand.template(auth.basic.username, env), expand.template(auth.basic.password, env)

    def with_basic(event: Event, run: Run) -> dict[str, str]:
        pair = f"{user(event, run)}:{password(event, run)}".encode()
        return {**plain(event, run), "authorization": f"Basic {base64.b64encode(pair).decode()}"}

    return with_basic


def check_static_url(url: str) -> str:
    """Validate what can be known of an address before it is filled in.

    Raises ValueError when it can never be allowed.
    """
    if expand.parse(url) == [url] and "{{" not in url:
        try:
            egress.check_url(url)
        except Forbidden as error:
            raise ValueError(error.message) from error
    return url


def judge(reply: egress.Reply, url: str) -> None:
    """Raise for a status that is not a success.

    Temporary for 408, 429 and 5xx (with the pause the other side asks for), JobFailed for the others; redirects are
    not followed and so are no success.
    """
    if 200 <= reply.status < 300:
        return
    where = shorten(url.split("?")[0], 120)
    if reply.status in (408, 429) or reply.status >= 500:
        raise Temporary(f"{where} answered {reply.status}", after_seconds=_retry_after(reply))
    if 300 <= reply.status < 400:
        target = shorten(reply.header("location"), 120)
        raise JobFailed(f"{where} redirects to {target} and redirects are not followed", hint="use the final address")
    raise JobFailed(f"{where} answered {reply.status}: {shorten(reply.body.decode(errors='replace'), 120)}")


def _retry_after(reply: egress.Reply) -> float:
    value = reply.header("retry-after").strip()
    seconds = float(value) if value.isdigit() and len(value) < 12 else 0.0  # dates are treated as absent
    return min(seconds, LONGEST_RETRY_AFTER_SECONDS)


async def send(
    client: egress.Egress,
    method: str,
    url: str,
    *,
    headers: dict[str, str],
    content: bytes | None,
    deadline_seconds: float,
    params: dict[str, str] | None = None,
) -> egress.Reply:
    """One try; a connection that fails is Temporary, an address that is not allowed is not."""
    started = clock.monotonic()
    try:
        return await client.request(
            method, url, headers=headers, params=params, content=content, deadline_seconds=deadline_seconds
        )
    except egress.Unreachable as error:
        raise Temporary(f"{error.message} (after {clock.monotonic() - started:.1f} s)", hint=error.hint) from error
