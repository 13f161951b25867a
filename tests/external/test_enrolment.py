"""Who is let in: tokens, credentials, rotation, copies; decided in the store by one transaction each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import clock, errors
from core.engine import Engine
from core.external import credential, ways
from core.external.credential import Held
from core.external.membership import Enrolled
from core.model.enrolment import Ability, EnrolmentState
from core.model.principal import SYSTEM
from core.store import enrolment as table
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio

HERE = replace(ADMIN, tenant=SYSTEM.tenant)
TRANSCRIPT = os.urandom(32)
DAY_NS = 86_400 * clock.NANOSECONDS


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=0) as running:
        await running.call("worker_group_create", {"name": "edge", "tenants": ["tenant-a", "b"]}, ADMIN)
        yield running


async def made(engine: Engine, **wanted: Any) -> dict[str, Any]:
    return await engine.call("worker_token_create", {"group": "edge", **wanted}, ADMIN)


def key(folder: Path, token: str, name: str = "w") -> Held:
    return credential.begin(folder / f"{name}.credential", token)


async def enrol(engine: Engine, held: Held, token: str, name: str = "", host: str = "host") -> Enrolled:
    given = await engine.enrolment.enrol(held.enrol(token, name, host, TRANSCRIPT), TRANSCRIPT, "192.0.2.7")
    held.enrolled_as(given, path_of(held))
    return given


def path_of(held: Held) -> Path:
    return held._path


async def joins(engine: Engine, held: Held) -> EnrolmentState:
    return (await engine.enrolment.judge(held.join(4, "ab" * 16, TRANSCRIPT), TRANSCRIPT)).state


async def shown(engine: Engine) -> dict[str, str]:
    listed = await engine.call("worker_credential_list", {}, ADMIN)
    return {row["name"]: row["state"] for row in listed["items"]}


async def test_a_token_is_good_for_as_many_workers_as_it_says(engine: Engine, tmp_path: Path) -> None:
    token = (await made(engine, uses=3, approval="auto"))["token"]
    keys = [key(tmp_path, token, f"w{n}") for n in range(20)]
    found = await asyncio.gather(
        *(enrol(engine, one, token, f"w{n}") for n, one in enumerate(keys)), return_exceptions=True
    )
    assert sum(isinstance(one, Enrolled) for one in found) == 3
    assert {one.message for one in found if isinstance(one, errors.SluiceError)} == {"The worker token is used up."}
    (row,) = (await engine.call("worker_token_list", {}, ADMIN))["items"]
    assert (row["used"], row["usable"]) == (3, False)


async def test_a_lost_answer_costs_nothing_and_gives_nothing(engine: Engine, tmp_path: Path) -> None:
    token = (await made(engine))["token"]
    held = key(tmp_path, token)
    first = await enrol(engine, held, token)
    again = await asyncio.gather(*(enrol(engine, held, token) for _ in range(5)))
    assert {one.credential for one in again} == {first.credential}
    with pytest.raises(errors.Unauthenticated, match="used up"):
        await enrol(engine, key(tmp_path, token, "thief"), token)


async def test_what_a_token_says_holds_whatever_the_worker_says(engine: Engine, tmp_path: Path) -> None:
    wanted = {"name": "edge-1", "tenants": ["b"], "can": ["exec"], "slots": 2}
    token = (await made(engine, **wanted))["token"]
    held = key(tmp_path, token)
    with pytest.raises(errors.InvalidParams, match="is for worker edge-1"):
        await enrol(engine, held, token, "other")
    given = await enrol(engine, held, token)
    assert (given.name, given.group, given.state) == ("edge-1", "edge", EnrolmentState.ACTIVE)
    known = await engine.enrolment.of("edge-1")
    assert (known.grant.tenants, known.grant.can, known.grant.most_slots) == (("b",), (Ability.EXEC,), 2)
    assert known.address == "192.0.2.7"


@pytest.mark.parametrize("spoiled", ["expired", "revoked", "secret", "signature"])
async def test_a_token_that_does_not_count_is_refused(engine: Engine, tmp_path: Path, spoiled: str) -> None:
    answer = await made(engine)
    token = answer["token"]
    held = key(tmp_path, token)
    asked = held.enrol(token, "", "host", TRANSCRIPT)
    if spoiled == "expired":
        await engine.database.write(
            lambda db: db.conn.execute("UPDATE worker_tokens SET expires_at_ns = ?", (clock.now_ns() - 1,))
        )
    elif spoiled == "revoked":
        await engine.call("worker_token_revoke", {"id": answer["id"]}, ADMIN)
    elif spoiled == "secret":
        asked = asked.model_copy(update={"token": token.replace(token.split("_")[2], "0" * 64)})
    else:
        asked = asked.model_copy(update={"proof": "0" * 128})
    with pytest.raises(errors.Unauthenticated):
        await engine.enrolment.enrol(asked, TRANSCRIPT, "")
    assert await shown(engine) == {}


async def test_a_token_for_many_waits_for_somebody_to_approve(engine: Engine, tmp_path: Path) -> None:
    token = (await made(engine, uses=2))["token"]
    held = key(tmp_path, token)
    assert (await enrol(engine, held, token)).state is EnrolmentState.PENDING
    with pytest.raises(errors.Busy, match=f"waits until somebody approves it, key {held.fingerprint}"):
        await joins(engine, held)
    (row,) = (await engine.call("worker_credential_list", {"state": "pending"}, ADMIN))["items"]
    assert (row["key"], row["address"]) == (held.fingerprint, "192.0.2.7")
    await engine.call("worker_approve", {"name": "host"}, ADMIN)
    assert await joins(engine, held) is EnrolmentState.ACTIVE


async def test_so_many_wait_and_not_for_ever(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MOST_PENDING", 2)
    token = (await made(engine, uses=9))["token"]
    for name in ("a", "b"):
        await enrol(engine, key(tmp_path, token, name), token, name)
    with pytest.raises(errors.Busy, match="wait to be approved"):
        await enrol(engine, key(tmp_path, token, "c"), token, "c")
    later = clock.now_ns() + 2 * DAY_NS
    assert await engine.database.write(table.prune, later, DAY_NS) == 3, "both, and the token, which is over"
    assert await shown(engine) == {}


async def test_a_name_belongs_to_one_worker_until_a_token_for_it_replaces_that(engine: Engine, tmp_path: Path) -> None:
    token = (await made(engine, uses=9, approval="auto"))["token"]
    first = key(tmp_path, token, "first")
    await enrol(engine, first, token, "edge-1")
    with pytest.raises(errors.AlreadyExists, match="There is a worker edge-1 already"):
        await enrol(engine, key(tmp_path, token, "second"), token, "edge-1")
    with pytest.raises(errors.AlreadyExists, match="starts worker local-1 itself"):
        await enrol(engine, key(tmp_path, token, "third"), token, "local-1")
    token = (await made(engine, name="edge-1"))["token"]
    second = key(tmp_path, token, "second")
    await enrol(engine, second, token)
    assert await joins(engine, second) is EnrolmentState.ACTIVE
    with pytest.raises(errors.Forbidden, match="was revoked"):
        await joins(engine, first)


async def test_a_key_gives_way_to_the_next_one_also_when_the_answer_is_lost(engine: Engine, tmp_path: Path) -> None:
    token = (await made(engine))["token"]
    held = key(tmp_path, token)
    await enrol(engine, held, token)
    before = held.fingerprint
    held.prepare()
    lost = await engine.enrolment.rotate(held.rotate(TRANSCRIPT), TRANSCRIPT)
    after_crash = credential.read(tmp_path / "w.credential")
    assert after_crash is not None and after_crash.due, "it asks again"
    again = await engine.enrolment.rotate(after_crash.rotate(TRANSCRIPT), TRANSCRIPT)
    after_crash.rotated(again)
    assert (lost.generation, again.generation) == (2, 2)
    assert after_crash.fingerprint != before
    assert await joins(engine, after_crash) is EnrolmentState.ACTIVE


async def test_a_copy_of_a_credential_is_noticed_and_nobody_goes_on_before_somebody_has_looked(
    engine: Engine, tmp_path: Path
) -> None:
    token = (await made(engine))["token"]
    held = key(tmp_path, token)
    await enrol(engine, held, token)
    copied = (tmp_path / "w.credential").read_bytes()
    held.prepare()
    held.rotated(await engine.enrolment.rotate(held.rotate(TRANSCRIPT), TRANSCRIPT))
    (tmp_path / "copy.credential").touch(mode=0o600)
    (tmp_path / "copy.credential").write_bytes(copied)
    thief = credential.read(tmp_path / "copy.credential")
    assert thief is not None
    with pytest.raises(errors.Busy, match="there is a copy"):
        await joins(engine, thief)
    with pytest.raises(errors.Busy, match="is suspended"):
        await joins(engine, held)
    assert await shown(engine) == {"host": "suspended"}
    audited = (await engine.call("audit_list", {"operation": "worker_suspend"}, HERE))["items"]
    assert len(audited) == 1
    await engine.call("worker_approve", {"name": "host"}, ADMIN)
    assert await joins(engine, held) is EnrolmentState.ACTIVE


async def test_what_was_revoked_never_joins_again(engine: Engine, tmp_path: Path) -> None:
    token = (await made(engine))["token"]
    held = key(tmp_path, token)
    await enrol(engine, held, token)
    answer = await engine.call("worker_revoke", {"name": "host"}, ADMIN)
    assert (answer["state"], answer["moved"], answer["stays"]) == ("revoked", [], [])
    with pytest.raises(errors.Forbidden, match="was revoked"):
        await joins(engine, held)
    for operation in ("worker_approve", "worker_revoke"):
        with pytest.raises(errors.NotFound):
            await engine.call(operation, {"name": "host"}, ADMIN)
    with pytest.raises(errors.Unauthenticated):
        await enrol(engine, held, token)


async def test_the_text_of_a_token_is_nowhere_in_the_home(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        await engine.call("worker_group_create", {"name": "edge", "tenants": ["b"]}, ADMIN)
        secret = (await made(engine))["token"].split("_")[2]
    for file in (tmp_path / "home").rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("content", [b"", b"{}", b'{"engine": "x"}', b"\0" * 5000])
def test_a_file_that_is_no_credential_is_named_and_not_used(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.credential"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(errors.StorageUnavailable, match="is no credential"):
        credential.read(path)
    path.chmod(0o644)
    with pytest.raises(errors.StorageUnavailable, match="Others can read"):
        credential.read(path)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(errors.StorageUnavailable):
        credential.read(path)


async def test_a_token_that_could_let_nobody_in_is_not_made(engine: Engine) -> None:
    for wanted, said in (
        ({"group": "default"}, "admits every tenant"),
        ({"tenants": ["b", "nobody"]}, "does not admit nobody"),
        ({"name": "edge-1", "uses": 2}, "is used once"),
    ):
        with pytest.raises(errors.InvalidParams, match=said):
            await made(engine, **wanted)
    assert (await engine.call("worker_token_list", {}, ADMIN))["items"] == []


async def test_a_whole_token_in_the_place_of_its_id_is_withdrawn_and_not_kept(engine: Engine) -> None:
    token = (await made(engine))["token"]
    assert (await engine.call("worker_token_revoke", {"id": token}, ADMIN))["usable"] is False
    with pytest.raises(errors.NotFound):
        await engine.call("worker_revoke", {"name": token[:64]}, ADMIN)
    for tenant in (ADMIN.tenant, SYSTEM.tenant):
        audited = await engine.call("audit_list", {}, replace(ADMIN, tenant=tenant))
        assert token.split("_")[2][:20] not in str(audited)


async def test_secrets_of_a_worker_that_never_was_are_no_empty_list(engine: Engine) -> None:
    with pytest.raises(errors.NotFound, match="was ever let in"):
        await engine.call("worker_secrets", {"name": "tpyo"}, ADMIN)


def test_another_token_than_before_is_asked_with_and_the_old_credential_counts_until_then(tmp_path: Path) -> None:
    old, new = (f"slw_{digit * 16}_{'b' * 64}_{'c' * 32}" for digit in "12")
    path = tmp_path / "worker.credential"
    held = credential.begin(path, old)
    held.enrolled_as(
        Enrolled(credential="wrk_1", name="edge-1", group="edge", state=EnrolmentState.ACTIVE, generation=1), path
    )
    kept = path.read_bytes()

    def way(token: str, name: str = "") -> ways.ByCredential:
        wire = ways.OverWebSocket("http://127.0.0.1:1", None)
        return ways.ByCredential(wire, path, token=token, name=name, host="host", slots=1, told=print)

    assert way("")._held.enrolled and way(old)._held.enrolled
    asked = way(new)._held
    assert not asked.enrolled and path.read_bytes() == kept
    assert way(new)._held.fingerprint == asked.fingerprint, "asked again with the same key"
    given = Enrolled(credential="wrk_2", name="edge-2", group="edge", state=EnrolmentState.ACTIVE, generation=1)
    asked.enrolled_as(given, path)
    assert way("")._held.name == way(new, "edge-2")._held.name == "edge-2"
    assert [one.name for one in tmp_path.iterdir()] == ["worker.credential"]
    with pytest.raises(errors.InvalidParams, match="is that of worker edge-2"):
        way("", "edge-1")
