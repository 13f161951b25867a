"""What `sluice series` and `sluice metrics` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.model.measure import Family
from mcp_server.cli import render
from mcp_server.http import exposition

_BARS = "▁▂▃▄▅▆▇█"
_GAP = " "


def graphs(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print a line of bars for each rate, with its last and its largest value."""
    render.text(
        f"{found['since']} to {found['until']}, a bar for {found['step_seconds']} s; a blank where nobody looked"
    )
    rows = [
        {"what": name, "graph": bars(values), "last": _figure(_last(values)), "most": _figure(most(values))}
        for name, values in found["rates"].items()
    ]
    render.rows(rows, ("what", "graph", "last", "most"), empty="Nothing is known.")
    if found["left_out"]:
        render.text(f"{found['left_out']} workloads have no series: there are too many.")


def bars(values: Sequence[float | None]) -> str:
    """The values as blocks, as high as they are compared with the largest one."""
    top = most(values) or 1.0
    return "".join(_GAP if one is None else _BARS[round(one / top * (len(_BARS) - 1))] for one in values)


def most(values: Sequence[float | None]) -> float | None:
    return max((one for one in values if one is not None), default=None)


def _last(values: Sequence[float | None]) -> float | None:
    return next((one for one in reversed(values) if one is not None), None)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def families(found: dict[str, Any], typed: Mapping[str, Any]) -> None:
    """Print measures as /metrics has them."""
    render.text(exposition.render(map(Family.from_dict, found["families"])).rstrip("\n"))
