"""The worker runtime: in which order workloads are drained."""

from __future__ import annotations

from typing import Any

from core.worker import runtime


def _workload(name: str, reads: str = "", writes: Any = "") -> runtime._Workload:
    document = {
        "name": name,
        "input": {"worker-channel": {"channel": reads}} if reads else {"echo": {"event": "x"}},
        "output": {"worker-channel": writes} if writes else {"discard": {}},
    }
    return runtime._Workload(name, "t", name, "1", document)


def _stages(*workloads: runtime._Workload) -> list[set[str]]:
    return [{workload.id for workload in stage} for stage in runtime._downstream(list(workloads))]


def test_who_fills_a_channel_is_drained_before_who_empties_it() -> None:
    last = _workload("last", reads="b")
    middle = _workload("middle", reads="a", writes={"channel": "b"})
    first = _workload("first", writes="a")
    alone = _workload("alone")
    assert _stages(last, middle, first, alone) == [{"first", "alone"}, {"middle"}, {"last"}]


def test_jobs_that_feed_each_other_are_drained_together() -> None:
    ring = [_workload("x", reads="a", writes="b"), _workload("y", reads="b", writes="a")]
    assert _stages(*ring, _workload("z")) == [{"z"}, {"x", "y"}]
    assert _stages(_workload("self", reads="a", writes="a")) == [{"self"}]
    assert _stages() == []
