"""What runs and does nothing of use ends as a warning that says why, and never as a failure of the apply."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from core import clock
from core.engine import Engine
from core.fleet import evidence, fleet
from tests import waiting
from tests.engines import ADMIN, deploy, engine_on

pytestmark = pytest.mark.anyio

TYPO = """
name: typo
input: {{echo: {{event: '{{"host": "a"}}', json: true, trigger: {{interval: 50ms}}}}}}
output: {{file: {{path: "{path}/${{hots}}.log"}}}}
"""
READER = """
name: reader
input: {{files: {{paths: "{path}/*.log"}}}}
output: {{discard: {{}}}}
"""


BLIND = """
name: blind
input: {echo: {event: '{"host": "a"}', json: true}}
actions: [{filter: {condition: total > 5}}]
output: {discard: {}}
"""


async def health(engine: Engine, job: str) -> dict[str, Any]:
    return (await engine.call("workload_list", {"job": job}, ADMIN))["items"][0]


async def warned(engine: Engine, job: str) -> dict[str, Any]:
    return await waiting.until(lambda: health(engine, job), lambda one: one["health"] == "warning")


async def test_a_typo_in_the_path_of_an_output_is_a_warning_that_outlives_the_engine(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with engine_on(home) as engine:
        await deploy(engine, TYPO.format(path=tmp_path / "out"))
        one = await warned(engine, "typo")
        assert one["state"] == "running"
        assert one["reason"].startswith("EventsAccepted: none of the last events came through: file: ")
        shown = await engine.call("job_get", {"name": "typo"}, ADMIN)
        false = [typed for typed in shown["workloads"][0]["conditions"] if typed["status"] == "false"]
        assert [typed["type"] for typed in false] == ["EventsAccepted"]
        families = (await engine.call("tenant_metrics", {}, ADMIN))["families"]
        told = {family["name"]: family["samples"] for family in families}
        values = {sample["labels"]["type"]: sample["value"] for sample in told["job_condition"]}
        assert (values["EventsAccepted"], values["Running"]) == (0, 1)
        (since,) = told["job_unhealthy_since_timestamp_seconds"]
        assert since["labels"] == {"tenant": "tenant-a", "job": "typo"}
        found = await engine.call("message_search", {"type": "health-changed"}, ADMIN)
        assert [message["message_data"]["health"] for message in found["items"]] == ["warning"]
        why = await engine.call("explain", {"kind": "job", "id": "typo"}, ADMIN)
        assert "EventsAccepted" in orjson.dumps(why).decode()
    async with engine_on(home) as engine:
        again = (await engine.call("job_get", {"name": "typo"}, ADMIN))["workloads"][0]
        kept = next(typed for typed in again["conditions"] if typed["type"] == "EventsAccepted")
        assert (kept["status"], kept["since"]) == ("false", false[0]["since"])
        assert (await warned(engine, "typo"))["reason"].startswith("EventsAccepted")
        families = (await engine.call("tenant_metrics", {}, ADMIN))["families"]
        (unhealthy,) = [one for one in families if one["name"] == "job_unhealthy_since_timestamp_seconds"]
        assert unhealthy["samples"] == [since], "an alert that waits does not begin anew with the engine"


async def test_a_filter_whose_condition_fails_for_every_event_is_a_warning_and_counted(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, BLIND)
        one = await warned(engine, "blind")
        assert one["reason"].startswith(
            "EventsAccepted: a condition could be worked out for none of the last 1 events: "
        )
        assert "attempt to compare" in one["reason"]
        shown = (await engine.call("job_metrics", {"name": "blind"}, ADMIN))["items"][0]["metrics"]
        assert (shown["conditions_failed"], shown["errors"]) == (1, 0)


ONCE = """
name: once
input: {{echo: {{event: '{{"host": "a"}}', json: true}}}}
output: {{file: {{path: "{path}/${{host}}.log"}}}}
"""


@pytest.mark.parametrize("way", ["dead_letter_replay", "dead_letter_discard"])
async def test_a_completed_job_is_well_again_when_its_letters_are_settled(tmp_path: Path, way: str) -> None:
    async with engine_on(tmp_path / "home") as engine:
        (tmp_path / "out" / "a.log").mkdir(parents=True)
        await deploy(engine, ONCE.format(path=tmp_path / "out"))
        one = await warned(engine, "once")
        assert one["state"] == "completed"
        (tmp_path / "out" / "a.log").rmdir()
        await engine.call(way, {"job": "once"}, ADMIN)
        await waiting.until(lambda: health(engine, "once"), lambda one: one["health"] == "healthy")
        shown = await engine.call("job_get", {"name": "once"}, ADMIN)
        assert "conditions" not in shown["workloads"][0], "none is false"
        if way == "dead_letter_replay":
            assert (tmp_path / "out" / "a.log").read_text() == '{"host":"a"}\n'
            await waiting.until(
                lambda: engine.call("job_metrics", {"name": "once"}, ADMIN),
                lambda told: told["items"][0]["metrics"]["events_out"] == 1,
            )


@pytest.mark.parametrize("link", [os.link, os.symlink])
async def test_a_reader_that_skips_every_file_is_a_warning_until_it_reads_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: Callable[[Path, Path], None]
) -> None:
    monkeypatch.setattr(evidence, "SETTLED_SECONDS", 0.3)
    monkeypatch.setattr(fleet, "AGE_SECONDS", 0.1)
    source = tmp_path / "in"
    source.mkdir()
    (source / ("a.log" if link is os.link else "real")).write_text("one\n")
    link(next(source.iterdir()), source / "b.log")  # neither is read
    async with engine_on(tmp_path / "home") as engine:
        await deploy(engine, READER.format(path=source))
        one = await warned(engine, "reader")
        assert one["reason"].startswith("InputConnected: whatever its input sees is skipped: files: ")
        since = one["since"]
        (source / "c.log").write_text("two\n")
        well = await waiting.until(lambda: health(engine, "reader"), lambda one: one["health"] == "healthy")
        assert since < well["since"] <= clock.iso(engine.now_ns())
