"""The lease of a worker of another machine."""

from __future__ import annotations

import time

from core.worker.lease import Lease, since_boot


def test_whoever_was_silent_for_longer_than_the_lease_holds_nothing() -> None:
    now, over = [100.0], list[float]()
    lease = Lease(5.0, over.append, lambda: now[0])
    for now[0] in (104.0, 105.0):
        lease.hold()
    lease.renew()
    now[0] = 110.0
    lease.hold()
    assert over == []
    now[0] = 110.5
    lease.hold()
    assert over == [5.5]


def test_a_sign_of_life_that_comes_too_late_renews_nothing() -> None:
    now, over = [0.0], list[float]()
    lease = Lease(5.0, over.append, lambda: now[0])
    now[0] = 6.0
    lease.renew()
    assert over == [6.0]


def test_its_clock_counts_the_time_that_the_machine_slept() -> None:
    assert since_boot() >= time.monotonic() - 0.1
