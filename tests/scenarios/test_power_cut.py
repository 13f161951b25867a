"""The power is cut at any moment: what a caller was told is there afterwards, and the database is whole.

A real engine migrates an older database, runs triggers, sets variables and applies deployments, with its writes and
syncs recorded (power/recorder.c); the disk is then rebuilt as it may be at many moments (power/replay.py), and the real
code opens it, itself recorded for some, so that the power can be cut once more while it recovers.
"""

from __future__ import annotations

import bisect
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from core.deployments.status import up
from tests import figures
from tests.engines import ADMIN, EXAMPLES, engine_on
from tests.scenarios.power import disk, replay

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("cc") is None, reason="the recorder is built with a C compiler"),
]
HERE = Path(__file__).parent / "power"
LOG, DATABASE = "sluice.db-wal", "sluice.db"
FIRST_STEPS = ("m0010_callbacks", "m0006_rollouts", "m0017_kv_lengths", "m0024_lean_runs")  # of the migration


@dataclass(frozen=True)
class Recording:
    """What an engine wrote and synced, from the making of its home to its end, and what it told."""

    events: list[replay.Event]
    told: list[tuple[int, list[str]]]

    def told_by(self, cut: int) -> disk.Told:
        return [words for _, words in self.told[: bisect.bisect(self.told, cut, key=lambda one: one[0])]]

    def at(self, what: str) -> list[int]:
        """The moments at which so much was told."""
        return [at for at, words in self.told if words[0] == what]

    def moments(self, chance: random.Random, count: int) -> list[int]:
        """Where to cut: a third in the migration, a third in applies, and the rest anywhere."""
        (opening,), (opened,) = self.at("opening"), self.at("opened")
        applying = [
            at
            for begun, done in zip(self.at("applying"), self.at("apply"), strict=True)
            for at in range(begun - 8, min(done + 8, begun + 80))
        ]
        migrating = range(opening, opened)
        chosen = chance.choices(migrating, k=count // 3) + chance.choices(applying, k=count // 3)
        return sorted(chosen + chance.choices(range(len(self.events) + 1), k=count - len(chosen)))


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("recorder") / "recorder.so"
    build = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "recorder.c"), "-ldl", "-lpthread"]
    subprocess.run(build, check=True)
    return library


def recorded(recorder: Path, root: Path, program: str, *words: str) -> dict[Path, list[replay.Event]]:
    """What a program of power/ does to the files under `root`, by folder."""
    log = root.with_suffix(".log")
    environment = {**os.environ, "LD_PRELOAD": str(recorder), "POWER_ROOT": str(root), "POWER_LOG": str(log)}
    subprocess.run([sys.executable, str(HERE / program), *words], check=True, env=environment, timeout=300)
    return replay.read(log)


def make(recorder: Path, folder: Path, before: str, runs: int, applies: int) -> Recording:
    home = folder / "home"
    events = recorded(recorder, home, "client.py", str(home), str(EXAMPLES), str(runs), str(applies), before)[home]
    recording = Recording(events, disk.answers(events))
    assert sum(event.kind == "S" and event.name == LOG for event in events) > 100
    assert sum(event.kind == "S" and event.name == DATABASE for event in events) > 5, "there are checkpoints"
    assert len(recording.at("apply")) == applies + 1
    return recording


