"""Counters of the HTTP door in the Prometheus text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from core import clock

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Requests and seconds by operation; every label is one of ours, so the number of series is bounded."""

    def __init__(self, now: Callable[[], float] = clock.monotonic) -> None:
        self.now = now
        self._started = now()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[str, float] = {}

    def count(self, operation: str, status: int, started: float) -> None:
        self._requests[operation, status] += 1
        self._seconds[operation] = self._seconds.get(operation, 0.0) + self.now() - started

    def render(self) -> str:
        lines = [
            "# HELP sluice_uptime_seconds Time since this server started.",
            "# TYPE sluice_uptime_seconds gauge",
            f"sluice_uptime_seconds {self.now() - self._started:.3f}",
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
        return "\n".join(lines) + "\n"
