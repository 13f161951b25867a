"""What a worker of another machine notes of the end of its process, and whom it takes for the one to blame."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import clock, witness
from core.external.ends import MOST_BYTES, Ends, Greeting
from core.external.watch import Watch
from core.fleet.deaths import Cause, Ended
from core.fleet.quarantine import WINDOW_SECONDS
from core.witness import NOBODY, Seen

BEAT = 1.0
LIFE, NEXT = "0" * 32, "1" * 32


def _ends(home: Path, installation: str = "engine-1", worker: str = "edge-1") -> Ends:
    return Ends(home / "edge-1.end", installation, worker)


def _greeting(ends: Ends) -> Greeting:
    return Greeting.model_validate_json(ends.greeting(NEXT))


def _before(ends: Ends) -> Ended | None:
    return _greeting(ends).ended()


def _kept(home: Path) -> Path:
    _ends(home).keep(LIFE, Cause.SILENT, 7)
    return home / "edge-1.end"


def test_an_end_is_told_by_the_next_process_and_once(tmp_path: Path) -> None:
    path = _kept(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    ends = _ends(tmp_path)
    told = _before(ends)
    assert told is not None and (told.life, told.cause, told.number) == (LIFE, Cause.SILENT, 7)
    assert abs(told.at_ns - clock.now_ns()) < 60 * clock.NANOSECONDS
    assert _before(ends) is not None, "a session that did not come about has told nobody"
    ends.greeted()
    assert _before(ends) is None and not path.exists()
    assert _before(_ends(tmp_path)) is None


def test_an_end_that_is_older_than_the_window_counts_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _kept(tmp_path)
    now = clock.now_ns()
    for seconds, told in ((WINDOW_SECONDS - 60, True), (WINDOW_SECONDS + 1, False), (-3600, False)):
        monkeypatch.setattr(clock, "now_ns", lambda seconds=seconds: now + seconds * clock.NANOSECONDS)
        assert (_before(_ends(tmp_path)) is not None) is told, seconds


def _refused(home: Path) -> None:
    """What lies there is refused, counted, told as such, and in nobody's way afterwards."""
    ends = _ends(home)
    assert ends.unreadable == 1
    greeting = _greeting(ends)
    assert greeting.unreadable and greeting.before is None
    ends.keep(LIFE, Cause.CRASHED, 3)
    ends.greeted()
    assert not _greeting(ends).unreadable


def test_a_torn_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    whole = _kept(tmp_path).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "edge-1.end").write_bytes(whole[:length])
        _refused(tmp_path)
    (tmp_path / "edge-1.end").write_bytes(whole)
    assert _ends(tmp_path).unreadable == 0


@pytest.mark.parametrize("installation, worker", [("engine-2", "edge-1"), ("engine-1", "edge-2")])
def test_a_file_of_another_worker_is_refused(tmp_path: Path, installation: str, worker: str) -> None:
    _ends(tmp_path, installation, worker).keep(LIFE, Cause.SILENT, 7)
    _refused(tmp_path)


@pytest.mark.parametrize(
    "old, new",
    [
        (b'"number":7', b'"number":0'),
        (b'"number":7', b'"number":2147483648'),
        (b'"number":7', b'"number":"7"'),
        (b'"silent"', b'"bored"'),
        (b'"0000', b'"zzzz'),
        (b"{", b'{"more":1,'),
    ],
)
def test_a_file_with_other_content_is_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = _kept(tmp_path)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    _refused(tmp_path)


@given(garbage=st.binary(max_size=64) | st.just(b" " * (MOST_BYTES + 1)))
def test_garbage_is_refused(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "edge-1.end").write_bytes(garbage)
    _refused(home)


