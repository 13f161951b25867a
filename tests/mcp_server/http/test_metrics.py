from __future__ import annotations

from typing import Any

from core.accepting import Reason, Room
from core.measures import RunTimes
from core.model.measure import Family
from core.operations import REGISTRY
from mcp_server.http import metrics
from mcp_server.http.exposition import OPENMETRICS, PLAIN, media_type, render
from mcp_server.http.metrics import MOST_JOBS, Metrics
from mcp_server.times import CallTimes
from mcp_server.toolcall import ToolCall

FIGURES = {"events_in": 10, "events_out": 7, "bytes_in": 900, "errors": 3, "runs": 2, "lag_seconds": 1.5}


def job(name: str, **more: Any) -> dict[str, Any]:
    return {
        "job": name,
        "replica": 0,
        "worker": "local-1",
        "state": "running",
        "restarts": 1,
        "metrics": FIGURES,
    } | more


def lines(families: Any) -> list[str]:
    return render(list(families)).splitlines()


def test_the_figures_of_jobs_are_series_with_their_tenant_job_replica_and_worker() -> None:
    found = lines(metrics.jobs([job("load"), job("idle", state="failed", metrics={})], "acme"))
    labels = 'tenant="acme",job="load",replica="0",worker="local-1"'
    assert f"sluice_job_events_out_total{{{labels}}} 7" in found
    assert f"sluice_job_lag_seconds{{{labels}}} 1.5" in found
    assert f"sluice_job_bytes_out_total{{{labels}}} 0" in found
    assert f"sluice_job_restarts_total{{{labels}}} 1" in found
    assert f"sluice_job_up{{{labels}}} 1" in found
    assert 'sluice_job_up{tenant="acme",job="idle",replica="0",worker="local-1"} 0' in found
    assert found.count("# TYPE sluice_job_events_in_total counter") == 1, "one type line for all series of a name"


def test_the_figures_of_a_schedule_are_series_of_its_job() -> None:
    figures = {"next": 1_795_829_400.0, "last_success": 0, "missed": 3, "paused": 0}
    found = lines(metrics.schedules([job("nightly", schedule=figures), job("plain")], "acme"))
    labels = 'tenant="acme",job="nightly"'
    assert f"sluice_schedule_next_timestamp_seconds{{{labels}}} 1795829400" in found
    assert f"sluice_schedule_last_success_timestamp_seconds{{{labels}}} 0" in found
    assert f"sluice_schedule_missed_total{{{labels}}} 3" in found
    assert f"sluice_schedule_paused{{{labels}}} 0" in found
    assert 'job="plain"' not in "".join(line for line in found if "schedule" in line)


def test_a_label_value_cannot_break_out_of_its_quotes() -> None:
    assert 'job="a\\"b\\\\c\\nd"' in render(list(metrics.jobs([job('a"b\\c\nd')], "t")))


def test_jobs_beyond_a_number_are_one() -> None:
    found = lines(metrics.jobs([job(f"j{number}") for number in range(MOST_JOBS + 3)], "acme"))
    assert 'sluice_job_events_in_total{tenant="acme",job="other"} 30' in found
    assert 'sluice_job_lag_seconds{tenant="acme",job="other"} 1.5' in found
    assert sum(line.startswith("sluice_job_events_in_total") for line in found) == MOST_JOBS + 1


def test_what_was_refused_is_told_by_stage_also_of_the_jobs_that_are_not_named() -> None:
    figures = {"refused_by_input": 2, "refused_by_actions": 3}
    found = lines(metrics.jobs([job(f"j{number}", metrics=figures) for number in range(MOST_JOBS + 3)], "acme"))
    labels = 'tenant="acme",job="j0",replica="0",worker="local-1"'
    assert f'sluice_job_events_refused_total{{{labels},stage="input"}} 2' in found
    assert f'sluice_job_events_refused_total{{{labels},stage="output"}} 0' in found
    assert 'sluice_job_events_refused_total{tenant="acme",job="other",stage="actions"} 9' in found


