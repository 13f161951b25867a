"""A NATS server that asks the engine whom to let in: each worker has its own subjects there, and nobody else any."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from nats.aio.client import Client
from nats.errors import Error

from core import errors
from core.engine import Engine
from core.external import accounts, assertion, callout, credential, identity, nats, parting, ways
from core.external.assertion import Claim
from core.external.enrolment import Enrolment
from mcp_server.cli import checkup
from tests import certificates, waiting
from tests.engines import engine_on
from tests.external import rig, server

pytestmark = pytest.mark.anyio


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "engine").mkdir(mode=0o700)
    return tmp_path / "engine"


@pytest.fixture
def bus(home: Path, tmp_path: Path) -> Iterator[server.Server]:
    """A server that knows the engine of `home`, and keeps streams apart."""
    keys = accounts.of(identity.of_home(home))
    config = tmp_path / "nats.conf"
    text = accounts.configuration(keys, "test", streams=True)
    config.write_text(text + f'jetstream {{ store_dir: "{tmp_path / "js"}" }}\n')
    with server.running("-c", str(config), log=tmp_path / "nats.log", SLUICE_STREAMS_PASSWORD="of-streams") as running:
        yield running


@asynccontextmanager
async def engine_at(home: Path, bus: server.Server) -> AsyncIterator[Engine]:
    async with engine_on(home, workers=0, nats=bus.url, **rig.FAST) as engine:
        assert engine.broker is not None
        broker = engine.broker
        await waiting.until(lambda: broker.connected and broker.asked)
        await rig.admit(engine)
        yield engine


@pytest.fixture(autouse=True)
def parts_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parting, "PART_SECONDS", 2.0)


@asynccontextmanager
async def joined(home: Path, bus: server.Server, tmp_path: Path) -> AsyncIterator[tuple[Engine, rig.Machine]]:
    """An engine, and a worker that has joined it by the token in `tmp_path`/token."""
    with anyio.fail_after(60):
        async with engine_at(home, bus) as engine:
            token = await rig.token(engine, tmp_path / "token")
            async with rig.machine(tmp_path / "edge", bus.url, token) as edge:
                await rig.online(engine)
                yield engine, edge


class Refused(Exception):
    """The server did not let somebody do something."""


@asynccontextmanager
async def client(bus: server.Server, **options: Any) -> AsyncIterator[Client]:
    """A client that does not try again. Raises Refused."""
    made, faults = Client(), list[Exception]()

    async def fault(error: Exception) -> None:
        faults.append(error)

    try:
        await made.connect(bus.url, allow_reconnect=False, connect_timeout=5, error_cb=fault, **options)
    except (Error, OSError) as error:
        await made.close()
        raise Refused(str(error)) from error
    try:
        yield made
        await made.flush()  # a client asks for its answer before it has written the rest
        await made.flush()
        if faults:
            raise Refused(str(faults[0]))
    finally:
        await made.close()


def claim_in(home: Path) -> Claim:
    """What the worker in a home says of itself."""
    held = credential.read(home / "worker.credential")
    assert held is not None and held.enrolled
    return held.claim("")


async def test_a_worker_is_let_in_by_its_token_works_over_subjects_of_its_own_and_comes_back(
    home: Path, tmp_path: Path, bus: server.Server
) -> None:
    with anyio.fail_after(60):
        async with engine_at(home, bus) as engine:
            token = await rig.token(engine, tmp_path / "token")
            async with rig.machine(tmp_path / "edge", bus.url, token) as edge:
                await rig.online(engine)
                await rig.publish(engine)
                assert (await rig.invoke(engine))["state"] == "succeeded"
                bus.kill()
                waits = asyncio.create_task(rig.invoke(engine))
                bus.start()
                assert (await waits)["state"] == "succeeded"
                assert not any("Permissions Violation" in line for line in edge.said)
            token.unlink()
            async with rig.machine(tmp_path / "edge", bus.url, token):
                await rig.online(engine)
                assert (await rig.invoke(engine))["state"] == "succeeded"


async def test_nobody_else_is_let_in(home: Path, tmp_path: Path, bus: server.Server) -> None:
    with anyio.fail_after(60):
        async with engine_at(home, bus) as engine:
            token = await rig.token(engine, tmp_path / "token")
            text = token.read_text()
            held = credential.begin(tmp_path / "asked", text)
            engine_key = held.engine
            said = held.claim(text).write("0" * 32)
            assert engine.broker is not None
            before = engine.gateway.refused["unauthenticated"]
            async with client(bus, token=said):
                pass
            strangers: list[dict[str, Any]] = [
                {},
                {"token": said},  # it was said before
                {"token": "x"},
                {"token": said[:-1] + ("0" if said[-1] != "0" else "1")},
                {"token": held.claim(text).write("wrk_0123456789abcdef")},
                {"token": Claim(engine_key, "wrk_0123456789abcdef", lambda _: "0" * 128).write("wrk_0123456789abcdef")},
                {"token": Claim("f" * 32, held.token, held.claim(text).prove).write("0" * 32)},
                {"token": "a" * 2000},
                {"user": "engine", "password": "x"},
            ]
            for options in strangers:
                with pytest.raises(Refused):
                    async with client(bus, **options):
                        pass
            assert engine.gateway.refused["unauthenticated"] - before >= len(strangers) - 1


async def test_a_worker_has_the_subjects_of_no_other_one(home: Path, tmp_path: Path, bus: server.Server) -> None:
    with anyio.fail_after(60):
        async with engine_at(home, bus) as engine:
            token = await rig.token(engine, tmp_path / "token")
            for name in ("edge-1", "edge-2"):
                async with rig.machine(tmp_path / name, bus.url, token, name):
                    await rig.online(engine, name)
            one, two = claim_in(tmp_path / "edge-1"), claim_in(tmp_path / "edge-2")
            name = identity.installation(one.engine)
            line = "0" * 32

            def as_one() -> dict[str, Any]:
                return {"token": one.write(one.who), "inbox_prefix": assertion.inbox(one.who)}

            async with client(bus, **as_one()) as made:
                await made.publish(f"sluice.{name}.{one.who}.{line}.engine", b"")
                await made.subscribe(f"sluice.{name}.{one.who}.{line}.worker")
                assert (await made.request(f"sluice.{name}.meet.{one.who}", line.encode())).data == b"listening"
            for subject in (
                f"sluice.{name}.{two.who}.{line}.engine",
                f"sluice.{name}.{two.who}.{line}.worker",
                f"sluice.{name}.{one.who}.{line}.worker",
                f"sluice.{name}.meet.{two.who}",
                f"{assertion.inbox(two.who)}.x",
                callout.SUBJECT,
                "$SYS.REQ.SERVER.PING",
                "$JS.API.INFO",
                "anything",
            ):
                with pytest.raises(Refused, match=r"(?i)permissions violation for publish"):
                    async with client(bus, **as_one()) as made:
                        await made.publish(subject, b"")
            for subject in (
                ">",
                f"sluice.{name}.>",
                f"sluice.{name}.*.*.worker",
                f"sluice.{name}.{two.who}.*.worker",
                f"sluice.{name}.{one.who}.*.engine",
                f"sluice.{name}.meet.*",
                f"{assertion.inbox(two.who)}.>",
                callout.SUBJECT,
                "$SYS.>",
                "$JS.API.>",
            ):
                with pytest.raises(Refused, match=r"(?i)permissions violation for subscription"):
                    async with client(bus, **as_one()) as made:
                        await made.subscribe(subject)


async def test_the_engine_answers_on_no_subject_of_others_and_no_worker_takes_the_room_of_others(
    home: Path, tmp_path: Path, bus: server.Server
) -> None:
    with anyio.fail_after(60):
        async with engine_at(home, bus) as engine:
            token = await rig.token(engine, tmp_path / "token")
            async with rig.machine(tmp_path / "edge-1", bus.url, token):
                await rig.online(engine)
            claim = claim_in(tmp_path / "edge-1")
            name, prefix = identity.installation(claim.engine), assertion.inbox(claim.who)
            meet = f"sluice.{name}.meet.{claim.who}"
            async with (
                client(bus, token=claim.write(claim.who), inbox_prefix=prefix) as made,
                nats_watch(home, bus) as heard,
            ):
                for reply in (f"sluice.{name}.x", "_INBOX_other.x", f"{prefix}x.y", "$SYS.REQ.SERVER.PING"):
                    await made.publish(meet, os.urandom(16).hex().encode(), reply=reply)
                for _ in range(4):
                    assert (await made.request(meet, os.urandom(16).hex().encode())).data == b"listening"
                assert (await made.request(meet, os.urandom(16).hex().encode())).data == b"busy"
                assert not heard
                async with rig.machine(tmp_path / "edge-2", bus.url, token, "edge-2"):
                    await rig.online(engine, "edge-2")


@asynccontextmanager
async def nats_watch(home: Path, bus: server.Server) -> AsyncIterator[list[str]]:
    """The subjects of nobody on which something is said, as the user of the engine hears them."""
    keys, heard = accounts.of(identity.of_home(home)), list[str]()
    made = Client()
    await made.connect(bus.url, nkeys_seed_str=bytes(keys.engine.seed).decode())

    async def hear(message: Any) -> None:
        heard.append(message.subject)

    for subject in ("sluice.*.x", "_INBOX_other.>"):
        await made.subscribe(subject, cb=hear)
    await made.flush()
    yield heard
    await made.flush()
    await made.close()


@pytest.mark.parametrize("seconds", [0.0, 1.0, 4.0])
async def test_a_worker_comes_back_when_the_server_was_there_before_the_engine(
    home: Path, tmp_path: Path, bus: server.Server, seconds: float
) -> None:
    keys, claim = accounts.of(identity.of_home(home)), Claim("0" * 32, "wrk_1", lambda _: "0" * 128)
    seed, engine = bytes(keys.engine.seed).decode(), identity.installation("0" * 32)

    class Everybody:
        async def prove(self, said: assertion.Assertion) -> None:
            pass

    async def answers() -> nats.Wire:
        let_in = callout.Callout(keys, engine, cast(Enrolment, Everybody()), lambda *_: None)
        wire = await nats.connect(bus.url, "engine", nkeys_seed_str=seed)
        await wire.answer(callout.SUBJECT, lambda asked: let_in.answer(asked.data))
        await wire.answer(f"sluice.{engine}.meet.*", listening)
        return wire

    async def listening(_: nats.Question) -> bytes:
        return b"listening"

    with anyio.fail_after(60):
        wire, way = await answers(), ways.OverNats(bus.url)
        await (await way.open(claim)).close()
        await wire.close()
        bus.kill()
        bus.start()

        async def returns() -> nats.Wire:
            await waiting.pause(seconds)  # the engine is away for so long
            return await answers()

        back = asyncio.create_task(returns())

        async def opened() -> bool:
            if back.done():
                back.result()  # else what kept the engine away would not be known
            try:
                await (await way.open(claim)).close()
            except errors.TargetUnavailable:
                return False
            return True

        assert await waiting.until(opened)
        await way.close()
        await (await back).close()


async def test_who_is_shut_out_is_cut_off_from_the_server_at_once(
    home: Path, tmp_path: Path, bus: server.Server
) -> None:
    async with joined(home, bus, tmp_path) as (engine, edge):
        claim, gone = claim_in(tmp_path / "edge"), asyncio.Event()

        async def closed() -> None:
            gone.set()

        lingers = Client()
        await lingers.connect(bus.url, allow_reconnect=False, token=claim.write(claim.who), closed_cb=closed)
        await engine.call("worker_revoke", {"name": "edge-1"}, rig.ADMIN)
        await gone.wait()
        with pytest.raises(Refused):
            async with client(bus, token=claim.write(claim.who)):
                pass
        assert await edge.ended() != 0
        assert any("was revoked" in line for line in edge.said)


async def test_each_server_of_a_cluster_asks_the_engine_over_tls_and_cuts_off_who_was_shut_out(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, keys = certificates.self_signed(tmp_path), accounts.of(identity.of_home(home))
    monkeypatch.setenv("SSL_CERT_FILE", str(made.cert))
    config = tmp_path / "nats.conf"
    told = accounts.configuration(keys, "test", streams=False)
    config.write_text(told + f'tls {{ cert_file: "{made.cert}", key_file: "{made.key}" }}\n')
    with anyio.fail_after(60), server.pair(config) as (near, far):
        async with engine_at(home, near) as engine:
            token = await rig.token(engine, tmp_path / "token")
            async with rig.machine(tmp_path / "edge", far.url, token) as edge:
                await rig.online(engine)
                await rig.publish(engine)
                assert (await rig.invoke(engine))["state"] == "succeeded"
                claim = claim_in(tmp_path / "edge")
                for bus in (near, far):
                    with pytest.raises(Refused):
                        async with client(bus, token=claim.write("wrk_another")):
                            pass
                linger = [Client(), Client()]
                for one, bus in zip(linger, (near, far), strict=True):
                    await one.connect(bus.url, allow_reconnect=False, token=claim.write(claim.who))
                await engine.call("worker_revoke", {"name": "edge-1"}, rig.ADMIN)
                assert await edge.ended() != 0
                assert await waiting.until(lambda: all(one.is_closed for one in linger))


async def test_an_engine_ends_what_the_one_before_it_did_not_come_to(
    home: Path, tmp_path: Path, bus: server.Server
) -> None:
    with anyio.fail_after(60):
        gone = asyncio.Event()

        async def closed() -> None:
            gone.set()

        async with joined(home, bus, tmp_path) as (engine, edge):
            claim, lingers = claim_in(tmp_path / "edge"), Client()
            await lingers.connect(bus.url, allow_reconnect=False, token=claim.write(claim.who), closed_cb=closed)
            await engine.call("worker_revoke", {"name": "edge-1"}, rig.ADMIN)
            assert await edge.ended() != 0
        assert not gone.is_set()
        async with engine_at(home, bus):
            await gone.wait()
            assert lingers.is_closed


async def test_who_was_let_in_for_a_time_comes_again_when_it_has_expired(
    home: Path, tmp_path: Path, bus: server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for_a_time = functools.partialmethod(callout.Callout.__init__, lasts_seconds=2)
    monkeypatch.setattr(callout.Callout, "__init__", for_a_time)
    async with joined(home, bus, tmp_path) as (engine, edge):
        await rig.publish(engine)
        await edge.says("is cut off")
        assert (await rig.invoke(engine))["state"] == "succeeded"


async def test_a_worker_that_is_connected_stays_while_the_engine_is_away(
    home: Path, tmp_path: Path, bus: server.Server
) -> None:
    with anyio.fail_after(60):
        async with engine_at(home, bus) as engine:
            token = await rig.token(engine, tmp_path / "token")
            async with rig.machine(tmp_path / "edge", bus.url, token):
                await rig.online(engine)
            claim = claim_in(tmp_path / "edge")
            stays = Client()
            await stays.connect(bus.url, token=claim.write(claim.who), inbox_prefix=assertion.inbox(claim.who))
        with pytest.raises(Refused):
            async with client(bus, token=claim.write(claim.who)):
                pass
        await stays.flush()
        assert stays.is_connected
        await stays.close()


async def test_the_doctor_says_that_the_server_asks_the_engine(home: Path, bus: server.Server) -> None:
    with anyio.fail_after(30):
        async with engine_at(home, bus) as engine:
            written = await engine.call("nats_config", {"streams": True}, rig.ADMIN)
        found = await checkup.nats(bus.url, home)
    keys = accounts.of(identity.of_home(home))
    assert all(accounts.public(key) in written["config"] for key in (keys.issuer, keys.engine, keys.system))
    assert not any(bytes(key.seed).decode() in written["config"] for key in (keys.issuer, keys.engine, keys.system))
    assert (found.state, found.found) == ("ok", f"{bus.url} answers, and asks this engine whom to let in")


async def test_streams_have_an_account_of_their_own(home: Path, bus: server.Server) -> None:
    del home
    with anyio.fail_after(30):
        async with client(bus, user="streams", password="of-streams") as made:
            await made.jetstream().add_stream(name="s", subjects=["s"])
            assert (await made.jetstream().publish("s", b"x")).seq == 1
        with pytest.raises(Refused):
            async with client(bus, user="streams", password="wrong"):
                pass


async def test_a_server_with_keys_of_others_is_used_as_its_address_says(home: Path, tmp_path: Path) -> None:
    stranger = accounts.of(identity.Identity(os.urandom(32)))
    config = tmp_path / "other.conf"
    config.write_text(
        f"authorization {{ users: [ {{ nkey: {accounts.public(stranger.engine)} }}, {{ user: u, password: p }} ] }}\n"
    )
    with anyio.fail_after(60), server.running("-c", str(config)) as bus:
        url = bus.url.replace("//", "//u:p@")
        async with engine_on(home, workers=0, nats=url, **rig.FAST) as engine:
            broker = engine.broker
            assert broker is not None
            await waiting.until(lambda: broker.connected)
            assert not broker.asked
            await rig.admit(engine)
            token = await rig.token(engine, tmp_path / "token")
            async with rig.machine(tmp_path / "edge", url, token):
                await rig.online(engine)


def test_what_is_no_assertion_says_nothing() -> None:
    claim = Claim("0" * 32, "slw_0123456789abcdef", lambda _: "0" * 64)
    good = claim.write("1" * 32)
    said = assertion.read(good)
    assert said is not None and said.who == claim.who and said.space == "1" * 32
    for bad in ("", good[:-30], good + ".x", good.replace("sluice-nats-1", "sluice-nats-2"), claim.write("wrk_1")):
        assert assertion.read(bad) is None, bad


async def test_a_line_that_its_server_has_ended_says_so(bus: server.Server) -> None:
    with anyio.fail_after(30):
        wire = await nats.connect(bus.url.replace("//", "//streams:of-streams@"), "test")
        line = await nats.line(wire, hears="a", speaks="a")
        await line.send(b"one")
        assert await line.take() == b"one"
        waits = asyncio.create_task(line.take())
        await waiting.until(lambda: not waits.done())
        await wire.close()
        with pytest.raises(nats.LineBroken):
            await waits
