"""The measures of the HTTP door, of running jobs, and of the engine: what `/metrics` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from core import clock
from core.accepting import Reason, Room
from core.model.measure import MOST_JOBS, OTHER, Family, Histogram, Sample, Type, by_label, single
from mcp_server import limits
from mcp_server.live import Live


class Metrics:
    """Requests and seconds by operation: every label is one of ours, so their number is bounded by the operations."""

    def __init__(self, now: Callable[[], float] = clock.monotonic) -> None:
        self.now = now
        self._started = now()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[tuple[str, str], Histogram] = {}

    def count(self, operation: str, status: int, started: float) -> None:
        self._requests[operation, status] += 1
        key = (operation, f"{status // 100}xx")
        took = self._seconds.get(key)
        if took is None:
            took = self._seconds[key] = Histogram()
        took.observe(self.now() - started)

    def uptime(self) -> Family:
        return single("uptime_seconds", "gauge", "Time since this server started.", self.now() - self._started)

    def door(self, rooms: Sequence[Room], live: Live | None) -> Iterator[Family]:
        """What all tenants together ask of this door: for who operates it."""
        requests = [
            Sample(number, {"operation": name, "status": str(status)})
            for (name, status), number in sorted(self._requests.items())
        ]
        yield Family("http_requests_total", "counter", "Requests by operation and status.", requests)
        took = [
            Sample(seconds, {"operation": name, "status": status})
            for (name, status), seconds in sorted(self._seconds.items())
        ]
        yield Family("http_request_duration_seconds", "histogram", "Time spent answering.", took)
        yield from _connections(rooms)
        if live is not None:
            yield live.calls.family()
            yield from _live(live)


def _connections(rooms: Sequence[Room]) -> Iterator[Family]:
    opened = [(room.door, room.open) for room in rooms]
    yield by_label("connections_open", "gauge", "Connections that are open, by door.", "door", opened)
    most = [(room.door, room.most) for room in rooms]
    yield by_label("connections_most", "gauge", "How many connections a door takes.", "door", most)
    refused = [
        Sample(room.refused[reason], {"door": room.door, "reason": str(reason)}) for room in rooms for reason in Reason
    ]
    help = "Connections that were not let in or sent away, by door and reason."
    yield Family("connections_refused_total", "counter", help, refused)


def _live(live: Live) -> Iterator[Family]:
    limiter = live.limiter
    opened = [(kind, limiter.count(kind)) for kind in limits.KINDS]
    help = "Waits, event streams and MCP sessions that are open now."
    yield by_label("long_answers", "gauge", help, "kind", opened)
    most = [
        Sample(most, {"kind": kind, "of": whose})
        for kind in limits.KINDS
        for whose, most in zip(limits.WHOSE, limiter.most[kind], strict=True)
    ]
    yield Family("long_answers_limit", "gauge", "How many one user, or one tenant, may have open.", most)
    refused = [
        Sample(limiter.refused[kind, whose], {"kind": kind, "of": whose})
        for kind in limits.KINDS
        for whose in limits.WHOSE
    ]
    help = "Those that were one too many, by whose limit it was."
    yield Family("long_answers_refused_total", "counter", help, refused)
    ended = [
        Sample(number, {"kind": kind, "reason": reason.value}) for (kind, reason), number in sorted(live.ended.items())
    ]
    yield Family("long_answers_ended_total", "counter", "Those that were ended, by the reason.", ended)


STAGES = ("input", "actions", "output")
_JOBS: tuple[tuple[str, Type, str, str], ...] = (
    ("events_in_total", "counter", "events_in", "Events that the input has read, and replayed dead letters."),
    ("events_out_total", "counter", "events_out", "Events that the output has accepted."),
    ("bytes_in_total", "counter", "bytes_in", "Bytes that the input has read."),
    ("bytes_out_total", "counter", "bytes_out", "Bytes that the output has written."),
    (
        "errors_total",
        "counter",
        "errors",
        "What a component told as a fault: all that was refused, and lines that came as text for want of JSON.",
    ),
    (
        "conditions_failed_total",
        "counter",
        "conditions_failed",
        "Events for which a condition could not be worked out.",
    ),
    ("runs_total", "counter", "runs", "Runs that ended, also of replayed messages."),
    ("runs_failed_total", "counter", "runs_failed", "Runs that failed."),
    ("lag_seconds", "gauge", "lag_seconds", "Age of the oldest message or batch that is not yet accepted."),
)

_CALLS: tuple[tuple[str, Type, str, str], ...] = (
    ("calls_total", "counter", "calls", "Requests that its actions have sent, each try."),
    ("calls_failed_total", "counter", "calls_failed", "Calls of its actions that gave no usable answer."),
    ("cache_hits_total", "counter", "cache_hits", "Answers that its actions remembered."),
    ("cache_misses_total", "counter", "cache_misses", "Answers that a cache of its actions did not hold."),
    ("prompt_tokens_total", "counter", "prompt_tokens", "Tokens that models have read for it."),
    ("completion_tokens_total", "counter", "completion_tokens", "Tokens that models have written for it."),
    (
        "cost_millionths_total",
        "counter",
        "cost_millionths",
        "Cost of models by the prices of its document, in millionths of their unit.",
    ),
)


def jobs(items: Sequence[Mapping[str, Any]], tenant: str) -> Iterator[Family]:
    """What items of job_metrics say, of one tenant; those beyond MOST_JOBS are one job, `other`."""
    named, others = items[:MOST_JOBS], items[MOST_JOBS:]
    labels = [{"tenant": tenant, **{key: str(one[key]) for key in ("job", "replica", "worker")}} for one in named]
    rest = {"tenant": tenant, "job": OTHER}
    call = [any(one["metrics"].get(key, 0) for *_, key, _ in _CALLS) for one in named]  # few do: the others tell none
    for name, type, key, help in (*_JOBS, *_CALLS):
        every = (name, type, key, help) in _JOBS
        samples = [
            Sample(one["metrics"].get(key, 0), label)
            for label, one, calls in zip(labels, named, call, strict=True)
            if every or calls
        ]
        if others:
            figures = [one["metrics"].get(key, 0) for one in others]
            samples.append(Sample(sum(figures) if type == "counter" else max(figures), rest))
        yield Family(f"job_{name}", type, help, samples)
    refused = []
    for stage in STAGES:
        figures = [one["metrics"].get(f"refused_by_{stage}", 0) for one in items]
        refused += [Sample(n, {**label, "stage": stage}) for n, label in zip(figures, labels, strict=False)]
        if others:
            refused.append(Sample(sum(figures[MOST_JOBS:]), {**rest, "stage": stage}))
    help = "What was refused, by the stage of the job that did."
    yield Family("job_events_refused_total", "counter", help, refused)
    restarts = [Sample(one["restarts"], label) for label, one in zip(labels, named, strict=True)]
    yield Family("job_restarts_total", "counter", "How often a job was started again after a failure.", restarts)
    up = [
        Sample(int(one["state"] in ("running", "completed")), label) for label, one in zip(labels, named, strict=True)
    ]
    yield Family("job_up", "gauge", "Whether a job is running or complete.", up)


_SCHEDULES: tuple[tuple[str, Type, str, str], ...] = (
    ("next_timestamp_seconds", "gauge", "next", "When a job fires next by its schedule; 0: not at all."),
    ("last_success_timestamp_seconds", "gauge", "last_success", "When the last run that succeeded ended; 0: none has."),
    ("missed_total", "counter", "missed", "Firings that came due while nothing could run them."),
    ("paused", "gauge", "paused", "Whether the schedule of a job is paused."),
)


def schedules(items: Sequence[Mapping[str, Any]], tenant: str) -> Iterator[Family]:
    """What items of job_metrics say of schedules, of one tenant."""
    named = [({"tenant": tenant, "job": one["job"]}, one["schedule"]) for one in items if "schedule" in one]
    for name, type, key, help in _SCHEDULES:
        samples = [Sample(figures[key], labels) for labels, figures in named[:MOST_JOBS]]
        yield Family(f"schedule_{name}", type, help, samples)


def letters(items: Sequence[Mapping[str, Any]], tenant: str) -> Iterator[Family]:
    """What items of job_metrics say of dead letters, which the replicas of a job share."""
    boxes = {one["job"]: one["letters"] for one in items[:MOST_JOBS]}
    oldest = [
        Sample(datetime.fromisoformat(box["oldest_at"]).timestamp(), {"tenant": tenant, "job": job})
        for job, box in boxes.items()
        if "oldest_at" in box
    ]
    help = "When the oldest of the letters that wait was written."
    yield Family("dead_letters_oldest_timestamp_seconds", "gauge", help, oldest)
    for name, key, help in (
        ("dead_letters", "waiting", "Events that a job refused and that wait for somebody."),
        ("dead_letters_dropped", "dropped", "Refused events that were not kept since the box was emptied."),
    ):
        samples = [Sample(box[key], {"tenant": tenant, "job": job}) for job, box in boxes.items()]
        yield Family(name, "gauge", help, samples)
