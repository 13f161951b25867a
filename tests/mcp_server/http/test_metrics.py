from __future__ import annotations

from typing import Any

from core.accepting import Reason, Room
from mcp_server.http.metrics import Metrics

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


def test_the_figures_of_jobs_are_series_with_their_tenant_job_replica_and_worker() -> None:
    lines = Metrics(lambda: 0.0).render([job("load"), job("idle", state="failed", metrics={})], "acme").splitlines()
    labels = 'tenant="acme",job="load",replica="0",worker="local-1"'
    assert f"sluice_job_events_out_total{{{labels}}} 7" in lines
    assert f"sluice_job_lag_seconds{{{labels}}} 1.5" in lines
    assert f"sluice_job_bytes_out_total{{{labels}}} 0" in lines
    assert f"sluice_job_restarts_total{{{labels}}} 1" in lines
    assert f"sluice_job_up{{{labels}}} 1" in lines
    assert 'sluice_job_up{tenant="acme",job="idle",replica="0",worker="local-1"} 0' in lines
    assert lines.count("# TYPE sluice_job_events_in_total counter") == 1, "one type line for all series of a name"


def test_a_label_value_cannot_break_out_of_its_quotes() -> None:
    text = Metrics(lambda: 0.0).render([job('a"b\\c\nd')], "t")
    assert 'job="a\\"b\\\\c\\nd"' in text


def test_connections_are_shown_by_door_and_reason_to_who_operates_the_server() -> None:
    room = Room("http", 8, 2)
    room.refused[Reason.SLOW] += 3
    lines = Metrics(lambda: 0.0).render(rooms=[room]).splitlines()
    assert 'sluice_connections_open{door="http"} 0' in lines
    assert 'sluice_connections_most{door="http"} 8' in lines
    assert 'sluice_connections_refused_total{door="http",reason="slow"} 3' in lines
    assert {f'sluice_connections_refused_total{{door="http",reason="{one}"}} 0' for one in Reason} - set(lines) == {
        'sluice_connections_refused_total{door="http",reason="slow"} 0'
    }
    assert "sluice_connections" not in Metrics(lambda: 0.0).render(rooms=[room], requests=False)


def test_without_jobs_there_are_no_series_of_jobs() -> None:
    assert "sluice_job_" not in Metrics(lambda: 0.0).render()


def test_loops_ends_of_workers_and_quarantined_jobs_are_shown_to_who_operates_the_server() -> None:
    loops = [{"name": "reconcile", "failures": 2, "failing": True, "reason": "no"}]
    status = {
        "loops": loops,
        "worker_deaths": {"silent": 3},
        "overreached": 2,
        "quarantined": ["acme/evil"],
        "probation": {},
    }
    status["unbelieved"] = 4
    status["log_lines_dropped"] = {"disk": 7}
    lines = Metrics(lambda: 0.0).render(status=status).splitlines()
    assert 'sluice_loop_failures_total{loop="reconcile"} 2' in lines
    assert 'sluice_worker_deaths_total{cause="silent"} 3' in lines
    assert "sluice_jobs_quarantined 1" in lines
    assert "sluice_worker_ends_unbelieved_total 4" in lines
    assert 'sluice_log_lines_dropped_total{reason="disk"} 7' in lines
    assert not any("quarantined" in line for line in Metrics(lambda: 0.0).render().splitlines())
