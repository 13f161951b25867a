"""The engine's side: meets whoever comes on a line, and ties each worker to the fleet as if it were a child process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import structlog
from pydantic import ValidationError

from core import clock, errors
from core.external import accounts, handshake, membership
from core.external.ends import Greeting
from core.external.enrolment import Enrolment
from core.external.identity import Identity, installation
from core.external.line import Line, LineBroken
from core.external.sealed import Records
from core.external.tunnel import Tunnel
from core.fleet.fleet import Fleet
from core.license import Feature
from core.licensing import Licensing
from core.model.principal import SYSTEM
from core.model.worker_group import External
from core.settings import Settings
from core.store import audit, external_workers
from core.store.database import Database

log = structlog.get_logger("core.external")

HELLO_SECONDS = 5.0
REPLACED_SECONDS = 5.0  # for the session before to end
MOST_SESSIONS = 1024
MOST_MEETINGS = 64  # that have proved nothing yet
MOST_MEETINGS_PER_ADDRESS = 4
MOST_INSTANCES = 16  # of a credential that are remembered
QUIET_SECONDS = 60.0  # between two lines of the log about the same refusal
MOST_LOGGED = 1024
NO_ADDRESS = ""  # of who comes over NATS


class Session:
    """One joined worker as the fleet knows the process of a worker."""

    pid = None

    def __init__(self, tunnel: Tunnel, running: asyncio.Task[str]) -> None:
        self._tunnel = tunnel
        self._running = running

    def terminate(self) -> None:
        self._tunnel.end("the engine has ended it")

    kill = terminate

    async def wait(self, seconds: float) -> int | None:
        done, _ = await asyncio.wait([self._running], timeout=seconds)
        return 0 if done else None

    def seen(self) -> None:
        """Its witness is on its own machine."""

    def close(self) -> None:
        """Whoever serves it ends its tunnel."""


@dataclass(slots=True, eq=False)
class _Live:
    """A session under its worker's name."""

    tunnel: Tunnel
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Gateway:
    """Lets workers of other machines in. Use from the engine's loop; whoever opens it closes it."""

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        database: Database,
        licensing: Licensing,
        ids: clock.Ids,
        enrolment: Enrolment,
        identity: Callable[[], Identity],
    ) -> None:
        self.identity = identity  # made when somebody first asks for it
        self.refused: Counter[str] = Counter()  # meetings that came to nothing, by code or reason
        self.parts: list[Callable[[str], None]] = []
        """Hear of each worker that is shut out."""
        self._settings = settings
        self._fleet = fleet
        self._database = database
        self._licensing = licensing
        self._ids = ids
        self._enrolment = enrolment
        self._sessions: dict[str, _Live] = {}  # by the name of the worker
        self._instances: dict[str, list[str]] = {}  # by credential: which programs have joined with it, in their order
        self._logged: dict[tuple[str, str, str], float] = {}  # which refusals, and when
        self._meetings: Counter[str] = Counter()  # by address
        self._serving: set[asyncio.Task[None]] = set()
        self._closing = False

    def nats_config(self, *, streams: bool) -> str:
        """What makes a NATS server ask this engine whom to let in. Raises TargetUnavailable, StorageUnavailable."""
        known = self.identity()
        return accounts.configuration(accounts.of(known), installation(known.fingerprint), streams=streams)

    # -- meeting -------------------------------------------------------------------------------------------

    async def meet(self, line: Line, address: str, share: str = "") -> None:
        """Hear what somebody wants on a line, and, if it is a worker that joins, work with it until it is gone.

        `share`: who may have so many lines that have proved nothing yet; when left out, the address. Closes the line.
        Whoever speaks another protocol, or says nothing for HELLO_SECONDS, is not answered.
        """
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                with self._meeting(share or address):
                    met = await handshake.meet(line, self.identity())
                    member = await self._answer(met, address)
            if member is not None:
                await self.carry(member, line, met.records())
        except TimeoutError:
            self.refused["silent"] += 1
        except LineBroken:
            self.refused["broken"] += 1
        except handshake.Foreign as fault:
            self.refused["foreign"] += 1
            log.info("no_worker", address=address, reason=str(fault))
        except errors.SluiceError as error:
            self.refuse(error, "", address)
            await line.close(error.message)
        finally:
            self._serving.discard(task)
            await line.close()

    def crowded(self, share: str) -> bool:
        """Whether nobody else may come, or nobody else of one share."""
        of_one = share != NO_ADDRESS and self._meetings[share] >= MOST_MEETINGS_PER_ADDRESS
        return of_one or self._meetings.total() >= MOST_MEETINGS

    @contextlib.contextmanager
    def _meeting(self, address: str) -> Iterator[None]:
        """Raises Busy when too many have come that proved nothing yet."""
        if self.crowded(address) or self._closing:
            from_one = f" from {address}" if self._meetings.total() < MOST_MEETINGS else ""
            raise errors.Busy(f"Too many{from_one} have connected here and not yet said who they are.")
        self._meetings[address] += 1
        try:
            yield
        finally:
            self._meetings[address] -= 1
            if not self._meetings[address]:
                del self._meetings[address]

    async def _answer(self, met: handshake.Meeting, address: str) -> External | None:
        """Answer what is asked; the worker that joins, if one does. Raises LineBroken."""
        member: External | None = None
        try:
            asked = membership.read(met.letter)
            if isinstance(asked, membership.Join):
                member, admitted = await self._join(asked, met.transcript)
                answer = admitted.model_dump(mode="json")
            elif isinstance(asked, membership.Enrol):
                answer = (await self._enrolment.enrol(asked, met.transcript, address)).model_dump(mode="json")
            else:
                answer = (await self._enrolment.rotate(asked, met.transcript)).model_dump(mode="json")
        except errors.SluiceError as error:
            self.refuse(error, str(met.letter.get("name") or met.letter.get("credential") or ""), address)
            answer = membership.refusal(error)
        await met.answer(answer)
        return member

    def refuse(self, error: errors.SluiceError, who: str, address: str) -> None:
        """Count a refusal, and log it unless the same was logged a moment ago: everybody who can connect is refused as
        often as he likes."""
        self.refused[error.code] += 1
        now, key = clock.monotonic(), (address, who[:64], error.code)
        if now - self._logged.get(key, -QUIET_SECONDS) < QUIET_SECONDS:
            return
        if len(self._logged) >= MOST_LOGGED:
            self._logged.clear()
        self._logged[key] = now
        reason = errors.shorten(error.message, 200)
        log.warning(
            "worker_refused",
            name=errors.shorten(who, 64),
            address=address,
            code=error.code,
            reason=reason,
            refused=self.refused[error.code],
        )

    async def _join(self, asked: membership.Join, transcript: bytes) -> tuple[External, membership.Admitted]:
        known = await self._enrolment.judge(asked, transcript)
        if self._returns(known.id, asked.instance):
            refusal = await self._enrolment.suspend(known)  # first: a worker whose session ends joins again at once
            await self.end(known.name, "its credential is used in two places")
            raise refusal
        grant = known.grant
        member = External(known.name, grant.group, min(asked.slots, grant.most_slots), grant)
        await self._replace(member.name)
        await self._enrolment.see_active(known)  # it may have been suspended or revoked meanwhile
        self.admit(member)
        return member, membership.Admitted(
            name=member.name,
            group=member.group,
            slots=member.slots,
            can=list(grant.can),
            heartbeat_seconds=self._settings.heartbeat_seconds,
            drain_seconds=self._settings.drain_seconds,
        )

    def _returns(self, credential: str, instance: str) -> bool:
        """Whether a program joins again after another one had joined with its credential: so both run, in two places.

        A program that was ended and started anew has another name each time, and those before it never come back.
        """
        seen = self._instances.setdefault(credential, [])
        if instance in seen[:-1]:
            del self._instances[credential]  # whoever approves it begins anew
            return True
        if seen[-1:] != [instance]:
            seen.append(instance)
            del seen[:-MOST_INSTANCES]
        return False

    async def _replace(self, name: str) -> None:
        """A worker that proves itself anew has lost its session before: that one is over."""
        live = self._sessions.get(name)
        if live is not None:
            live.tunnel.end("the worker has begun another session")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPLACED_SECONDS):
                    await live.ended.wait()

    def admit(self, member: External) -> None:
        """Raises NotLicensed, Forbidden (its group), Busy."""
        license = self._licensing.current
        license.require(Feature.EXTERNAL_WORKERS, "A worker on another machine")
        most = license.limits.workers
        if most is not None and len(self._fleet.workers.keys() | {member.name}) > most:
            raise errors.NotLicensed(
                f"The {license.edition} edition holds {most} workers, and there are as many.",
                hint="Install a license with `sluice license install FILE`, or remove a worker.",
                details={"limit": "workers", "edition": license.edition},
            )
        self._fleet.admits(member.name)
        self._refuse_open_group(member)
        if member.name in self._sessions:
            raise errors.Busy(f"A worker {member.name} is being let in already.", hint="Try again in some seconds.")
        if len(self._sessions) >= MOST_SESSIONS:
            raise errors.Busy(f"{MOST_SESSIONS} workers of other machines are connected.", hint="Remove one first.")

    def _refuse_open_group(self, member: External) -> None:
        """Raises Forbidden when the worker's group does not name its tenants: whoever owns the worker's machine sees
        the jobs and the secrets that it is given, so somebody has said whose these are."""
        name = self._fleet.groups.setting(member.name).group or member.group
        group = self._fleet.groups.get(name)
        if group is None:
            raise errors.Forbidden(
                f"There is no worker group {name} for workers of other machines.",
                hint=f"Make it, with the tenants that it serves: sluice group create {name} --admit TENANT.",
            )
        if group.open:
            raise errors.Forbidden(
                f"Worker group {name} admits every tenant, and a worker of another machine serves tenants by name.",
                hint=f"Name them: sluice group update {name} --admit TENANT, or let it join another group.",
            )

    # -- sessions ------------------------------------------------------------------------------------------

    async def carry(self, member: External, line: Line, records: Records) -> None:
        """Work with a worker that was admitted, until its tunnel ends. Raises Busy when another one was quicker."""
        if member.name in self._sessions:
            raise errors.Busy(f"A worker {member.name} is connected already.")
        near, far = socket.socketpair()
        tunnel = Tunnel(
            far,
            records,
            line.send,
            line.take,
            beat_seconds=self._settings.heartbeat_seconds,
            chunk_bytes=line.chunk_bytes,
        )
        live = self._sessions[member.name] = _Live(tunnel)
        running = asyncio.create_task(tunnel.run())
        try:
            if await tunnel.opened(HELLO_SECONDS):  # a join that was recorded and repeated gets no further
                await self._remember(member)
                greeting = self._heard(member.name, tunnel.greeted)
                life, before = (greeting.life, greeting.ended()) if greeting is not None else ("", None)
                await self._fleet.joined(member, near, Session(tunnel, running), life, before)
            else:
                log.warning("worker_never_spoke", name=member.name)
        except errors.SluiceError as error:
            log.warning("worker_refused", name=member.name, code=error.code, reason=error.message)
        finally:
            tunnel.end("the engine has ended it")
            near.close()
            with contextlib.suppress(asyncio.CancelledError):
                log.warning("worker_session_ended", name=member.name, reason=await running)
            del self._sessions[member.name]
            live.ended.set()
        await self._forget_ephemeral(member)

    async def _forget_ephemeral(self, member: External) -> None:
        worker = self._fleet.workers.get(member.name)
        if member.grant is None or not member.grant.ephemeral or worker is None or not worker.left:
            return
        if await self._enrolment.forget_ephemeral(member.name):
            self._fleet.forget(member.name)
            log.warning("ephemeral_worker_forgotten", name=member.name)

    async def end(self, name: str, reason: str) -> None:
        """End the session of a worker, if it has one, and let nobody wait for it any more."""
        live = self._sessions.get(name)
        if live is not None:
            self._fleet.shut_out(name, reason)
            live.tunnel.end(reason)
            await live.ended.wait()
        for part in self.parts:
            part(name)
        self._fleet.forsake(name)

    async def dismiss(self, seconds: float) -> None:
        """Have the workers finish what they have and say good-bye, as those of this machine do at the end."""
        names = set(self._fleet.dismiss())
        waiting = [live.ended.wait() for name, live in self._sessions.items() if name in names]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*waiting)

    async def close(self) -> None:
        self._closing = True
        serving = tuple(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    def _heard(self, name: str, greeting: bytes) -> Greeting | None:
        """What a worker has said before anything else; None when it says nothing (an older one) or no greeting."""
        if not greeting:
            return None
        try:
            heard = Greeting.model_validate_json(greeting)
        except ValidationError:
            self._fleet.inquest.disbelieve(name, "its greeting is none")
            return None
        if heard.unreadable:
            self._fleet.inquest.disbelieve(name, "the file with an earlier end is torn, or of another worker")
        return heard

    async def _remember(self, member: External) -> None:
        if member not in await self._database.read(external_workers.known):
            note = audit.row(self._ids.next(), SYSTEM, "worker_join", member.name)
            await self._database.write(external_workers.keep, member, clock.now_ns(), note)
