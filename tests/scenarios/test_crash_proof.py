"""The proof of the kills finds what it is there to find: each fault, put into a store by hand, fails it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.engines import ADMIN, engine_on
from tests.external import rig
from tests.scenarios import crash_proof
from tests.scenarios.crash_proof import Told

pytestmark = pytest.mark.anyio

ONE = "(SELECT min(id) FROM invocations)"
HISTORY = '\'[{"type":"accepted"},{"type":"dispatched"},%s]\''
FAULTS = {
    "told and not there": f"DELETE FROM invocations WHERE id = {ONE}",
    "told otherwise": f"UPDATE invocations SET nonce = '000000000000' WHERE id = {ONE}",
    "not one end": "UPDATE invocations SET events = "
    + HISTORY % '{"type":"succeeded"},{"type":"redelivered"},{"type":"succeeded"}',
    "a history begins with dispatched": "UPDATE invocations SET events = json_remove(events, '$[0]')",
    "accepted -> succeeded": "UPDATE invocations SET events = json_remove(events, '$[1]')",
    "another state than the last": "UPDATE invocations SET events = " + HISTORY % '{"type":"failed"}',
    "unknown in a history": "UPDATE invocations SET events = json_insert(events, '$[#]', json('{\"type\":\"what\"}'))",
    "audit rows and writes": "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)",
    "a key of another run": f"UPDATE idempotency SET invocation_id = 7 WHERE invocation_id = {ONE}",
    "owed for no run": "INSERT INTO dispatches VALUES (7, 7, 'tenant-a', 'job', 7, 1)",
}


async def test_each_fault_in_a_store_fails_the_proof(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await rig.publish(engine)
        records = [await rig.invoke(engine, idempotency_key=f"k{n}") for n in range(3)]
    lines = [f"smoke_trigger k{n} {record['invocation_id']} succeeded ." for n, record in enumerate(records)]
    ledger = tmp_path / f"{ADMIN.username}.ledger"
    ledger.write_text("\n".join(lines) + "\n")
    told = crash_proof.ledger([ledger])
    store = tmp_path / "home" / "sluice.db"
    assert crash_proof.check(store, told)["invocations"] == 3
    copy = tmp_path / "faulty.db"
    for found, fault in FAULTS.items():
        assert _fails(store, copy, fault, told).startswith(found), found
    assert _fails(store, copy, "", told[1:]).startswith("accepted and never told")
    answers = [*told, (*told[0][:3], *told[1][3:])]  # of one key
    assert _fails(store, copy, "", answers).startswith("told otherwise")
    failed = [(*one[:5], "failed") for one in told]
    assert _fails(store, copy, "UPDATE invocations SET state = 'failed'", failed).startswith("not succeeded")
    doubled = [(*one[:2], "k0", *one[3:]) for one in told]
    assert _fails(store, copy, "UPDATE invocations SET idempotency_key = 'k0'", doubled).startswith("two rows")


def _fails(store: Path, copy: Path, fault: str, told: list[Told]) -> str:
    """What the proof says of a copy of a store with a fault."""
    shutil.copyfile(store, copy)
    with closing(sqlite3.connect(copy)) as db:
        assert not fault or db.execute(fault).rowcount > 0
        db.commit()
    with pytest.raises(AssertionError) as failure:
        crash_proof.check(copy, told)
    return str(failure.value)
