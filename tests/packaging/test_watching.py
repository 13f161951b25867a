"""What is shipped for Prometheus and Grafana fits what the engine tells; promtool (Debian: prometheus) has its say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from core.accepting import Room
from core.model.condition import Health
from core.model.measure import Family
from core.model.typed_condition import Finding, Status, Type
from core.operations import REGISTRY
from mcp_server.http import exposition
from mcp_server.http.metrics import Metrics, jobs, letters, schedules
from mcp_server.live import Live, Reason
from mcp_server.toolcall import ToolCall
from tests.engines import ADMIN, engine_on

PACKAGING = Path(__file__).parents[2] / "packaging"
NAME = re.compile(r"\bsluice_[a-z_]+")
SAMPLES = ("_bucket", "_sum", "_count")
JOB = {
    "job": 'a"b\\c\nd',
    "replica": 0,
    "worker": "w",
    "state": "running",
    "restarts": 1,
    "metrics": {"lag_seconds": 1.5},
    "letters": {"waiting": 1, "dropped": 0, "oldest_at": "2026-10-01T06:00:00.000Z"},
    "schedule": {"next": 1.8e9, "last_success": 1.7e9, "missed": 2, "paused": 0},
}

pytestmark = pytest.mark.anyio


@pytest.fixture
async def families(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Family]:
    """All that there is to tell, with at least one sample each."""
    door = Metrics()
    door.count("job_list", 200, door.now())
    room, live = Room("http", 8, 2), Live()
    live.ended["stream", Reason.SLOW] += 1
    live.calls.observe(ToolCall("job_list", REGISTRY["job_list"], {}), 0.2)
    async with engine_on(tmp_path / "home", workers=0) as engine:
        engine.fleet.inquest.deaths["silent"] += 1
        engine.logbook.dropped["disk"] += 1
        monkeypatch.setattr(engine.pending, "owed", lambda: [10**9])
        engine.ends.add("acme", "succeeded", 0, 10**9)
        engine.lag.seconds.observe(0.2)
        told = await engine.call("engine_metrics", {}, ADMIN)
        engine.fleet.run_times.add("tenant-a", "load", 0, 10**9)
        monkeypatch.setattr(engine.fleet, "backlogs", lambda tenant: {"load": 3})
        lost = {Type.PLACED: Finding(Status.FALSE, "NoWorker"), Type.RUNNING: Finding(Status.UNKNOWN, "NothingToldYet")}
        engine.fleet.conditions.saw_deployment("tenant-a", "d", Health.DEGRADED, "", 1, lost)
        of_tenant = await engine.call("tenant_metrics", {}, ADMIN)
    return [
        door.uptime(),
        *door.door([room], live),
        *map(Family.from_dict, told["families"]),
        *map(Family.from_dict, of_tenant["families"]),
        *jobs([JOB], "acme"),
        *schedules([JOB], "acme"),
        *letters([JOB], "acme"),
    ]


async def test_what_is_told_reads_as_both_formats(families: list[Family]) -> None:
    for kind, parse in ((exposition.PLAIN, plain), (exposition.OPENMETRICS, openmetrics)):
        found = {family.name: family for family in parse(exposition.render(families, kind))}
        assert {one.labels["job"] for one in found["sluice_job_up"].samples} == {JOB["job"]}
        ends = found["sluice_invocation_duration_seconds"].samples
        assert [one.value for one in ends if one.name.endswith("_count")] == [1]
        assert {one.value for one in ends if one.labels.get("le") in ("0.5", "1")} == {0, 1}
        (condition,) = found["sluice_deployment_condition"].samples  # what is unknown is not told
        assert (condition.labels["type"], condition.value) == ("Placed", 0)


async def test_every_family_is_in_the_manual(families: list[Family]) -> None:
    page = (PACKAGING.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(sluice_[a-z_]+)` \|", page, re.MULTILINE))
    assert told == {f"sluice_{family.name}" for family in families}


async def test_rules_and_dashboard_ask_for_what_there_is(families: list[Family]) -> None:
    told = {f"sluice_{family.name}" for family in families}
    told |= {name + end for name in tuple(told) for end in SAMPLES}
    for place, texts in (("prometheus/rules.yml", None), ("grafana/sluice.json", _queries)):
        text = (PACKAGING / place).read_text(encoding="utf-8")
        asked = set(NAME.findall(text if texts is None else " ".join(texts(json.loads(text)))))
        assert len(asked) > 8
        assert asked <= told, place


def _queries(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (one["query"] for one in dashboard["templating"]["list"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
async def test_promtool_accepts_rules_and_names(families: list[Family]) -> None:
    assert _promtool("check", "rules", "rules.yml") == ""
    assert _promtool("test", "rules", "rules-test.yml") == ""
    assert _promtool("check", "metrics", text=exposition.render(families)) == ""


def _promtool(*words: str, text: str = "") -> str:
    """What it says of a fault; empty when it has none."""
    place = PACKAGING / "prometheus"
    done = subprocess.run(["promtool", *words], cwd=place, input=text, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 and not done.stderr else done.stdout + done.stderr