@pytest.mark.parametrize(
    "put",
    [
        lambda path: path.symlink_to(_kept(path.parent.parent)),
        lambda path: os.mkfifo(path),
        lambda path: path.mkdir(),
    ],
    ids=["link", "pipe", "directory"],
)
def test_what_is_no_file_is_refused(tmp_path: Path, put: Callable[[Path], None]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    put(home / "edge-1.end")
    _refused(home)


def test_a_disk_that_takes_nothing_costs_what_outlives_the_process_alone(tmp_path: Path) -> None:
    ends = _ends(tmp_path / "nowhere")
    ends.keep(LIFE, Cause.MEMORY, 9)
    assert _before(ends) is not None


def test_the_number_of_a_workload_is_its_own_in_each_life_and_version() -> None:
    asked = [(life, id, version) for life in (LIFE, NEXT) for id in ("a/b#0", "a/b#1") for version in ("1", "2")]
    numbers = [witness.number(*one) for one in asked]
    assert numbers == [witness.number(*one) for one in asked]
    assert len(set(numbers)) == len(asked)
    assert all(0 < number < witness.ENDED for number in numbers)


class _Machine:
    """A worker process as the looks of its machine see it: one each beat."""

    def __init__(self) -> None:
        self.now = 100.0
        self.watch = Watch(BEAT, 5, self.now)

    def looks(self, beats: int, since: float | None, running: int, stopped: bool = False, killed: int = 5) -> None:
        for _ in range(beats):
            self.now += BEAT
            self.watch.observe(since, running, stopped, killed, self.now)


AT_WORK = Seen(7, 5, False)
KILLED = -signal.SIGKILL


def test_whose_code_ran_all_the_while_is_to_blame_for_silence() -> None:
    machine = _Machine()
    machine.looks(3, 103.0, 7)
    assert not machine.watch.silent
    machine.looks(5, 103.0, 7)
    assert machine.watch.silent
    assert machine.watch.verdict(KILLED, 5, AT_WORK) == (Cause.SILENT, 7)
    assert machine.watch.verdict(1, 5, Seen(NOBODY, 5, False)) == (Cause.SILENT, 7), "it came back too late, and ended"


def test_who_speaks_or_is_idle_is_not_silent() -> None:
    machine = _Machine()
    for _ in range(20):
        machine.looks(3, machine.now, 7)
        machine.looks(1, None, 7)
    assert not machine.watch.silent
    machine.looks(9, machine.now, NOBODY)
    assert machine.watch.verdict(KILLED, 5, Seen(NOBODY, 5, False)) is None


def test_who_was_told_to_stand_still_is_not_to_blame() -> None:
    machine = _Machine()
    machine.looks(2, 100.0, 7, stopped=True)
    machine.looks(9, 100.0, 7)
    assert not machine.watch.silent
    assert machine.watch.verdict(1, 5, AT_WORK) is None


def test_nobody_was_silent_while_the_machine_stood_still() -> None:
    machine = _Machine()
    machine.looks(1, 100.5, 7)
    machine.now += 3600
    machine.looks(2, 100.5, 7)
    assert machine.watch.verdict(1, 5, AT_WORK) is None


def test_a_machine_that_is_late_again_and_again_is_not_taken_for_a_silent_worker() -> None:
    machine = _Machine()
    for _ in range(4):
        machine.now += 0.8 * BEAT
        machine.looks(1, 100.5, 7)
    assert not machine.watch.silent


def test_memory_is_blamed_when_the_system_has_killed_for_it_just_now() -> None:
    machine = _Machine()
    machine.looks(4, machine.now, 7)
    assert machine.watch.verdict(KILLED, 5, AT_WORK) is None, "somebody killed it"
    machine.looks(1, machine.now, 7, killed=6)  # a look between the death and its end
    machine.looks(1, machine.now, 7, killed=6)
    assert machine.watch.verdict(KILLED, 6, AT_WORK) == (Cause.MEMORY, 7)
    machine.looks(4, machine.now, 7, killed=6)
    assert machine.watch.verdict(KILLED, 6, AT_WORK) is None, "that was another one, before"


def test_a_crash_is_of_who_was_at_work() -> None:
    machine = _Machine()
    machine.looks(2, machine.now, 7)
    assert machine.watch.verdict(-signal.SIGSEGV, 5, AT_WORK) == (Cause.CRASHED, 7)
    assert machine.watch.verdict(0, 5, AT_WORK) is None
