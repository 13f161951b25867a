"""Counters of the HTTP door and the figures of running jobs in the Prometheus text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from core import clock
from core.accepting import Reason, Room
from mcp_server import limits
from mcp_server.live import Live

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Requests and seconds by operation: every label is one of ours, so their number is bounded by the operations."""

    def __init__(self, now: Callable[[], float] = clock.monotonic) -> None:
        self.now = now
        self._started = now()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[str, float] = {}

    def count(self, operation: str, status: int, started: float) -> None:
        self._requests[operation, status] += 1
        self._seconds[operation] = self._seconds.get(operation, 0.0) + self.now() - started

    def render(
        self,
        jobs: Sequence[dict[str, Any]] = (),
        tenant: str = "",
        rooms: Sequence[Room] = (),
        live: Live | None = None,
        *,
        requests: bool = True,
        status: dict[str, Any] | None = None,
    ) -> str:
        """All series; `jobs` are the items of job_metrics for that tenant, `status` is the answer of engine_status.

        `requests`, connections and long answers are those of all tenants: leave them out for who is no operator.
        """
        lines = [
            "# HELP sluice_uptime_seconds Time since this server started.",
            "# TYPE sluice_uptime_seconds gauge",
            f"sluice_uptime_seconds {self.now() - self._started:.3f}",
            *((*self._door(), *_connections(rooms), *_live(live)) if requests else ()),
            *(_engine(status) if status is not None else ()),
        ]
        return "\n".join([*lines, *_jobs(jobs, tenant), *_schedules(jobs, tenant)]) + "\n"

    def _door(self) -> list[str]:
        lines = [
            "# HELP sluice_http_requests_total Requests by operation and status.",
            "# TYPE sluice_http_requests_total counter",
        ]
        for (name, status), number in sorted(self._requests.items()):
            lines.append(f'sluice_http_requests_total{{operation="{name}",status="{status}"}} {number}')
        lines += [
            "# HELP sluice_http_request_seconds_total Time spent answering, by operation.",
            "# TYPE sluice_http_request_seconds_total counter",
        ]
        for name, seconds in sorted(self._seconds.items()):
            lines.append(f'sluice_http_request_seconds_total{{operation="{name}"}} {seconds:.6f}')
        return lines


def _connections(rooms: Sequence[Room]) -> Iterator[str]:
    yield "# HELP sluice_connections_open Connections that are open, by door."
    yield "# TYPE sluice_connections_open gauge"
    yield from (f'sluice_connections_open{{door="{room.door}"}} {room.open}' for room in rooms)
    yield "# HELP sluice_connections_most How many connections a door takes."
    yield "# TYPE sluice_connections_most gauge"
    yield from (f'sluice_connections_most{{door="{room.door}"}} {room.most}' for room in rooms)
    yield "# HELP sluice_connections_refused_total Connections that were not let in or sent away, by door and reason."
    yield "# TYPE sluice_connections_refused_total counter"
    for room in rooms:
        for reason in Reason:
            labels = f'door="{room.door}",reason="{reason}"'
            yield f"sluice_connections_refused_total{{{labels}}} {room.refused[reason]}"


def _live(live: Live | None) -> Iterator[str]:
    if live is None:
        return
    limiter = live.limiter
    yield "# HELP sluice_long_answers Waits, event streams and MCP sessions that are open now."
    yield "# TYPE sluice_long_answers gauge"
    for kind in limits.KINDS:
        yield f'sluice_long_answers{{kind="{kind}"}} {limiter.count(kind)}'
    yield "# HELP sluice_long_answers_limit How many one user, or one tenant, may have open."
    yield "# TYPE sluice_long_answers_limit gauge"
    for kind in limits.KINDS:
        for whose, most in zip(limits.WHOSE, limiter.most[kind], strict=True):
            yield f'sluice_long_answers_limit{{kind="{kind}",of="{whose}"}} {most}'
    yield "# HELP sluice_long_answers_refused_total Those that were one too many, by whose limit it was."
    yield "# TYPE sluice_long_answers_refused_total counter"
    for kind in limits.KINDS:
        for whose in limits.WHOSE:
            yield f'sluice_long_answers_refused_total{{kind="{kind}",of="{whose}"}} {limiter.refused[kind, whose]}'
    yield "# HELP sluice_long_answers_ended_total Those that were ended, by the reason."
    yield "# TYPE sluice_long_answers_ended_total counter"
    for (kind, reason), number in sorted(live.ended.items()):
        yield f'sluice_long_answers_ended_total{{kind="{kind}",reason="{reason.value}"}} {number}'


