"""kill -9 of owners, attached clients, workers here and on other machines, and the NATS server, at random moments:
nothing accepted is lost, nothing runs twice in the records, and no state moves where its table has no way."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from tests import figures
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on
from tests.external import rig, server
from tests.scenarios import crash_proof
from tests.scenarios.crash_client import HEARTBEAT_SECONDS
from tests.scenarios.crash_fleet import EVERYBODY, GROUP, Fleet, Kind, Size

pytestmark = pytest.mark.anyio

HANDLER = (EXAMPLES / "smoke_trigger_handler.yaml").read_text()
ANSWER_SECONDS = 3600  # no run may time out for what is killed around it


async def _publish(fleet: Fleet) -> None:
    """A trigger whose job runs on local workers, and one whose job runs on workers of other machines alone."""
    definition = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
    definition["response_timeout_seconds"] = ANSWER_SECONDS
    async with engine_on(fleet.home, workers=2, nats=fleet.bus.url, heartbeat_seconds=HEARTBEAT_SECONDS) as engine:
        await engine.call("trigger_publish", definition, ADMIN)
        await deploy(engine, HANDLER, replicas=2)
        await engine.call("worker_group_create", {"name": GROUP, "tenants": [ADMIN.tenant]}, ADMIN)
        await rig.token(engine, fleet.token, group=GROUP)
        for name in fleet.machines:
            fleet.start_machine(name)
        for name in fleet.machines:
            await rig.online(engine, name)
        edge = {"slug": "edge_smoke", "target_job_name": "edge_handler", "target_message_tag": "edge.invoke"}
        await engine.call("trigger_publish", {**definition, **edge}, ADMIN)
        document = HANDLER.replace("smoke_trigger_handler", "edge_handler").replace("smoke.invoke", "edge.invoke")
        await deploy(engine, document, worker_group=GROUP, replicas=len(fleet.machines))


CI = Size(
    clients=2,
    runs=120,
    lanes=8,
    strokes={Kind.WORKER: 2, Kind.EXTERNAL: 3, Kind.CLIENT: 1, Kind.OWNER: 1, Kind.NATS: 1, EVERYBODY: 1},
    kills=7,
    machines=2,
    edge_runs=80,
    edge_lanes=6,
)
RELEASE = Size(
    clients=3,
    runs=33_334,
    lanes=10,
    strokes={
        Kind.WORKER: 1500,
        Kind.EXTERNAL: 900,
        Kind.CLIENT: 360,
        Kind.OWNER: 100,
        Kind.NATS: 120,
        EVERYBODY: 20,  # three each
    },
    kills=3000,
    machines=2,
    edge_runs=33_333,
    edge_lanes=14,
    seconds=2 * 3600,
)


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(CI, id="ci"),
        pytest.param(RELEASE, id="release", marks=pytest.mark.soak),
    ],
)
async def test_kills_at_random_lose_and_double_nothing(
    tmp_path: Path, size: Size, record_property: figures.Recorder
) -> None:
    with server.running("-js", "-sd", str(tmp_path / "jetstream"), log=tmp_path / "nats.said") as bus:
        fleet = Fleet(tmp_path / "home", size, bus)
        try:
            with anyio.fail_after(60):
                await _publish(fleet)
            for name in fleet.names:
                fleet.start_client(name)
            await fleet.run()
        finally:
            fleet.end()
    async with engine_on(fleet.home, workers=2):
        pass  # an engine starts on what is left, and ends in order
    told = crash_proof.ledger(tmp_path / f"{name}.ledger" for name in fleet.names)
    assert len(told) == size.total
    figures.record(record_property, kills=fleet.kills.total(), runs=len(told))
    found = crash_proof.check(fleet.home / "sluice.db", told)
    figures.record(record_property, lost=0, doubled=0)  # of which there would have been an error
    print({**fleet.kills, **found})
    assert found["on external workers"] == fleet.edge_total
    for name, said in fleet.said().items():
        assert "Traceback" not in said, f"{name}: {said[said.index('Traceback') :][:5000]}"
    assert fleet.kills.total() >= size.kills
    assert fleet.kills[Kind.OWNER] and fleet.kills[Kind.EXTERNAL] and fleet.kills[Kind.NATS]
