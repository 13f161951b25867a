"""Who is to blame for the end of a worker, and what follows: pure."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import NANOSECONDS
from core.fleet import quarantine
from core.fleet.deaths import Cause, blame
from core.fleet.quarantine import MOST_DEATHS, WINDOW_SECONDS
from core.witness import NOBODY, Seen

AT_WORK, IDLE = Seen(7, 5, False), Seen(NOBODY, 5, False)


@pytest.mark.parametrize(
    "code, silent, out_of_memory, seen, expected",
    [
        (-signal.SIGKILL, True, False, AT_WORK, (Cause.SILENT, 7)),
        (-signal.SIGKILL, True, False, IDLE, None),
        (-signal.SIGKILL, False, False, AT_WORK, None),  # somebody killed it
        (-signal.SIGKILL, False, True, AT_WORK, (Cause.MEMORY, 7)),
        (-signal.SIGKILL, False, True, IDLE, (Cause.MEMORY, 5)),
        (75, False, False, Seen(7, 5, True), (Cause.MEMORY, 5)),
        (-signal.SIGSEGV, False, False, AT_WORK, (Cause.CRASHED, 7)),
        (-signal.SIGSEGV, False, False, IDLE, None),
        (1, False, False, AT_WORK, (Cause.CRASHED, 7)),
        (0, False, False, AT_WORK, None),
        (-signal.SIGTERM, False, False, AT_WORK, None),
        (None, False, False, AT_WORK, None),
    ],
)
def test_only_who_was_at_work_is_to_blame(
    code: int | None, silent: bool, out_of_memory: bool, seen: Seen, expected: tuple[Cause, int] | None
) -> None:
    assert blame(code, silent, out_of_memory, seen) == expected


@given(st.lists(st.integers(0, 3 * WINDOW_SECONDS), max_size=8), st.integers(0, 3 * WINDOW_SECONDS))
def test_a_job_is_quarantined_for_deaths_of_the_window_alone(deaths: list[int], now: int) -> None:
    within = [at for at in deaths if now - at < WINDOW_SECONDS]
    moments = [at * NANOSECONDS for at in deaths]
    assert quarantine.decide(moments, now * NANOSECONDS) == (len(within) >= MOST_DEATHS)
