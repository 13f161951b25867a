"""AssumeRole of the AWS Security Token Service: an access key becomes the temporary credentials of a role."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from core import clock
from core.errors import JobFailed, shorten
from core.guard import addresses, egress

SESSION_SECONDS = 3600
_SERVICE = "sts"


def assumed_role(config: dict[str, Any], allow: Sequence[str]) -> Callable[[], Awaitable[dict[str, Any]]]:
    """A provider of the role's credentials, which it asks for anew when they run out.

    Takes the access key and the role out of `config`. The provider raises JobFailed when the role is refused.
    """
    key, secret = config.pop("access_key_id"), config.pop("secret_access_key")
    token, role = config.pop("session_token", ""), config.pop("role_arn")
    region = config.get("region", "us-east-1")
    url = config.get("endpoint") or f"https://sts.{region}.amazonaws.com"

    async def credentials() -> dict[str, Any]:
        form = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": role,
            "RoleSessionName": "sluice",
            "DurationSeconds": str(SESSION_SECONDS),
        }
        body = urlencode(form).encode()
        now = datetime.datetime.fromtimestamp(clock.now_ns() / clock.NANOSECONDS, datetime.UTC)
        headers = signed(url, body, key=key, secret=secret, token=token, region=region, now=now)
        client = egress.Egress(allow)
        try:
            reply = await client.request("POST", f"{url.rstrip('/')}/", headers=headers, content=body)
        finally:
            await client.aclose()
        text = reply.body.decode(errors="replace")
        if reply.status != 200:
            told = _element(text, "Message") or f"status {reply.status}"
            raise JobFailed(f"the role {shorten(role, 120)} cannot be taken on: {shorten(told, 120)}")
        return {
            "access_key_id": _element(text, "AccessKeyId"),
            "secret_access_key": _element(text, "SecretAccessKey"),
            "token": _element(text, "SessionToken"),
            "expires_at": datetime.datetime.fromisoformat(_element(text, "Expiration")),
        }

    return credentials


def signed(
    url: str, body: bytes, *, key: str, secret: str, token: str, region: str, now: datetime.datetime
) -> Mapping[str, str]:
    """The headers of a POST to the root of `url`, with its signature (AWS Signature Version 4)."""
    host = addresses.check_url(url).netloc.decode("ascii")
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"content-type": "application/x-www-form-urlencoded", "host": host, "x-amz-date": stamp}
    if token:
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{day}/{region}/{_SERVICE}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    derived = f"AWS4{secret}".encode()
    for part in (day, region, _SERVICE, "aws4_request"):
        derived = hmac.digest(derived, part.encode(), "sha256")
    signature = hmac.digest(derived, text.encode(), "sha256").hex()
    del headers["host"]  # the client sets it, to the same
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers


def _element(text: str, name: str) -> str:
    match = re.search(f"<{name}>([^<]*)</{name}>", text)
    return match[1] if match else ""