def test_the_age_of_the_oldest_letter_is_told_when_there_is_one() -> None:
    box = {"waiting": 1, "dropped": 0, "oldest_at": "1970-01-01T00:01:00.000Z"}
    found = lines(metrics.letters([job("load", letters=box), job("idle", letters={"waiting": 0, "dropped": 0})], "t"))
    told = [line for line in found if line.startswith("sluice_dead_letters_oldest")]
    assert told == ['sluice_dead_letters_oldest_timestamp_seconds{tenant="t",job="load"} 60']


def test_calls_of_all_tools_of_triggers_are_one_series() -> None:
    times = CallTimes()
    for tool, operation in (("job_list", "job_list"), ("trigger_a", "trigger_invoke"), ("trigger_b", "trigger_invoke")):
        times.observe(ToolCall(tool, REGISTRY[operation], {}), 0.2)
    counts = {one.labels["tool"]: sum(one.value.counts) for one in times.family().samples}
    assert counts == {"job_list": 1, "trigger": 2}


def test_how_long_runs_took_is_kept_of_so_many_jobs_and_of_the_others_together() -> None:
    times = RunTimes()
    for number in range(MOST_JOBS + 3):
        times.add("acme", f"j{number}", 0, 10**9)
    times.add("acme", "j0", 0, 10**9)
    found = dict(times.of("acme"))
    assert len(found) == MOST_JOBS + 1
    assert (sum(found["j0"].counts), sum(found["other"].counts)) == (2, 3)
    assert times.of("globex") == []


def test_without_jobs_there_are_no_series_of_jobs() -> None:
    assert lines(metrics.jobs([], "acme")) == [""]


def test_connections_are_shown_by_door_and_reason() -> None:
    room = Room("http", 8, 2)
    room.refused[Reason.SLOW] += 3
    found = lines(Metrics(lambda: 0.0).door([room], None))
    assert 'sluice_connections_open{door="http"} 0' in found
    assert 'sluice_connections_most{door="http"} 8' in found
    refused = {f'sluice_connections_refused_total{{door="http",reason="{one}"}}' for one in Reason}
    told = dict(line.split() for line in found if line.startswith("sluice_connections_refused"))
    assert told.keys() == refused
    assert {name for name, number in told.items() if number == "3"} == {
        'sluice_connections_refused_total{door="http",reason="slow"}'
    }


def test_requests_are_counted_and_timed_by_operation() -> None:
    now = 0.0
    door = Metrics(lambda: now)
    door.count("job_list", 200, -0.003)
    door.count("job_list", 404, -3.0)
    found = lines(door.door((), None))
    assert 'sluice_http_requests_total{operation="job_list",status="404"} 1' in found
    assert 'sluice_http_request_duration_seconds_bucket{operation="job_list",status="2xx",le="0.0025"} 0' in found
    assert 'sluice_http_request_duration_seconds_bucket{operation="job_list",status="2xx",le="0.005"} 1' in found
    assert 'sluice_http_request_duration_seconds_bucket{operation="job_list",status="4xx",le="+Inf"} 1' in found
    assert 'sluice_http_request_duration_seconds_sum{operation="job_list",status="4xx"} 3' in found


def test_who_asks_for_openmetrics_gets_it() -> None:
    assert media_type("application/openmetrics-text;version=1.0.0,text/plain;q=0.5") == OPENMETRICS
    assert media_type("*/*") == PLAIN
    counted = Metrics(lambda: 0.0)
    counted.count("job_list", 200, 0.0)
    text = render(list(counted.door((), None)), OPENMETRICS)
    assert "# TYPE sluice_http_requests counter" in text
    assert text.endswith("# EOF\n")


def test_a_family_is_the_same_after_its_way_to_another_process() -> None:
    counted = Metrics(lambda: 0.0)
    counted.count("job_list", 200, 0.0)
    families = list(counted.door((), None))
    assert render([Family.from_dict(one.to_dict()) for one in families]) == render(families)
