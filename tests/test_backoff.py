"""Pauses between tries."""

from __future__ import annotations

from core.backoff import pause


def test_pauses_double_up_to_the_longest() -> None:
    assert [pause(tries, 0.5, 3.0) for tries in range(1, 6)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert pause(10**9, 0.02, 5.0) == 5.0


def test_chance_takes_a_share_away() -> None:
    drawn = [pause(2, 1.0, 10.0, jitter=0.5) for _ in range(200)]
    assert all(1.0 <= one <= 2.0 for one in drawn) and len(set(drawn)) > 1
