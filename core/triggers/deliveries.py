"""Posts the updates that are owed to callbacks, beside everything else: nothing that runs a trigger waits for it.

What is owed is in the store before anybody is told of the state it tells of; here is only the order of the tries. A
receiver (an address of a tenant) has its own queue and few lanes, and one only until it has accepted something, so
that one that hangs takes little from others. The receivers of one site (scheme, host, port) share its connections and
a bound. A try that the owner did not live to write down is made again, under the same event id.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import heapq
import secrets
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from core import clock, errors
from core.contexts.envelopes import Envelopes
from core.contexts.secrets import Vault
from core.model import invocation
from core.model.invocation import Invocation
from core.model.secret import Reference
from core.store import callbacks as table
from core.store.audit import AuditRow
from core.store.database import Database
from core.triggers import callbacks, signing

if TYPE_CHECKING:
    from core.triggers import posting

log = structlog.get_logger("core.triggers")

LANES = 4  # requests to one receiver at once
SITE_LANES = 64  # requests to one site at once, whatever the addresses
TENANT_LANES = 128  # requests of one tenant at once
ALL_LANES = 256
LOOKED_AT = 64  # parked receivers that a free lane is offered to
LONGEST_PAUSE_SECONDS = 3600  # that a receiver may ask for
STORE_PAUSE_SECONDS = 1.0  # while the store cannot be used
MOST_PENDING = 10_000  # deliveries that one site may be owed; further ones are dead letters at once

SIGNING = (Reference("callback", "signing-secret"), Reference("callback", "signing-secret-previous"))
"""The secrets that sign, if they are set: the present one, and the one before while receivers change over."""

Key = tuple[str, str]  # (tenant, receiver or site)


@dataclass(slots=True, eq=False)
class _Site:
    """A scheme, host and port."""

    key: Key
    receivers: int = 0
    owed: int = 0  # deliveries that wait for their time or a lane
    active: int = 0
    client: posting.Client | None = None


@dataclass(slots=True, eq=False)
class _Receiver:
    key: Key
    site: _Site
    owed: list[tuple[float, int]] = field(default_factory=list)  # heap of (monotonic time when due, delivery id)
    active: int = 0
    proven: bool = False  # its last answer was an acceptance
    parked: bool = False  # waits for a lane that others have
    timer: asyncio.TimerHandle | None = None


class Deliveries:
    """The deliveries of one engine. Use from its loop."""

    def __init__(self, database: Database, vault: Vault, allow: Iterable[str]) -> None:
        self._database = database
        self._vault = vault
        self._envelopes = Envelopes(vault, "callbacks")
        self._allow = tuple(allow)
        self._receivers: dict[Key, _Receiver] = {}
        self._sites: dict[Key, _Site] = {}
        self._salt = secrets.token_bytes(16)
        self._parked: deque[_Receiver] = deque()
        self._active: Counter[str] = Counter()  # by tenant
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    # -- what is asked for ---------------------------------------------------------------------------------

    def check(self, wish: callbacks.Callback, tenant: str) -> callbacks.Target:
        """The target of a callback that a caller asks for. Raises InvalidParams with every fault."""
        target: callbacks.Target = _posting().check(wish, self._allow)
        self._keys(tenant)
        # Two addresses of a site are two receivers. The mark tells nothing of the address, not even to who has the
        # store: its salt dies with this owner, after which an address may for a while be two receivers.
        mark = hashlib.blake2b(target.url.encode(), digest_size=8, key=self._salt).hexdigest()
        return dataclasses.replace(target, receiver=invocation.receiver(target.receiver, mark))

    async def seal(self, target: callbacks.Target, tenant: str, audit_id: int) -> bytes:
        """The target as it is kept. Raises SecretsLocked, StorageUnavailable."""
        return await self._envelopes.seal(target.to_text(), tenant, audit_id)

    def update(self, id: int, run: Invocation, state: str, result: str, at_ns: int) -> table.DeliveryRow:
        """The delivery that tells of a state of an invocation with a callback, to be written with that state.

        A site that is owed too much already gets no more by itself: the delivery is a dead letter from the start.
        """
        made = callbacks.update(id, run, state, result, at_ns)
        found = self._sites.get((made.tenant, invocation.site(made.receiver)))
        if found is None or found.owed < MOST_PENDING:
            return made
        entry = {"at_ns": at_ns, "reason": f"the site was owed {MOST_PENDING} deliveries already"}
        return made._replace(outcome=table.DEAD, finished_at_ns=at_ns, log=orjson.dumps([entry]).decode())

    def added(self, row: table.DeliveryRow) -> None:
        """A delivery is committed: it is tried as soon as a lane is free."""
        if row.outcome == table.PENDING:
            self._owe(row.tenant, row.receiver, row.id, clock.monotonic())

    # -- life ----------------------------------------------------------------------------------------------

    async def start(self) -> int:
        """Take up what an earlier owner owed; returns how much that is."""
        now_ns, now = clock.now_ns(), clock.monotonic()
        latest = now_ns + LONGEST_PAUSE_SECONDS * clock.NANOSECONDS
        owed = await self._database.write(table.resume, latest)
        for id, tenant, receiver, due_at_ns in owed:
            self._owe(tenant, receiver, id, now + max(0.0, (due_at_ns - now_ns) / clock.NANOSECONDS))
        return len(owed)

    async def close(self) -> None:
        """Stop; what is under way is cut off and owed still."""
        self._closed = True
        for receiver in self._receivers.values():
            if receiver.timer is not None:
                receiver.timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._closing, return_exceptions=True)
        for site in self._sites.values():
            if site.client is not None:
                await site.client.aclose()

    # -- who is next ---------------------------------------------------------------------------------------

    def _owe(self, tenant: str, receiver: str, id: int, due: float) -> None:
        key = (tenant, receiver)
        found = self._receivers.get(key)
        if found is None:
            place = (tenant, invocation.site(receiver))
            site = self._sites.get(place)
            if site is None:
                site = self._sites[place] = _Site(place)
            site.receivers += 1
            found = self._receivers[key] = _Receiver(key, site)
        self._push(found, due, id)
        self._pump(found)

    def _push(self, receiver: _Receiver, due: float, id: int) -> None:
        heapq.heappush(receiver.owed, (due, id))
        receiver.site.owed += 1

    def _pump(self, receiver: _Receiver) -> None:
        """Start what is due, as far as there are lanes; come back when the next one is."""
        if receiver.timer is not None:
            receiver.timer.cancel()
            receiver.timer = None
        if self._closed:
            return
        lanes = LANES if receiver.proven else 1
        while receiver.owed and receiver.active < lanes:
            wait = receiver.owed[0][0] - clock.monotonic()
            if wait > 0:
                receiver.timer = asyncio.get_running_loop().call_later(wait, self._pump, receiver)
                return
            if (
                receiver.site.active >= SITE_LANES
                or self._active[receiver.key[0]] >= TENANT_LANES
                or len(self._tasks) >= ALL_LANES
            ):
                if not receiver.parked:
                    receiver.parked = True
                    self._parked.append(receiver)
                return
            _, id = heapq.heappop(receiver.owed)
            receiver.site.owed -= 1
            receiver.site.active += 1
            receiver.active += 1
            self._active[receiver.key[0]] += 1
            task = asyncio.create_task(self._try(receiver, id))
            self._tasks.add(task)
            task.add_done_callback(lambda task, receiver=receiver, id=id: self._ended(receiver, id, task))  # type: ignore[misc]

    def _ended(self, receiver: _Receiver, id: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:  # a fault of ours: it is still owed
            log.error("delivery_failed", receiver=receiver.site.key[1], delivery=id, error=repr(error))
            self._push(receiver, clock.monotonic() + STORE_PAUSE_SECONDS, id)
        receiver.active -= 1
        receiver.site.active -= 1
        self._active[receiver.key[0]] -= 1
        self._pump(receiver)
        for _ in range(min(len(self._parked), LOOKED_AT)):
            parked = self._parked.popleft()
            parked.parked = False
            self._pump(parked)
        if not receiver.owed and not receiver.active and not self._closed:
            del self._receivers[receiver.key]
            self._left(receiver.site)

    def _left(self, site: _Site) -> None:
        """A receiver is owed nothing any more; with the last one of its site go the connections."""
        site.receivers -= 1
        if site.receivers:
            return
        del self._sites[site.key]
        if site.client is not None:
            closing = asyncio.create_task(site.client.aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    # -- one try -------------------------------------------------------------------------------------------

    async def _try(self, receiver: _Receiver, id: int) -> None:
        try:
            found = await self._database.read(table.to_send, id)
        except (errors.Busy, errors.StorageUnavailable):
            self._push(receiver, clock.monotonic() + STORE_PAUSE_SECONDS, id)
            return
        if found is None:
            return  # its invocation is kept no longer
        tenant, tries, body, sealed = found
        started, started_ns = clock.monotonic(), clock.now_ns()
        posting = _posting()
        try:
            url, headers = self._target(sealed, tenant)
            keys, seconds = self._keys(tenant), started_ns // clock.NANOSECONDS
            headers |= signing.headers(keys, callbacks.event_id(id), seconds, body)
            if receiver.site.client is None:
                receiver.site.client = posting.Client(self._allow, SITE_LANES)
            answer = await receiver.site.client.post(url, headers, body)
        except errors.SecretsLocked as error:
            answer = posting.Answer(fault=error.message, hopeless=True)
        except errors.InvalidParams as error:  # the signing secret is none any more; an admin can mend it
            answer = posting.Answer(fault=error.message)
        except Exception:  # a boundary: whatever it was, the delivery must not be forgotten
            log.exception("callback_failed", receiver=receiver.site.key[1], delivery=id)
            answer = posting.Answer(fault="something failed inside Sluice; its log says what")
        verdict = posting.judge(tries + 1, answer)
        receiver.proven = verdict.outcome == table.DELIVERED
        entry: dict[str, Any] = {"at_ns": started_ns, "seconds": round(clock.monotonic() - started, 3)}
        entry |= {key: value for key, value in (("status", answer.status), ("reason", verdict.reason)) if value}
        if verdict.outcome == table.DEAD:
            log.warning("callback_dead", receiver=receiver.site.key[1], delivery=id, reason=verdict.reason)
        await self._write_down(receiver, id, verdict, entry)

    async def _write_down(self, receiver: _Receiver, id: int, verdict: posting.Verdict, entry: dict[str, Any]) -> None:
        now_ns = clock.now_ns()
        due_ns = now_ns + int(verdict.pause_seconds * clock.NANOSECONDS)
        text = orjson.dumps(entry).decode()
        while True:
            try:
                await self._database.write(table.tried, id, verdict.outcome, now_ns, due_ns, text)
                break
            except errors.StorageUnavailable:
                await asyncio.sleep(STORE_PAUSE_SECONDS)
        if verdict.outcome == table.PENDING:
            self._push(receiver, clock.monotonic() + verdict.pause_seconds, id)

    def _target(self, sealed: bytes | None, tenant: str) -> tuple[str, dict[str, str]]:
        if sealed is None:
            raise errors.SecretsLocked("Where to post it is not kept any longer.")
        url, headers = orjson.loads(self._envelopes.open(sealed, tenant))
        return url, {**headers, "content-type": "application/json"}

    def _keys(self, tenant: str) -> list[bytes]:
        """The keys that sign for a tenant. Raises InvalidParams when one is no signing secret."""
        values = self._vault.values(tenant, SIGNING)
        keys = []
        for who in SIGNING:
            if who.secret not in values:
                continue
            try:
                keys.append(signing.key(values[who.secret]))
            except ValueError as error:
                raise errors.InvalidParams(
                    f"The secret {who.secret} of tenant {tenant} cannot sign callbacks: it {error}.",
                    hint="An admin sets it anew with secret_set, or deletes it to send callbacks unsigned.",
                ) from error
        return keys

    async def redeliver(self, tenant: str, receiver: str, id: int, audit_row: AuditRow) -> bool:
        """Owe an ended delivery once more; false when it has not ended."""
        changed = await self._database.write(table.again, id, clock.now_ns(), audit_row)
        if changed:
            self._owe(tenant, receiver, id, clock.monotonic())
        return changed


def _posting() -> ModuleType:
    from core.triggers import posting  # not before there is a callback: see there

    return posting
