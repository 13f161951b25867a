"""Families of samples as text: the Prometheus format 0.0.4, or OpenMetrics 1.0 for who asks for it.

https://prometheus.io/docs/instrumenting/exposition_formats/,
https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from core.model.measure import Family, Histogram

PREFIX = "sluice_"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_COUNTED = "_total"


def media_type(accept: str) -> str:
    """What a client gets that accepts this."""
    return OPENMETRICS if "application/openmetrics-text" in accept else PLAIN


def render(families: Iterable[Family], kind: str = PLAIN) -> str:
    """The text of families, those of one name together; one without samples is left out."""
    lines = [line for family in families if family.samples for line in _family(family, kind == OPENMETRICS)]
    return "\n".join([*lines, *(("# EOF",) if kind == OPENMETRICS else ())]) + "\n"


def _family(family: Family, openmetrics: bool) -> Iterator[str]:
    name = PREFIX + family.name
    # In OpenMetrics a counter is named without what its samples end in.
    told = name.removesuffix(_COUNTED) if openmetrics and family.type == "counter" else name
    yield f"# HELP {told} {family.help}"
    yield f"# TYPE {told} {family.type}"
    for value, labels in family.samples:
        if isinstance(value, Histogram):
            yield from _histogram(name, value, labels)
        else:
            yield f"{name}{_labels(labels)} {_number(value)}"


def _histogram(name: str, histogram: Histogram, labels: Mapping[str, str]) -> Iterator[str]:
    for bound, count in zip([*map(_number, histogram.bounds), "+Inf"], accumulate(histogram.counts), strict=True):
        yield f"{name}_bucket{_labels({**labels, 'le': bound})} {count}"
    yield f"{name}_sum{_labels(labels)} {_number(histogram.sum)}"
    yield f"{name}_count{_labels(labels)} {sum(histogram.counts)}"


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _labels(labels: Mapping[str, str]) -> str:
    """Values escaped as the format wants it; the names of jobs are a user's."""
    return "{" + ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items()) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
