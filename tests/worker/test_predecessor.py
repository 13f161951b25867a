"""One process for each name of a worker: what stands still under a dead engine is ended, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from core import errors
from core.worker import predecessor
from tests import processes, waiting

HOLDER = """
import os, signal, sys
from pathlib import Path
from core.worker import predecessor
predecessor.take(Path(sys.argv[1]))
print(os.getpid(), flush=True)
signal.pause()
"""
ENGINE = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {HOLDER!r}, sys.argv[1]])
"""


class Held(NamedTuple):
    """A lock, the process that holds it, and the one that has started that."""

    lock: Path
    pid: int
    engine: subprocess.Popen[bytes]

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        waiting.until_now(lambda: psutil.Process(self.pid).status(), lambda state: state == psutil.STATUS_STOPPED)

    def lose_engine(self) -> None:
        self.engine.kill()
        self.engine.wait()
        waiting.until_now(lambda: psutil.Process(self.pid).ppid(), lambda parent: parent != self.engine.pid)


@contextmanager
def holding(place: Path) -> Iterator[Held]:
    lock = place / "state" / "local-1.lock"
    engine = subprocess.Popen([sys.executable, "-c", ENGINE, str(lock)], stdout=subprocess.PIPE)
    assert engine.stdout is not None
    pid = int(engine.stdout.readline())
    try:
        yield Held(lock, pid, engine)
    finally:
        engine.kill()
        engine.wait()
        engine.stdout.close()
        if not processes.ended(pid):
            os.kill(pid, signal.SIGKILL)


def test_who_is_stopped_and_has_lost_its_engine_is_ended(tmp_path: Path) -> None:
    with holding(tmp_path) as held:
        held.stop()
        held.lose_engine()
        fd = predecessor.take(held.lock)
        waiting.until_now(lambda: processes.ended(held.pid))  # its lock goes a moment before it
        assert held.lock.read_text().split()[0] == str(os.getpid())
        os.close(fd)


def test_who_runs_is_waited_for(tmp_path: Path) -> None:
    with holding(tmp_path) as held:
        held.lose_engine()
        with pytest.raises(errors.Busy, match=str(held.pid)) as busy:
            predecessor.take(held.lock, wait_seconds=0.1)
        assert f"kill -9 {held.pid}" in busy.value.hint
        assert not processes.ended(held.pid)


def test_who_is_stopped_under_an_engine_that_lives_is_left_alone(tmp_path: Path) -> None:
    with holding(tmp_path) as held:
        held.stop()
        with pytest.raises(errors.Busy, match=str(held.pid)):
            predecessor.take(held.lock, wait_seconds=0.1)
        assert psutil.Process(held.pid).status() == psutil.STATUS_STOPPED


@pytest.mark.parametrize("other", ["start", "boot", "nothing"])
def test_a_process_that_only_has_the_number_is_left_alone(tmp_path: Path, other: str) -> None:
    with holding(tmp_path) as held:
        held.stop()
        held.lose_engine()
        pid, started, boot, parent = held.lock.read_text().split()
        told = {"start": f"{pid} {int(started) - 1} {boot} {parent}", "boot": f"{pid} {started} b {parent}"}
        held.lock.write_text(told.get(other, ""))
        with pytest.raises(errors.Busy, match="does not end"):
            predecessor.take(held.lock, wait_seconds=0.1)
        assert psutil.Process(held.pid).status() == psutil.STATUS_STOPPED
