"""The lease of a worker of another machine."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from core import witness
from core.worker import __main__ as worker
from core.worker.lease import Lease, since_boot
from core.worker.runtime import Options


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


HELD = """
import re, sys
from core import witness
from core.worker import __main__ as worker
from core.worker.runtime import Options

worker.HELD_SECONDS = 0.2
lease = worker._lease(Options("edge-1", ".", drain_seconds=0.1, lease_seconds=0.2), witness.Witness(witness.make()))
lease.renew()
print("held", flush=True)
re.match("(a+)+$", "a" * 64 + "b")  # keeps the lock of the interpreter for ages
"""


def test_a_loop_that_is_held_with_the_lock_of_the_interpreter_ends_after_the_lease() -> None:
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "held\n")
    assert "Timeout (0:00:00.5" in done.stderr and "re" in done.stderr, "it says where"


def test_a_lease_that_lapses_blames_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = witness.Witness(witness.make())
    shown.cells[0] = 7
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    options = Options("edge-1", ".", lease_seconds=-1.0)
    worker._lease(options, shown).hold()
    assert ended == [1] and shown.seen().running == witness.NOBODY
