"""A tenant whose jobs end workers again and again, under whatever names: pure, but for the clock."""

from __future__ import annotations

import pytest

from core import clock
from core.clock import NANOSECONDS
from core.fleet import probation
from core.fleet.probation import FIRST_SECONDS, LONGEST_SECONDS, MOST_OF_TENANT, Probation
from core.model.workload import WorkloadRow, id_of

BAD = ("evil", "bad-1", "1")


def row(job: str, state: str = "running", tenant: str = "evil", version: str = "1") -> WorkloadRow:
    id = id_of(tenant, job, 0)
    return WorkloadRow(id, tenant, "", "", job, version, 0, "default", "local-1", "{}", 0, state)


GOOD = [row("good"), row("bad-1"), row("waits", "assigned")]


def sentence(watch: Probation, at: int = 1_000, times: int = MOST_OF_TENANT) -> list[float]:
    return [watch.count("evil", (at + n) * NANOSECONDS, GOOD, [BAD]) for n in range(times)]


def test_what_was_up_goes_on_and_what_is_new_or_blamed_waits() -> None:
    watch = Probation()
    assert sentence(watch, times=MOST_OF_TENANT - 1) == [0.0] * (MOST_OF_TENANT - 1)
    assert watch.withholds(row("bad-2", "assigned")) == ""
    assert sentence(watch, times=1) == [FIRST_SECONDS]
    assert watch.withholds(row("good")) == ""
    for held in (row("bad-1"), row("bad-2", "assigned"), row("waits", "assigned"), row("good", version="2")):
        assert "ended workers 5 times" in watch.withholds(held), held
    assert watch.withholds(row("bad-2", "assigned", tenant="other")) == ""
    assert set(watch.tenants()) == {"evil"}


def test_what_ends_a_worker_meanwhile_waits_as_well() -> None:
    watch = Probation()
    sentence(watch)
    assert watch.withholds(row("good")) == ""
    assert watch.count("evil", 2_000 * NANOSECONDS, GOOD, [BAD, ("evil", "good", "1")]) == 0
    assert "ended workers" in watch.withholds(row("good"))


def test_ends_that_are_far_apart_begin_nothing() -> None:
    watch = Probation()
    assert not any(watch.count("evil", n * 200 * NANOSECONDS, GOOD, []) for n in range(50))


def test_each_one_lasts_longer_and_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, now = Probation(), 0.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    for times in range(1, 5):
        lasts = sentence(watch, at=times * 10_000)[-1]
        assert lasts == probation.seconds(times) == FIRST_SECONDS * 2 ** (times - 1)
        now += lasts - 1
        assert watch.withholds(row("bad-9", "assigned"))
        now += 2
        assert watch.withholds(row("bad-9", "assigned")) == "" and watch.tenants() == {}
    now += LONGEST_SECONDS
    assert sentence(watch, at=900_000)[-1] == FIRST_SECONDS, "a day without is a new beginning"
    assert probation.seconds(30) == LONGEST_SECONDS