def _engine(status: dict[str, Any]) -> Iterator[str]:
    yield "# HELP sluice_loop_failures_total Failed steps of a loop that keeps the engine going."
    yield "# TYPE sluice_loop_failures_total counter"
    for loop in status["loops"]:
        yield f"sluice_loop_failures_total{{{_labels(loop=loop['name'])}}} {loop['failures']}"
    yield "# HELP sluice_worker_deaths_total Ends of workers for which a job was to blame."
    yield "# TYPE sluice_worker_deaths_total counter"
    for cause, number in sorted(status["worker_deaths"].items()):
        yield f"sluice_worker_deaths_total{{{_labels(cause=cause)}}} {number}"
    yield "# HELP sluice_jobs_quarantined Jobs that do not run because their workers ended again and again."
    yield "# TYPE sluice_jobs_quarantined gauge"
    yield f"sluice_jobs_quarantined {len(status['quarantined'])}"
    yield "# HELP sluice_tenants_on_probation Tenants of which nothing new runs because their jobs ended workers."
    yield "# TYPE sluice_tenants_on_probation gauge"
    yield f"sluice_tenants_on_probation {len(status['probation'])}"
    yield "# HELP sluice_workers_overreached_total What workers said of workloads that they were not told to run."
    yield "# TYPE sluice_workers_overreached_total counter"
    yield f"sluice_workers_overreached_total {status['overreached']}"
    yield "# HELP sluice_worker_ends_unbelieved_total Ends that workers told and that are of nothing placed on them."
    yield "# TYPE sluice_worker_ends_unbelieved_total counter"
    yield f"sluice_worker_ends_unbelieved_total {status['unbelieved']}"
    yield "# HELP sluice_log_lines_dropped_total Lines of job logs that were not kept, by reason."
    yield "# TYPE sluice_log_lines_dropped_total counter"
    for reason, number in sorted(status["log_lines_dropped"].items()):
        yield f"sluice_log_lines_dropped_total{{{_labels(reason=reason)}}} {number}"


_JOBS = (
    ("events_in_total", "counter", "events_in", "Events that the input has read."),
    ("events_out_total", "counter", "events_out", "Events that the output has accepted."),
    ("bytes_in_total", "counter", "bytes_in", "Bytes that the input has read."),
    ("bytes_out_total", "counter", "bytes_out", "Bytes that the output has written."),
    ("errors_total", "counter", "errors", "Events that a component refused."),
    ("runs_total", "counter", "runs", "Runs that ended."),
    ("runs_failed_total", "counter", "runs_failed", "Runs that failed."),
    ("lag_seconds", "gauge", "lag_seconds", "Age of the oldest message or batch that is not yet accepted."),
)


def _jobs(jobs: Sequence[dict[str, Any]], tenant: str) -> Iterator[str]:
    named = [
        (_labels(tenant=tenant, job=one["job"], replica=one["replica"], worker=one["worker"]), one) for one in jobs
    ]
    for name, type, key, text in _JOBS if jobs else ():
        yield f"# HELP sluice_job_{name} {text}"
        yield f"# TYPE sluice_job_{name} {type}"
        for labels, one in named:
            yield f"sluice_job_{name}{{{labels}}} {one['metrics'].get(key, 0)}"
    if jobs:
        yield "# HELP sluice_job_restarts_total How often a job was started again after a failure."
        yield "# TYPE sluice_job_restarts_total counter"
        for labels, one in named:
            yield f"sluice_job_restarts_total{{{labels}}} {one['restarts']}"
        yield "# HELP sluice_job_up Whether a job is running or complete."
        yield "# TYPE sluice_job_up gauge"
        for labels, one in named:
            yield f"sluice_job_up{{{labels}}} {int(one['state'] in ('running', 'completed'))}"


_SCHEDULES = (
    ("next_timestamp_seconds", "gauge", "next", "When a job fires next by its schedule; 0: not at all."),
    ("last_success_timestamp_seconds", "gauge", "last_success", "When the last run that succeeded ended; 0: none has."),
    ("missed_total", "counter", "missed", "Firings that came due while nothing could run them."),
    ("paused", "gauge", "paused", "Whether the schedule of a job is paused."),
)


def _schedules(jobs: Sequence[dict[str, Any]], tenant: str) -> Iterator[str]:
    named = [(_labels(tenant=tenant, job=one["job"]), one["schedule"]) for one in jobs if "schedule" in one]
    for name, type, key, text in _SCHEDULES if named else ():
        yield f"# HELP sluice_schedule_{name} {text}"
        yield f"# TYPE sluice_schedule_{name} {type}"
        for labels, figures in named:
            yield f"sluice_schedule_{name}{{{labels}}} {figures[key]:.15g}"


def _labels(**labels: object) -> str:
    """Label values escaped as the format wants it; the names of jobs are a user's."""
    return ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