@pytest.fixture(scope="module")
def recording(recorder: Path, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return make(recorder, tmp_path_factory.mktemp("power"), FIRST_STEPS[0], runs=120, applies=4)


async def cut(
    recording: Recording, folder: Path, moments: list[int], seed: int, *unsynced: str
) -> tuple[int, list[str]]:
    """How many cuts at the moments lost something, and what."""
    bad, lost = 0, []
    for number, (at, files) in enumerate(replay.cuts(recording.events, moments, seed, frozenset(unsynced))):
        found = await disk.faults(folder / f"{number}", files, recording.told_by(at))
        bad += bool(found)
        lost += [f"cut at {at}: {one}" for one in found]
    return bad, lost


Recovery = tuple[int, dict[str, bytes], Recording]
"""Where the power was cut, the disk as it was then, and what an engine did on it."""


def recoveries(recorder: Path, recording: Recording, root: Path, moments: list[int], seed: int) -> list[Recovery]:
    disks = list(replay.cuts(recording.events, moments, seed))
    for number, (_, files) in enumerate(disks):
        disk.write(root / f"{number}", files)
    homes = [root / f"{number}" for number in range(len(disks))]
    folders = recorded(recorder, root, "recover.py", *map(str, homes))
    again = [Recording(folders[home], disk.answers(folders[home])) for home in homes]
    return [(at, files, done) for (at, files), done in zip(disks, again, strict=True)]


@pytest.fixture(scope="module")
def recovered(recorder: Path, recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> list[Recovery]:
    moments = recording.moments(random.Random(4), 3)
    return recoveries(recorder, recording, tmp_path_factory.mktemp("recovered") / "homes", moments, 4)


async def cut_twice(
    recording: Recording, recovered: list[Recovery], folder: Path, each: int, seed: int, *unsynced: str
) -> tuple[int, int, list[str]]:
    """As `cut`, with `each` more cuts in what an engine does after every cut; the count of those comes first."""
    count, bad, lost = 0, 0, []
    for at, files, again in recovered:
        second = sorted(random.Random(seed).choices(range(1, len(again.events) + 1), k=each))
        start = {name: files[name] for name in disk.FILES if name in files}
        for then, found_files in replay.cuts(again.events, second, seed, frozenset(unsynced), start):
            found = await disk.faults(folder, found_files, recording.told_by(at) + again.told_by(then))
            count, bad = count + 1, bad + bool(found)
            lost += [f"cut at {at}, then at {then} of the recovery: {one}" for one in found]
    return count, bad, lost


async def resumed(recording: Recording, folder: Path, at: int, seed: int) -> None:
    """A cut in the middle of applies: the next engine brings every deployment to the revision that is there."""
    ((_, files),) = replay.cuts(recording.events, [at], seed)
    disk.write(folder, files)
    async with engine_on(folder, workers=1, adopt=True) as engine:
        names = [one["name"] for one in (await engine.call("deployment_list", {}, ADMIN))["items"]]
        assert "old" in names
        with anyio.fail_after(60):
            views = engine.fleet.workload_views
            assert await engine.fleet.wait(lambda: all(map(up, views(tenant=ADMIN.tenant))), 60)
            for name in names:
                await engine.rollouts.reached(ADMIN.tenant, name, 60)
                shown = await engine.call("deployment_get", {"name": name}, ADMIN)
                assert (shown["state"], shown["drift"]) == ("running", []), f"cut at {at}: {shown}"


async def test_nothing_that_was_told_is_lost_when_the_power_is_cut(recording: Recording, tmp_path: Path) -> None:
    assert await cut(recording, tmp_path, recording.moments(random.Random(1), 60), seed=1) == (0, [])


async def test_nor_when_it_is_cut_again_during_the_recovery(
    recording: Recording, recovered: list[Recovery], tmp_path: Path
) -> None:
    assert await cut_twice(recording, recovered, tmp_path / "rebuilt", each=3, seed=2) == (9, 0, [])


async def test_an_apply_that_the_power_was_cut_in_is_carried_on(recording: Recording, tmp_path: Path) -> None:
    await resumed(recording, tmp_path / "home", recording.at("applying")[-1] + 12, seed=3)


@pytest.mark.parametrize("unsynced", [LOG, DATABASE])
async def test_without_its_syncs_the_same_cuts_do_lose(recording: Recording, tmp_path: Path, unsynced: str) -> None:
    """The control: this test would notice a store that does not sync its log, or what it copies out of it."""
    (opened,) = recording.at("opened")
    moments = sorted(random.Random(1).choices(range(opened, len(recording.events) + 1), k=15))
    bad, _ = await cut(recording, tmp_path, moments, 1, unsynced)
    assert bad > 5


async def test_without_its_syncs_a_recovery_that_is_cut_does_lose(
    recording: Recording, recovered: list[Recovery], tmp_path: Path
) -> None:
    _, bad, _ = await cut_twice(recording, recovered, tmp_path / "rebuilt", 10, 4, LOG, DATABASE)
    assert bad > 3


@pytest.mark.soak
@pytest.mark.parametrize("before", FIRST_STEPS)
async def test_nothing_is_lost_in_five_thousand_cuts(
    recorder: Path, tmp_path: Path, before: str, record_property: figures.Recorder
) -> None:
    """A quarter of them from each of four older schemas, with 300 second cuts and 6 applies that are carried on."""
    (tmp_path / "made").mkdir()
    recording = make(recorder, tmp_path / "made", before, runs=400, applies=10)
    chance = random.Random(before)
    moments = recording.moments(chance, 1250)
    bad, lost = await cut(recording, tmp_path / "once", moments, seed=5)
    figures.record(record_property, cuts=1250, lost=bad)
    assert lost == []
    again = recoveries(recorder, recording, tmp_path / "homes", recording.moments(chance, 60), 6)
    assert await cut_twice(recording, again, tmp_path / "rebuilt", each=5, seed=6) == (300, 0, [])
    figures.record(record_property, cuts=1550)
    for number, begun in enumerate(recording.at("applying")[-6:]):
        await resumed(recording, tmp_path / f"carried-{number}", chance.randint(begun, begun + 60), seed=number)
