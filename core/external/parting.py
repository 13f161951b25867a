"""Has a NATS server that asks this engine (core.external.callout) end the connections of who was shut out.

Who is connected is asked of the servers and not remembered, so that an engine that was started since, or had ended
before a server answered, cuts off the same ones. Asked as a user of the server's own account (NATS: System Account,
CONNZ and KICK).
"""

from __future__ import annotations

import asyncio
from typing import Annotated, NamedTuple

import orjson
import structlog
from pydantic import BaseModel, Field, ValidationError

from core import errors
from core.external import accounts, assertion, nats
from core.external.accounts import Accounts
from core.external.enrolment import Enrolment

log = structlog.get_logger("core.external")

CONNECTIONS = "$SYS.REQ.SERVER.PING.CONNZ"  # each server of a cluster answers
KICK = "$SYS.REQ.SERVER.{}.KICK"
PAGE = 1024  # connections in one answer, which is what a server gives at most
ANSWER_SECONDS = 2.0
PART_SECONDS = 10.0  # in which who is shut out may ask why, also on a busy machine, before its connections end
RETRY_SECONDS = 2.0


class Connection(NamedTuple):
    """A client of a NATS server, as that calls it."""

    who: str
    """The id of the credential or token by which it was let in."""
    server: str
    client: int


class _Client(BaseModel):
    cid: int
    authorized_user: str = ""


class _Page(BaseModel):
    server_id: str
    total: Annotated[int, Field(ge=0)] = 0
    connections: list[_Client] = []


class _Answer(BaseModel):
    data: _Page


class Parting:
    """Of one engine with one server or cluster."""

    def __init__(self, url: str, name: str, keys: Accounts, enrolment: Enrolment) -> None:
        """`name`: of the connections that this makes."""
        self._url = url
        self._name = name
        self._keys = keys
        self._enrolment = enrolment
        self._wanted = asyncio.Event()
        self._pause_seconds = 0.0
        self._fails = ""  # what was said of it

    def want(self, pause_seconds: float = 0.0) -> None:
        """Somebody was shut out, or may have been while nobody looked; look in so many seconds."""
        self._pause_seconds = pause_seconds
        self._wanted.set()

    async def keep(self) -> None:
        """Look when that is wanted, until all servers that answer have ended what they had."""
        await self._wanted.wait()
        await asyncio.sleep(self._pause_seconds)
        self._wanted.clear()
        try:
            ended = await self._end()
        except errors.TargetUnavailable as error:
            if not self._fails:
                log.warning("nats_connections_stay", error=error.message)
            self._fails = error.message
            self.want(RETRY_SECONDS)
            return
        self._fails = ""
        for who, count in ended.items():
            log.warning("nats_connections_ended", credential=who, connections=count)

    async def _end(self) -> dict[str, int]:
        """How many connections were ended, by credential. Raises TargetUnavailable when that is not known of one."""
        wire = await nats.connect(self._url, self._name, nkeys_seed_str=bytes(self._keys.system.seed).decode())
        ended = dict[str, int]()
        try:
            found = [one for one in await _connected(wire) if one.who.startswith(assertion.CREDENTIAL)]
            stay = await self._enrolment.standing({one.who for one in found})
            for one in found:
                if one.who not in stay:
                    asked = KICK.format(one.server), orjson.dumps({"cid": one.client})
                    if await wire.ask(*asked, ANSWER_SECONDS) is None:
                        raise errors.TargetUnavailable("A NATS server does not say whether it has ended a connection.")
                    ended[one.who] = ended.get(one.who, 0) + 1
        finally:
            await wire.close()
        return ended


async def _connected(wire: nats.Wire) -> list[Connection]:
    """The connections of the account in which workers are. Raises TargetUnavailable when no server answers."""
    found, offset, total = list[Connection](), 0, 1
    while offset < total:
        asked = {"acc": accounts.ACCOUNT, "auth": True, "limit": PAGE, "offset": offset}
        pages = [_page(said) for said in await wire.ask_all(CONNECTIONS, orjson.dumps(asked), ANSWER_SECONDS)]
        if not pages:
            raise errors.TargetUnavailable("No NATS server says who is connected.")
        found += [
            Connection(one.authorized_user, page.server_id, one.cid) for page in pages for one in page.connections
        ]
        if not any(page.connections for page in pages):
            break
        total, offset = max(page.total for page in pages), offset + PAGE
    return found


def _page(said: bytes) -> _Page:
    """Raises TargetUnavailable."""
    try:
        return _Answer.model_validate_json(said).data
    except ValidationError as error:
        raise errors.TargetUnavailable("A NATS server says in an unknown form who is connected.") from error
