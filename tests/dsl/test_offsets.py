"""Where a reader of Kafka begins, what it may commit, and what a document with brokers needs opened."""

from __future__ import annotations

import pytest

from core.deployments import resets
from core.dsl.inputs import offsets
from core.dsl.inputs.offsets import Committed, Reading
from core.dsl.inputs.rewind import Replay
from core.dsl.language import needs
from core.errors import JobFailed
from core.model.deployment import Reset
from tests.dsl import rig

KAFKA = {"bootstrap-servers": ["10.0.0.1:9092", "broker.example.com:9092"], "topics": ["t"]}


def replay(from_: str, *, skip: bool = False) -> Replay:
    return Replay.model_validate({"from": from_, "marker": "m", "skip-unread": skip})


@pytest.mark.parametrize(
    ("wanted", "committed", "since", "known", "start"),
    [
        (None, None, 3, False, 3),  # nothing is said: `since` is the beginning then
        (replay("now"), None, 90, False, 90),
        (replay("now"), None, 90, True, 3),  # a partition that is new is read as a whole
        (None, 40, 3, True, 40),
        (replay("beginning"), 40, 3, True, 3),
        (replay("now"), 40, 90, True, 40),  # misses nothing
        (replay("now", skip=True), 40, 90, True, 90),
        (replay("2026-01-01"), 40, 20, True, 20),
        (replay("2026-01-01"), 40, 60, True, 40),
        (replay("2026-01-01", skip=True), 40, 60, True, 60),
    ],
)
def test_where_reading_begins(
    wanted: Replay | None, committed: int | None, since: int, known: bool, start: int
) -> None:
    was = None if committed is None else Committed(committed, "")
    assert offsets.start_of(wanted, was, since, 3, known=known) == start
    if wanted is not None and was is not None:  # once it was carried out, it is not done again
        done = Committed(50, offsets.mark_of(wanted))
        assert offsets.start_of(wanted, done, since, 3, known=known) == 50


def test_what_may_be_committed_ends_before_what_is_not_accepted() -> None:
    reading = Reading(5)
    first, second, third = (reading.expect(end, 10) for end in (15, 25, 35))
    second(None)
    assert (reading.reached, reading.due, reading.open, reading.next) == (5, False, 20, 35)
    first(None)
    assert (reading.reached, reading.due) == (25, True)
    third(JobFailed("no"))
    assert (reading.reached, reading.open) == (25, 0)


def test_a_plan_knows_each_bootstrap_server() -> None:
    found = list(needs.of(rig.declare("input", {"kafka": KAFKA}), "/input/kafka"))
    assert [(one.what, one.pointer, one.address) for one in found] == [
        ("egress", "/input/kafka/bootstrap-servers/0", "10.0.0.1:9092"),
        ("egress", "/input/kafka/bootstrap-servers/1", "broker.example.com:9092"),
    ]


def test_a_reader_can_be_reset() -> None:
    document = {"name": "j", "input": {"kafka": KAFKA}}
    again = resets.onto(document, Reset("beginning", "m", None))
    assert again is not None and again["input"]["kafka"]["replay"] == {"from": "beginning", "marker": "m"}
    rig.declare("input", again["input"])
