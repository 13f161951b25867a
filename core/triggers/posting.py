"""The side of callbacks that speaks HTTP: whom they may reach, one request, and what follows from its answer.

Imported when the first callback is asked for: an HTTP client takes 60 ms to import, and most engines need none.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from core import errors, pointers
from core.errors import Problem, shorten
from core.guard import addresses, dialing, egress
from core.store import callbacks as table
from core.triggers.callbacks import Callback, Target

MOST_TRIES = 5
PAUSES_SECONDS = (2.0, 10.0, 60.0, 300.0)  # before the second, third, fourth and fifth try
LEAST_RETRY_AFTER_SECONDS = 1.0
DEADLINE_SECONDS = 10.0  # of one request, from the name to the headers of the answer
RETRYABLE = frozenset({408, 429})
# Ours, or about one connection and not the message; and what would let a caller sign in our name.
OWN_HEADERS = frozenset(
    "content-type keep-alive proxy-authenticate proxy-authorization proxy-connection expect webhook-id"
    " webhook-timestamp webhook-signature".split()
)


def check(wish: Callback, allow: Iterable[str]) -> Target:
    """The target of a callback. Raises InvalidParams with every fault; the values of headers are never told."""
    problems, parsed = [], None
    try:
        parsed = addresses.check_target(wish.url, allow)
    except errors.Forbidden as error:
        problems.append(Problem("/callback/url", error.message))
    for name, value in wish.headers.items():
        pointer = "/callback/headers" + pointers.join([shorten(name, 60)])
        try:
            egress.check_headers({name: value})
        except errors.Forbidden as error:
            problems.append(Problem(pointer, error.message))
            continue
        if not value.isascii():
            problems.append(Problem(pointer, f"the value of the header {name} has characters that are not ASCII"))
        elif name.lower() in OWN_HEADERS:
            problems.append(Problem(pointer, f"the header {name} is set by Sluice itself"))
    if len({name.lower() for name in wish.headers}) < len(wish.headers):
        problems.append(Problem("/callback/headers", "two headers differ by their case only"))
    if problems or parsed is None:
        raise errors.InvalidParams("The callback is not valid.", hint="Nothing was run.", errors=problems)
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    port = parsed.port or {"http": 80, "https": 443}[parsed.scheme]
    return Target(wish.url, wish.headers, f"{parsed.scheme}://{host.rstrip('.')}:{port}".lower())


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request came to: a status, or a fault, which is `hopeless` when it would be there again."""

    status: int | None = None
    retry_after: str = ""
    fault: str = ""
    hopeless: bool = False


class Client:
    """Posts to one site, over at most so many `connections`."""

    def __init__(self, allow: Iterable[str], connections: int) -> None:
        self._http = egress.Egress(allow, connections=connections)

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """Send one request; every fault is an answer."""
        try:
            reply = await self._http.request(
                "POST", url, headers=headers, content=body, deadline_seconds=DEADLINE_SECONDS, without_body=True
            )
        except dialing.Unreachable as error:
            return Answer(fault=error.message)
        except (errors.Forbidden, errors.JobFailed) as error:
            return Answer(fault=error.message, hopeless=True)
        return Answer(reply.status, reply.header("retry-after"))

    async def aclose(self) -> None:
        await self._http.aclose()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from one try."""

    outcome: str  # pending, delivered or dead
    pause_seconds: float = 0.0  # until the next try, when it is pending
    reason: str = ""


def judge(tries: int, answer: Answer) -> Verdict:
    """Decide about a try, the `tries`-th of its delivery."""
    status = answer.status
    if status is not None and 200 <= status < 300:
        return Verdict(table.DELIVERED)
    reason = answer.fault if status is None else f"answered {status}"
    if status is not None and 300 <= status < 400:
        return Verdict(table.DEAD, reason=f"redirect: {status} is not followed")
    if answer.hopeless or (status is not None and status not in RETRYABLE and status < 500):
        return Verdict(table.DEAD, reason=reason)
    if tries >= MOST_TRIES:
        return Verdict(table.DEAD, reason=f"given up after {tries} tries: {reason}")
    pause = PAUSES_SECONDS[tries - 1] * random.uniform(0.8, 1.2)
    if status in (429, 503) and answer.retry_after:
        pause = max(pause, LEAST_RETRY_AFTER_SECONDS, egress.retry_after(answer.retry_after))
    return Verdict(table.PENDING, pause, reason)
