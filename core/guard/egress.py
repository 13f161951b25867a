"""Outgoing HTTP of jobs, callbacks and portals: guarded connections (core.guard.dialing), deadlines, bounded bodies."""

from __future__ import annotations

import asyncio
import re
import ssl
import zlib
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import httpx

from core import clock, httpclient
from core.errors import Forbidden, JobFailed, shorten
from core.guard.addresses import allowed_networks, check_url
from core.guard.dialing import CONNECT_SECONDS, MOST_CONNECTIONS, GuardedTransport, Unreachable, client_context

MOST_HEADER_CHARACTERS = 8192
MOST_RESPONSE_BYTES = 32 * 1024 * 1024
LONGEST_RETRY_AFTER_SECONDS = 3600.0


class Reply(NamedTuple):
    """An answer, complete and in memory."""

    status: int
    headers: list[tuple[str, str]]  # names in lower case, in the order of the answer
    body: bytes
    truncated: bool  # the body was longer than `max_bytes` and `cut` was set

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class Egress:
    """An HTTP client for jobs, callbacks and portals: guarded addresses, no redirects, proxies or cookies, deadlines,
    bounded bodies. `tls` is for those who trust other certificates than the system does."""

    def __init__(
        self,
        allow: Iterable[str] = (),
        *,
        insecure: bool = False,
        tls: ssl.SSLContext | None = None,
        connections: int = MOST_CONNECTIONS,
    ) -> None:
        self._client = httpclient.open_client(
            transport=GuardedTransport(allowed_networks(allow), tls or client_context(insecure), connections),
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        deadline_seconds: float = 30.0,
        max_bytes: int = MOST_RESPONSE_BYTES,
        cut: bool = False,
        inflate: bool = False,
        without_body: bool = False,
    ) -> Reply:
        """Send one request and read its answer, all within `deadline_seconds`.

        A longer body than `max_bytes` is cut off when `cut` is set. A body that is compressed although that was not
        asked for is refused, or unpacked with `inflate` (gzip only, up to `max_bytes`). Raises Forbidden when the
        address or a header is not allowed, Unreachable when there is no complete answer, JobFailed when it cannot be
        used. The status is not judged here; redirects are answers. With `without_body` the answer is complete when its
        headers are there, whatever comes behind them.
        """
        target = check_url(url)
        if params:
            target = target.copy_merge_params(dict(params))
        check_headers(headers or {})
        given = {name: value.strip(" \t") for name, value in (headers or {}).items()}
        sent = {"accept-encoding": "identity", "user-agent": "sluice", **given}
        where = f"{target.scheme}://{shorten(target.netloc.decode('ascii'), 100)}"
        try:
            async with (
                asyncio.timeout(deadline_seconds),
                self._client.stream(method, target, headers=sent, content=content) as answer,
            ):
                pairs = [(key.decode("latin-1").lower(), value.decode("latin-1")) for key, value in answer.headers.raw]
                if without_body:
                    return Reply(answer.status_code, pairs, b"", False)
                encoding = answer.headers.get("content-encoding", "identity").strip().lower()
                zipped = inflate and encoding in ("gzip", "x-gzip")
                if encoding != "identity" and not zipped:
                    raise JobFailed(f"{where} sent a compressed answer although none was asked for")
                body = bytearray()
                async for part in answer.aiter_raw():
                    body += part
                    if len(body) > max_bytes:
                        if not cut:
                            raise JobFailed(f"the answer of {where} is longer than {max_bytes} bytes")
                        break
                data = _unzip(bytes(body), max_bytes, where) if zipped else bytes(body[:max_bytes])
                return Reply(answer.status_code, pairs, data, len(body) > max_bytes)
        except TimeoutError as error:
            raise Unreachable(f"no complete answer of {where} within {deadline_seconds:g} s") from error
        except httpx.LocalProtocolError as error:  # its text may hold the value of a header
            raise JobFailed(f"the request to {where} is not valid HTTP") from error
        except httpx.InvalidURL as error:  # httpx reads the Location of a redirect although it does not follow it
            raise JobFailed(f"{where} answered with a redirect to what is no address") from error
        except httpx.TransportError as error:
            raise Unreachable(
                f"cannot reach {where}: {shorten(str(error) or type(error).__name__, 120)}",
                undone=isinstance(error, httpx.ConnectError | httpx.ConnectTimeout),
            ) from error

    async def aclose(self) -> None:
        await self._client.aclose()


def _unzip(data: bytes, max_bytes: int, where: str) -> bytes:
    """One gzip member. Raises Unreachable when it is cut off, JobFailed when it is broken or too large unpacked."""
    if not data:  # the answer to HEAD, or one without a body
        return data
    member = zlib.decompressobj(wbits=31)
    try:
        out = member.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise JobFailed(f"the answer of {where} is not valid gzip: {error}") from error
    if len(out) > max_bytes:
        raise JobFailed(f"the answer of {where} is longer than {max_bytes} bytes when it is unpacked")
    if not member.eof:
        raise Unreachable(f"the gzip answer of {where} is cut off")
    return out


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises Forbidden for a header that could end early or change the message: line breaks, NUL, framing headers."""
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", name):
            raise Forbidden(f"{shorten(name, 60)} is not a header name")
        if name.lower() in ("host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"):
            raise Forbidden(f"the header {name} is set by the client itself")
        if re.search(r"[\0-\x08\x0a-\x1f\x7f]", value) or len(value) > MOST_HEADER_CHARACTERS:
            raise Forbidden(f"the value of the header {name} has a line break or control character, or is too long")
        if not value.isascii():  # what those outside mean is written down nowhere (RFC 9110, 5.5)
            hint = "Send it in the body, or percent-encoded."
            raise Forbidden(f"the value of the header {name} has a character outside of ASCII", hint=hint)


def retry_after(value: str) -> float:
    """The pause in seconds that a Retry-After header asks for, at most an hour; 0 for what cannot be read."""
    value = value.strip()
    if value.isascii() and value.isdigit() and len(value) < 12:
        seconds = float(value)
    else:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - clock.now_ns() / clock.NANOSECONDS
        except (ValueError, OverflowError):
            seconds = 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)
