"""Processes around one home, and the kills that go through them: clients of which any may be the owner, the workers of
the owner, workers of other machines, and the NATS server over which those have joined."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from core import ownership
from tests import processes, waiting
from tests.external import server

CLIENT = Path(__file__).with_name("crash_client.py")
GROUP = "edge"
EDGE_MARK = b"edge_smoke "  # in the ledger, a run that only workers of other machines can do
LAST_STROKE = 0.9  # of all runs are told when the last stroke is due


class Kind(StrEnum):
    """What is killed."""

    OWNER = "owner"
    CLIENT = "attached client"
    WORKER = "local worker"
    EXTERNAL = "external worker"
    NATS = "NATS server"


EVERYBODY = "everybody"  # a stroke that kills all clients at once, one of which is the owner
CUTS = (Kind.OWNER, Kind.EXTERNAL, Kind.NATS, EVERYBODY)  # strokes that may cut off a worker of another machine


@dataclass(frozen=True, slots=True)
class Size:
    """How much is run, and how many strokes of each kind (a Kind, or EVERYBODY) go through it.

    Each client has `runs` runs on local workers and `edge_runs` on those of `machines`, `lanes` and `edge_lanes` of
    them at once.
    """

    clients: int
    runs: int
    lanes: int
    strokes: dict[str, int]
    kills: int  # at least; the runs may be over before the last strokes
    machines: int
    edge_runs: int
    edge_lanes: int
    seconds: float = 600.0

    @property
    def total(self) -> int:
        return self.clients * (self.runs + self.edge_runs)


class Ledgers:
    """What the clients have been told of, counted as their files grow."""

    def __init__(self, paths: list[Path]) -> None:
        self._read = dict.fromkeys(paths, 0)
        self.told = 0
        self.edge = 0

    def look(self) -> None:
        for path, read in self._read.items():
            if waiting.size(path) == read:
                continue
            with path.open("rb") as ledger:
                ledger.seek(read)
                whole, end, _ = ledger.read().rpartition(b"\n")
            self._read[path] += len(whole) + len(end)
            self.told += (whole + end).count(b"\n")
            self.edge += whole.count(EDGE_MARK)


class Fleet:
    """All of them. What they say is in files beside the home (`NAME.said`), and so is each kill (`kills.log`)."""

    def __init__(self, home: Path, size: Size, bus: server.Server, seed: int = 7) -> None:
        self.home = home
        self.size = size
        self.bus = bus
        self.names = [f"client{n}" for n in range(size.clients)]
        self.machines = [f"edge-{n}" for n in range(size.machines)]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ledgers = Ledgers([self._beside(f"{name}.ledger") for name in self.names])
        self.kills: Counter[Kind] = Counter()
        self.random = random.Random(seed)
        self._began = time.monotonic()
        self.token = self._beside("token")  # that lets the machines in

    def _beside(self, name: str) -> Path:
        return self.home.parent / name

    def said(self) -> dict[str, str]:
        """What each process has said on stdout and stderr, in all its lives."""
        return {path.stem: path.read_text(errors="replace") for path in sorted(self.home.parent.glob("*.said"))}

    # -- lives ---------------------------------------------------------------------------------------------

    def start_client(self, name: str) -> None:
        size = self.size
        numbers = [size.runs, size.lanes, size.edge_runs, size.edge_lanes]
        self._start(name, [sys.executable, str(CLIENT), str(self.home), name, *map(str, numbers), self.bus.url])

    def start_machine(self, name: str) -> None:
        program = Path(sys.executable).with_name("sluice")
        flags = ["--url", self.bus.url, "--home", str(self._beside(name)), "--name", name]
        self._start(name, [str(program), "worker", *flags, "--token-file", str(self.token)])

    def _start(self, name: str, command: list[str]) -> None:
        with self._beside(f"{name}.said").open("ab") as said:
            self.processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def running(self) -> list[str]:
        """The clients that are not done."""
        for name in self.names:
            code = self.processes[name].poll()
            assert code in (None, 0), f"{name} ended by itself with {code}"
        for name in self.machines:
            code = self.processes[name].poll()
            assert code is None, f"{name} ended by itself with {code}"
        return [name for name in self.names if self.processes[name].poll() is None]

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    # -- kills ---------------------------------------------------------------------------------------------

    def owner(self) -> str | None:
        """The client that owns the home at present."""
        pid = ownership.owner_pid(self.home)
        return next((name for name in self.running() if self.processes[name].pid == pid), None)

    def _workers(self, of: list[str]) -> list[int]:
        """The worker processes that are children of these."""
        pids = []
        for name in of:
            try:
                pids += [child.pid for child in processes.children("core.worker", of=self.processes[name].pid)]
            except psutil.NoSuchProcess:
                continue
        return pids

    def _kill(self, kind: Kind, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()
        self._note(kind, name)
        self.start_machine(name) if kind is Kind.EXTERNAL else self.start_client(name)

    def _kill_process(self, kind: Kind, pids: list[int]) -> bool:
        if not pids:
            return False
        pid = self.random.choice(pids)
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            return False
        self._note(kind, f"process {pid}")
        return True

    def _note(self, kind: Kind, name: str) -> None:
        self.kills[kind] += 1
        with self._beside("kills.log").open("a") as log:
            took = time.monotonic() - self._began
            print(f"{took:.2f} s", f"{self.ledgers.told} told", kind, name, sep="\t", file=log)

    async def strike(self, stroke: str) -> bool:
        """Kill what the stroke says and start it again; false when there is none of it just now."""
        running = self.running()
        owner = self.owner()
        match stroke:
            case Kind.WORKER:
                return self._kill_process(Kind.WORKER, self._workers(running))
            case Kind.EXTERNAL if (
                self.kills[Kind.EXTERNAL] % 2
            ):  # the process that runs the jobs, or the one that joined
                return self._kill_process(Kind.EXTERNAL, self._workers(self.machines))
            case Kind.EXTERNAL:
                self._kill(Kind.EXTERNAL, self.random.choice(self.machines))
            case Kind.NATS:
                self.bus.kill()
                self._note(Kind.NATS, f"port {self.bus.port}")
                await waiting.pause(self.random.choice((0.0, self.random.uniform(0.0, 1.0))))  # away for a while
                self.bus.start()
            case Kind.OWNER if owner is not None:
                self._kill(Kind.OWNER, owner)
            case Kind.CLIENT if attached := [name for name in running if name != owner]:
                self._kill(Kind.CLIENT, self.random.choice(attached))
            case "everybody" if owner is not None:
                for name in running:
                    self.processes[name].send_signal(signal.SIGKILL)
                for name in running:
                    self._kill(Kind.OWNER if name == owner else Kind.CLIENT, name)
            case _:
                return False
        return True

    async def run(self) -> None:
        """Have all runs done, with the strokes spread over them at random; a stroke that may cut off a machine waits
        until one has ended a run since the last, so that each of them hits work."""
        left = [stroke for stroke, count in self.size.strokes.items() for _ in range(count)]
        self.random.shuffle(left)
        last = int(self.size.total * LAST_STROKE)
        due = cut = 0
        deadline = time.monotonic() + self.size.seconds
        while self.running():
            assert time.monotonic() < deadline, f"not done after {self.size.seconds} s: {dict(self.kills)}"
            await waiting.pause(self.random.uniform(0.005, 0.02))  # the moment of the kill is what is random here
            self.ledgers.look()
            if self.ledgers.told < due:
                continue
            idle = self.ledgers.edge <= cut and self.ledgers.edge < self.edge_total
            for number in range(len(left) - 1, -1, -1):
                if (idle and left[number] in CUTS) or not await self.strike(left[number]):
                    continue
                stroke = left.pop(number)
                pace = max(0, last - self.ledgers.told) // max(1, len(left))
                due = self.ledgers.told + self.random.randint(0, 2 * pace)
                cut = self.ledgers.edge if stroke in CUTS else cut
                break

    @property
    def edge_total(self) -> int:
        return self.size.clients * self.size.edge_runs
