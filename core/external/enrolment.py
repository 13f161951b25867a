"""Tokens that let workers in, and the credentials of those that were: who may join, decided in the store.

A credential is a key pair of which only the worker has the private half. Name, group and what the worker may are those
of the token; a worker says nothing of them when it joins.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog

from core import clock, errors
from core.external import assertion
from core.external import identity as identities
from core.external.assertion import Assertion
from core.external.handshake import proves
from core.external.membership import Enrol, Enrolled, Join, Rotate
from core.model.enrolment import Credential, EnrolmentState, WorkerGrant, WorkerToken
from core.model.principal import SYSTEM, Caller
from core.store import audit, external_workers
from core.store import enrolment as table
from core.store.database import Database

log = structlog.get_logger("core.external")

MOST_TOKENS = 1000  # that are kept


@dataclass(frozen=True, slots=True)
class WantedToken:
    """A token that is to be made."""

    grant: WorkerGrant
    name: str
    uses: int
    approval: bool | None  # None: only of a token with several uses
    valid_seconds: int


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


class Enrolment:
    """Of one engine; `reserved` says whether a name is one of the workers that the engine starts itself."""

    def __init__(
        self,
        database: Database,
        ids: clock.Ids,
        identity: Callable[[], identities.Identity],
        reserved: Callable[[str], bool],
    ) -> None:
        self._database = database
        self._ids = ids
        self._identity = identity
        self._reserved = reserved

    # -- what admins do ------------------------------------------------------------------------------------

    async def create_token(self, caller: Caller, wanted: WantedToken) -> tuple[str, WorkerToken]:
        """A new token: its text, which nobody can read again, and what is kept of it.

        Raises NotFound (no such group), AlreadyExists (a worker of the engine has the name), Busy.
        """
        self._refuse_reserved(wanted.name)
        if wanted.name and wanted.uses > 1:
            raise errors.InvalidParams(
                "A token for one worker by name is used once.", hint="Leave out the name, or the number of uses."
            )
        if len(await self._database.read(table.tokens)) >= MOST_TOKENS:
            raise errors.Busy(
                f"There are {MOST_TOKENS} worker tokens.", hint="Withdraw some: sluice worker-token revoke ID."
            )
        id, secret, now = f"slw_{clock.token(16)}", clock.token(64), clock.now_ns()
        made = WorkerToken(
            id=id,
            grant=wanted.grant,
            name=wanted.name,
            uses=wanted.uses,
            used=0,
            approval=wanted.uses > 1 if wanted.approval is None else wanted.approval,
            created_at_ns=now,
            created_by=caller.username,
            expires_at_ns=now + wanted.valid_seconds * clock.NANOSECONDS,
        )
        note = audit.row(self._ids.next(), caller, "worker_token_create", f"{id} {wanted.grant.group}")
        await self._database.write(table.add_token, made, _hash(secret), note)
        return f"{id}_{secret}_{self._identity().fingerprint}", made

    async def tokens(self) -> list[WorkerToken]:
        """Those that are kept, the newest first."""
        return await self._database.read(table.tokens)

    async def token(self, id: str) -> WorkerToken:
        """Raises NotFound."""
        found = await self._database.read(table.token, id)
        if found is None:
            raise errors.NotFound(
                f"There is no worker token {errors.shorten(id, 64)}.", hint="worker_token_list shows what there is."
            )
        return found

    async def revoke_token(self, caller: Caller, id: str) -> WorkerToken:
        """Withdraw a token; workers that it let in stay. Raises NotFound."""
        await self.token(id)
        note = audit.row(self._ids.next(), caller, "worker_token_revoke", id)
        await self._database.write(table.revoke_token, id, clock.now_ns(), note)
        return await self.token(id)

    async def credentials(self) -> list[Credential]:
        """Those that are kept, by name."""
        return await self._database.read(table.credentials)

    async def of(self, name: str) -> Credential:
        """The credential of a worker that was not revoked. Raises NotFound."""
        found = await self._database.read(table.named, name)
        if found is None:
            raise errors.NotFound(
                f"No worker {errors.shorten(name, 64)} of another machine is let in.",
                hint="worker_credential_list shows which are, and whose credential has ended.",
            )
        return found

    async def ever(self, name: str) -> None:
        """Raises NotFound when no worker of this name was ever let in."""
        if not any(one.name == name for one in await self.credentials()):
            raise errors.NotFound(
                f"No worker {errors.shorten(name, 64)} was ever let in.",
                hint="worker_credential_list shows which were.",
            )

    async def suspend(self, known: Credential) -> errors.Busy:
        """There is a copy of a credential: nobody uses it before an admin has looked. The refusal."""
        if known.state is EnrolmentState.ACTIVE:
            log.error("worker_credential_copied", name=known.name, credential=known.id)
            await self._decide(SYSTEM, "worker_suspend", known, EnrolmentState.SUSPENDED)
        return errors.Busy(
            f"The credential of worker {known.name} is suspended: it is used in two places, so there is a copy of it.",
            hint=f"See which machine is the right one; then: sluice worker approve {known.name}, or revoke it.",
        )

    async def approve(self, caller: Caller, name: str) -> Credential:
        """Let a worker join that waits for it, or is suspended. Raises NotFound."""
        return await self._decide(caller, "worker_approve", await self.of(name), EnrolmentState.ACTIVE)

    async def revoke(self, caller: Caller, name: str) -> Credential:
        """End a credential for good, and forget the worker. Raises NotFound."""
        return await self._decide(caller, "worker_revoke", await self.of(name), EnrolmentState.REVOKED)

    async def _decide(self, caller: Caller, operation: str, found: Credential, state: EnrolmentState) -> Credential:
        if found.state is state:
            return found
        note = audit.row(self._ids.next(), caller, operation, f"{found.name} {found.id}")
        now = clock.now_ns()
        after = await self._database.write(table.decide, found.id, state, now, caller.username, note)
        if after is None:
            raise errors.Busy(f"The credential of {found.name} has changed meanwhile.", hint="Look again.")
        return after

    # -- what workers ask ----------------------------------------------------------------------------------

    async def enrol(self, asked: Enrol, transcript: bytes, address: str) -> Enrolled:
        """Redeem a token. Raises Unauthenticated, InvalidParams, AlreadyExists, Busy."""
        _prove(asked.public_key, transcript, asked.proof)
        self._refuse_reserved(asked.name or asked.host)
        prefix, id, secret, _ = asked.token.split("_")
        shown = table.Asked(
            token=f"{prefix}_{id}",
            secret_hash=_hash(secret),
            name=asked.name,
            host=asked.host,
            public_key=asked.public_key,
            address=address,
            id=f"wrk_{clock.token(16)}",
            now_ns=clock.now_ns(),
        )
        made = await self._database.write(
            table.redeem, shown, lambda target: audit.row(self._ids.next(), SYSTEM, "worker_enrol", target)
        )
        log.warning("worker_enrolled", name=made.name, credential=made.id, state=made.state, address=address)
        return _enrolled(made)

    async def rotate(self, asked: Rotate, transcript: bytes) -> Enrolled:
        """Another key for a credential; also when it has it already, and the answer was lost.

        Raises Unauthenticated, Forbidden, Busy.
        """
        known = await self._known(asked.credential)
        _prove(asked.next_key, transcript, asked.next_proof)
        if known.public_key == asked.next_key:
            _prove(known.previous_key, transcript, asked.proof)
            return _enrolled(known)
        await self._prove_present(known, asked.generation, transcript, asked.proof)
        _refuse_inactive(known)
        note = audit.row(self._ids.next(), SYSTEM, "worker_rotate", f"{known.name} {known.id}")
        made = await self._database.write(table.rotate, known.id, known.public_key, asked.next_key, note)
        if made is None:
            raise errors.Busy("The credential has changed meanwhile.", hint="Ask again.")
        return _enrolled(made)

    async def judge(self, asked: Join, transcript: bytes) -> Credential:
        """Whose session may begin. Raises Unauthenticated, Forbidden (for good), Busy (not now)."""
        known = await self._known(asked.credential)
        await self._prove_present(known, asked.generation, transcript, asked.proof)
        _refuse_inactive(known)
        return known

    async def see_active(self, known: Credential) -> None:
        """Raises Unauthenticated, Forbidden (permanent) or Busy (temporary) when a credential is no longer active."""
        _refuse_inactive(await self._known(known.id))

    async def prove(self, said: Assertion) -> None:
        """See that an assertion (core.external.assertion) is of a worker that may join, or waits until it may, or of
        who has a token to redeem. Raises Unauthenticated, Forbidden (its credential was revoked)."""
        if said.of_token:
            kept = await self._database.read(table.secret_hash, said.who, clock.now_ns())
            if kept is None or not hmac.compare_digest(assertion.by_secret(kept, said.proved), said.proof):
                raise errors.Unauthenticated("The worker token is no token of this engine.")
            return
        known = await self._known(said.who)
        keys = (known.public_key, known.previous_key)  # an answer that brought a new key may have been lost
        if not any(key and proves(key, said.proved, said.proof) for key in keys):
            raise errors.Unauthenticated(f"What worker {known.name} shows does not fit its credential.")
        if known.state is EnrolmentState.REVOKED:
            raise errors.Forbidden(f"The credential of worker {known.name} was revoked.")

    async def standing(self, ids: Collection[str]) -> set[str]:
        """Which of these credentials are of this engine and were not revoked."""
        kept = await self._database.read(table.credentials)
        return {one.id for one in kept if one.id in ids and one.state is not EnrolmentState.REVOKED}

    async def forget_ephemeral(self, name: str) -> bool:
        """A worker has said good-bye: if it was let in for one life alone, its credential ends. Whether it did."""
        found = await self._database.read(table.named, name)
        if found is None or not found.grant.ephemeral:
            return False
        await self._decide(SYSTEM, "worker_revoke", found, EnrolmentState.REVOKED)
        note = audit.row(self._ids.next(), SYSTEM, "worker_remove", name)
        await self._database.write(external_workers.forget, name, note)
        return True

    async def _known(self, id: str) -> Credential:
        found = await self._database.read(table.credential, id)
        if found is None:
            raise errors.Unauthenticated(
                "This engine does not know the credential of this worker.",
                hint="It was revoked, or the engine has another home: let the worker in anew with a token.",
            )
        return found

    async def _prove_present(self, known: Credential, generation: int, transcript: bytes, signature: str) -> None:
        """Raises Unauthenticated for a signature that is not by the present key; by the key before it, somebody has a
        copy of the credential, or had it: then nobody uses it before an admin has looked."""
        if generation == known.generation and proves(known.public_key, transcript, signature):
            return
        if generation < known.generation and known.previous_key and proves(known.previous_key, transcript, signature):
            raise await self.suspend(known)
        raise errors.Unauthenticated(
            f"What worker {known.name} shows does not fit its credential.",
            hint="Was the home of the engine, or of the worker, restored from an older copy? Let it in anew:"
            f" sluice worker-token create --name {known.name}.",
        )

    def _refuse_reserved(self, name: str) -> None:
        if name and self._reserved(name):
            raise errors.AlreadyExists(f"The engine starts worker {name} itself.", hint="Choose another name.")


def _prove(public: str, transcript: bytes, signature: str) -> None:
    if not public or not proves(public, transcript, signature):
        raise errors.Unauthenticated("What the worker shows does not fit its key.")


def _refuse_inactive(known: Credential) -> None:
    """Raises Busy for what may pass, Forbidden for what does not."""
    match known.state:
        case EnrolmentState.PENDING:
            raise errors.Busy(
                f"Worker {known.name} waits until somebody approves it, key {identities.short(known.public_key)}.",
                hint=f"sluice worker approve {known.name}",
            )
        case EnrolmentState.SUSPENDED:
            raise errors.Busy(
                f"The credential of worker {known.name} is suspended.", hint=f"sluice worker approve {known.name}"
            )
        case EnrolmentState.REVOKED:
            raise errors.Forbidden(
                f"The credential of worker {known.name} was revoked.",
                hint="A new token lets it in again: sluice worker --token-file FILE.",
            )


def _enrolled(made: Credential) -> Enrolled:
    return Enrolled(
        credential=made.id,
        name=made.name,
        group=made.grant.group,
        ephemeral=made.grant.ephemeral,
        state=made.state,
        generation=made.generation,
    )
