"""Four records with which a line begins: who is at the other end is proved before anything is told."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.external import handshake
from core.external.handshake import Foreign, Meeting
from core.external.identity import Identity
from core.external.line import LineBroken
from core.external.sealed import Records

pytestmark = pytest.mark.anyio

ENGINE = Identity(b"e" * 32)
OTHER = Identity(b"o" * 32)
LETTER = {"purpose": "enrol", "token": "canary-4711"}


@dataclass
class End:
    """One end of a line in memory; `seen` is every record that passed it."""

    here: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    there: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    seen: list[bytes] = field(default_factory=list)
    chunk_bytes: int = 1024

    async def send(self, record: bytes) -> None:
        self.seen.append(record)
        await self.there.put(record)

    async def take(self) -> bytes:
        record = await self.here.get()
        if not record:
            raise LineBroken("it has ended")
        self.seen.append(record)
        return record

    async def close(self) -> None:
        await self.there.put(b"")


def line() -> tuple[End, End]:
    """The worker's and the engine's end."""
    worker = End()
    return worker, End(worker.there, worker.here)


async def answered(end: End, identity: Identity = ENGINE) -> Meeting:
    met = await handshake.meet(end, identity)
    await met.answer({"heard": met.letter})
    return met


async def asked(end: End, fingerprint: str = ENGINE.fingerprint) -> tuple[dict[str, Any], Records]:
    return await handshake.ask(end, fingerprint, lambda transcript: {**LETTER, "transcript": transcript.hex()})


async def test_both_ends_hear_each_other_and_have_the_keys_of_what_follows() -> None:
    worker, engine = line()
    met, (answer, records) = await asyncio.gather(answered(engine), asked(worker))
    assert answer == {"heard": {**LETTER, "transcript": met.transcript.hex()}}
    theirs = met.records()
    assert theirs.open(records.seal(1, b"up")) == (1, b"up")
    assert records.open(theirs.seal(2, b"down")) == (2, b"down")


async def test_nothing_that_passed_says_what_was_said() -> None:
    worker, engine = line()
    await asyncio.gather(answered(engine), asked(worker))
    assert len(worker.seen) == 4
    assert b"canary" not in b"".join(worker.seen)


async def test_another_engine_is_told_nothing() -> None:
    worker, engine = line()
    meeting = asyncio.create_task(answered(engine, OTHER))
    with pytest.raises(errors.Unauthenticated, match="Another engine"):
        await asked(worker)
    await worker.close()
    with pytest.raises(LineBroken):
        await meeting
    assert len(engine.seen) == 2, "the hello and the offer"


async def test_whoever_shows_the_identity_of_an_engine_without_having_it_is_told_nothing() -> None:
    """The offer of the real engine, recorded, or with a fresh key of one's own in it."""
    worker, engine = line()
    await asyncio.gather(answered(engine), asked(worker))
    recorded = worker.seen[1]
    mine = recorded[:32] + os.urandom(32) + recorded[64:]
    for forged in (recorded, mine):
        again, thief = line()
        asking = asyncio.create_task(asked(again))
        await thief.take()
        await thief.send(forged)
        with pytest.raises(errors.Unauthenticated, match="only pretends"):
            await asking
        assert len(thief.seen) == 2


async def test_what_was_recorded_of_a_worker_does_not_open_again() -> None:
    worker, engine = line()
    await asyncio.gather(answered(engine), asked(worker))
    hello, _, letter, _ = worker.seen
    again, fresh = line()
    meeting = asyncio.create_task(answered(fresh))
    await again.send(hello)
    await again.take()
    await again.send(letter)
    with pytest.raises(Foreign, match="cannot be opened"):
        await meeting


async def test_a_man_in_the_middle_changes_nothing_unnoticed() -> None:
    """Any record, at any place: one of the two ends sees it, and nothing is taken for true."""
    for number in range(4):
        worker, near = line()
        far, engine = line()

        async def pass_on(number: int = number, near: End = near, far: End = far) -> None:
            for at, (taken, passed) in enumerate(((near, far), (far, near), (near, far), (far, near))):
                record = await taken.take()
                if at == number:
                    record = record[:-1] + bytes((record[-1] ^ 1,))
                await passed.send(record)

        async def meeting(engine: End = engine) -> Meeting:
            try:
                return await answered(engine)
            except (Foreign, LineBroken):
                await engine.close()
                raise

        async def asking(worker: End = worker) -> object:
            try:
                return await asked(worker)
            except errors.SluiceError:
                await worker.close()
                raise

        ends = asyncio.gather(asking(), meeting(), return_exceptions=True)
        between = asyncio.create_task(pass_on())
        async with asyncio.timeout(5):
            while not ends.done() and not between.done():
                await asyncio.wait({between, asyncio.ensure_future(ends)}, return_when=asyncio.FIRST_COMPLETED)
            for end in (near, far):
                await end.close()
            found = await ends
        assert any(isinstance(one, BaseException) for one in found), number
        await asyncio.gather(between, return_exceptions=True)


@given(st.binary(min_size=1, max_size=400), st.booleans())
def test_noise_ends_a_meeting_and_nothing_else(noise: bytes, after_hello: bool) -> None:
    async def scene() -> None:
        worker, engine = line()
        if after_hello:
            await worker.send(handshake.MAGIC + bytes(32))
        await worker.send(noise)
        await worker.close()
        with pytest.raises((Foreign, LineBroken)):
            await handshake.meet(engine, ENGINE)

    asyncio.run(scene())


@given(st.binary(max_size=200))
def test_a_signature_proves_only_what_was_signed_with_the_key(noise: bytes) -> None:
    transcript = b"t" * 32
    signature = ENGINE.sign(handshake.proof(transcript)).hex()
    assert handshake.proves(ENGINE.public.hex(), transcript, signature)
    assert not handshake.proves(OTHER.public.hex(), transcript, signature)
    assert not handshake.proves(ENGINE.public.hex(), noise, signature)
    assert not handshake.proves(ENGINE.public.hex(), transcript, noise.hex())
    assert not handshake.proves(noise.hex(), transcript, signature)
