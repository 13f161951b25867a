"""The keeper's turns: drift that comes again right after it was healed is healed less and less often."""

from __future__ import annotations

from core.deployments.keeper import LONGEST_BACKOFF, Turn, next_turn
from core.deployments.reconcile import Drift, DriftKind

EDIT = Drift(DriftKind.MODIFIED, "t/a#0", "", "")
GONE = Drift(DriftKind.MISSING, "t/b#0", "", "")
KNOWN = Drift(DriftKind.EXTRA, "t/c#0", "", "", muted=True)


def test_a_turn_without_drift_comes_again_after_the_interval() -> None:
    assert next_turn(Turn(0.0), None, 100.0, 15.0) == Turn(115.0)


def test_the_same_drift_again_doubles_the_pause_up_to_a_bound() -> None:
    turn, pauses = Turn(0.0), []
    for _ in range(10):
        turn = next_turn(turn, [EDIT, KNOWN], 0.0, 1.0)
        pauses.append(turn.due)
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 64, 64, 64]
    assert pauses[-1] == LONGEST_BACKOFF


def test_other_drift_is_healed_without_a_pause() -> None:
    turn = next_turn(next_turn(Turn(0.0), [EDIT], 0.0, 1.0), [EDIT], 0.0, 1.0)
    assert turn.due == 2
    assert next_turn(turn, [EDIT, GONE], 10.0, 1.0).due == 11


def test_quiet_turns_make_up_for_returning_drift() -> None:
    turn = Turn(0.0)
    for _ in range(3):
        turn = next_turn(turn, [EDIT], 0.0, 1.0)
    for _ in range(3):
        turn = next_turn(turn, None, 0.0, 1.0)
    assert next_turn(turn, [EDIT], 0.0, 1.0).due == 1
