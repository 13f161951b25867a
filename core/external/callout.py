"""Whom a NATS server lets in that knows this engine (core.external.accounts): it asks here about everybody who
connects, and each worker gets subjects of its own and nothing else.

Asked and answered on a subject of the server, in tokens (JWT) that name the user by a key that the server has made for
the connection (NATS: Auth Callout, ADR-26). Who may join is decided later, by the handshake on the line
(core.external.gateway); this keeps those who may not from the lines of others, and from the server.
"""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import orjson
import structlog
from pydantic import BaseModel, Field, ValidationError

from core import clock, errors
from core.external import accounts, assertion
from core.external.accounts import Accounts
from core.external.assertion import Assertion
from core.external.enrolment import Enrolment

log = structlog.get_logger("core.external")

SUBJECT = "$SYS.REQ.USER.AUTH"
MOST_NONCES = 65_536  # that are remembered: what is older than so many connections holds again
MOST_HOSTS = 4096
MOST_BYTES = 64 * 1024
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}

Text = Annotated[str, Field(max_length=256)]


class _Client(BaseModel):
    host: Text = ""


class _Server(BaseModel):
    id: Text


class _Options(BaseModel):
    auth_token: Annotated[str, Field(max_length=1024)] = ""


class _Asked(BaseModel):
    server_id: _Server
    user_nkey: Text
    client_info: _Client = _Client()
    connect_opts: _Options = _Options()


class _Request(BaseModel):
    nats: _Asked


class Rights(NamedTuple):
    """What a user may: on which subjects it speaks and hears."""

    speaks: Sequence[str]
    hears: Sequence[str]


def rights(engine: str, space: str) -> Rights:
    """Of who has a space on the server of the engine with this name (core.external.broker)."""
    own = f"sluice.{engine}.{space}"
    return Rights(
        [f"sluice.{engine}.meet.{space}", f"{own}.*.engine"], [f"{own}.*.worker", f"{assertion.inbox(space)}.>"]
    )


class Callout:
    """Of one engine. `refused` hears of each that is not let in: (code, who, address)."""

    def __init__(
        self,
        keys: Accounts,
        engine: str,
        enrolment: Enrolment,
        refused: Callable[[errors.SluiceError, str, str], None],
        *,
        lasts_seconds: int | None = None,
    ) -> None:
        """`engine`: its name in subjects. `lasts_seconds`: for how long a user is let in; None: until it is ended, so
        that no worker loses its session for nothing."""
        self._keys = keys
        self._engine = engine
        self._enrolment = enrolment
        self._refused = refused
        self._lasts_seconds = lasts_seconds
        self._nonces: OrderedDict[str, None] = OrderedDict()
        self._hosts: OrderedDict[str, str] = OrderedDict()  # by space

    async def answer(self, data: bytes) -> bytes | None:
        """The answer to what a server asks; None for what is no question."""
        asked = _read(data)
        if asked is None:
            return None
        said = assertion.read(asked.connect_opts.auth_token)
        try:
            await self._judge(said)
        except errors.SluiceError as error:
            self._refused(error, "" if said is None else said.who, asked.client_info.host)
            return self._response(asked, error=errors.shorten(error.message, 200))
        assert said is not None
        self._hosts[said.space] = asked.client_info.host
        if len(self._hosts) > MOST_HOSTS:
            self._hosts.popitem(last=False)
        return self._response(asked, jwt=self._user(asked.user_nkey, said))

    async def _judge(self, said: Assertion | None) -> None:
        """Raises Unauthenticated, Forbidden, and what the store raises."""
        if said is None or said.engine != self._engine:
            raise errors.Unauthenticated("No worker of this engine.")
        if said.nonce in self._nonces:
            raise errors.Unauthenticated("What this worker says was said before.")
        self._nonces[said.nonce] = None
        if len(self._nonces) > MOST_NONCES:
            self._nonces.popitem(last=False)
        await self._enrolment.prove(said)

    def host(self, space: str) -> str:
        """From where who has a space has connected, as its server says; empty when it is not known."""
        return self._hosts.get(space, "")

    def _user(self, key: str, said: Assertion) -> str:
        may = rights(self._engine, said.space)
        user: dict[str, Any] = {
            "pub": {"allow": may.speaks},
            "sub": {"allow": may.hears},
            "subs": -1,
            "data": -1,
            "payload": -1,
            "type": "user",
            "version": 2,
        }
        ends = {} if self._lasts_seconds is None else {"exp": _now() + self._lasts_seconds}
        return self._signed({"sub": key, "aud": accounts.ACCOUNT, "name": said.who, **ends, "nats": user})

    def _response(self, asked: _Asked, **what: str) -> bytes:
        told = {**what, "type": "authorization_response", "version": 2}
        return self._signed({"sub": asked.user_nkey, "aud": asked.server_id.id, "nats": told}).encode()

    def _signed(self, claims: dict[str, Any]) -> str:
        issuer = accounts.public(self._keys.issuer)
        claims = {**claims, "iss": issuer, "iat": _now(), "jti": hashlib.sha256(orjson.dumps(claims)).hexdigest()}
        text = f"{_encoded(orjson.dumps(_HEADER))}.{_encoded(orjson.dumps(claims))}"
        return f"{text}.{_encoded(self._keys.issuer.sign(text.encode()))}"


def _read(data: bytes) -> _Asked | None:
    parts = data.split(b".")
    if len(data) > MOST_BYTES or len(parts) != 3:
        return None
    try:
        claims = base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4))
        return _Request.model_validate_json(claims).nats
    except (ValueError, ValidationError):
        return None


def _now() -> int:
    return clock.now_ns() // clock.NANOSECONDS


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
