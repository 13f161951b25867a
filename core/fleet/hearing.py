"""What workers say: each frame and call goes to who keeps it, when the worker was told to run what it speaks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import structlog

from core import channel, errors
from core.bus.base import Bus
from core.fleet.conditions import Conditions
from core.fleet.connection import Worker
from core.fleet.kv_calls import KvCalls
from core.fleet.left_out import LeftOut
from core.fleet.letter_calls import LetterCalls
from core.fleet.logs import JobLogs
from core.fleet.runs import CONTINUOUS, Runs
from core.fleet.timetables import Timetables
from core.fleet.traffic import Traffic
from core.fleet.workloads import Workloads
from core.guard.filepolicy import FilePolicy
from core.guard.openings import Openings
from core.measures import RunTimes
from core.model import frames
from core.model.condition import Health
from core.model.message import Type
from core.model.run import text_id
from core.model.states import WorkerState, WorkloadState
from core.model.workload import parse
from core.store.log_chunks import Source

log = structlog.get_logger("core.fleet")


class Hearing:
    """Of all workers of one engine; use from its loop."""

    def __init__(
        self,
        bus: Bus,
        traffic: Traffic,
        workloads: Workloads,
        conditions: Conditions,
        timetables: Timetables,
        runs: Runs,
        run_times: RunTimes,
        logs: JobLogs,
        kv: KvCalls,
        letters: LetterCalls,
        *,
        came: Callable[[Worker], None],
        stopping: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        """`came` is told of a worker that is there now, `wake` of whatever somebody may wait for; `stopping`: whether
        the engine stops its workers."""
        self._bus = bus
        self._traffic = traffic
        self._workloads = workloads
        self._conditions = conditions
        self._timetables = timetables
        self._runs = runs
        self._run_times = run_times
        self._logs = logs
        self._kv = kv
        self._letters = letters
        self._came = came
        self._stopping = stopping
        self._wake = wake
        self.overreached = 0
        """What workers said of workloads that they were not told to run, and nobody heard."""

    def take(self, worker: Worker, frame: frames.FromWorker) -> None:
        """Hand a frame to whom it concerns."""
        match frame:
            case frames.Publish():
                if self._speaks_for(worker, frame.workload, frame):
                    told = parse(frame.workload)
                    self._traffic.publish(worker, told.tenant, told.job, frame)
                if frame.settles and (delivery := self._bus.settle(frame.settles, worker.name)) is not None:
                    self._traffic.settle(delivery, None)
            case frames.Settle():
                if (delivery := self._bus.settle(frame.delivery, worker.name)) is not None:
                    self._traffic.settle(delivery, frame.reason, frame.spans)
            case frames.Beat():
                for id, figures in frame.figures.items():
                    if self._speaks_for(worker, id, frame):
                        self._workloads.measured(id, figures)
            case frames.Logs():
                self._logged(worker, frame)
            case frames.Run() | frames.Began() | frames.Status() | frames.Fired() | frames.Missed():
                if self._speaks_for(worker, frame.workload, frame):
                    self._of_workload(worker, frame)
            case frames.Bye():
                worker.left = True
            case frames.Refused():
                log.error("frame_refused", worker=worker.name, reason=errors.shorten(frame.reason, 300))
            case frames.Unconfined():
                worker.sandbox = f"refused: {errors.shorten(frame.reason, 300)}"
                log.error("worker_not_confined", worker=worker.name, reason=worker.sandbox)
                self._wake()
            case frames.Hello():
                worker.state = WorkerState.ONLINE
                self._conditions.saw_worker(worker.name, Health.HEALTHY, "")
                worker.sandbox = errors.shorten(frame.sandbox, 300)
                if frame.files is not None:
                    allowed = FilePolicy.from_dict(frame.files)
                    worker.files = allowed if worker.grant is None else worker.grant.files(allowed)
                if frame.openings is not None:
                    opened = Openings.from_dict(frame.openings)
                    worker.openings = opened if worker.grant is None else worker.grant.openings(opened)
                self._came(worker)

    def _logged(self, worker: Worker, told: frames.Logs) -> None:
        for part in told.parts:
            if self._speaks_for(worker, part.workload, told):
                self._logs.take(self.source(part.workload, worker.name), part)
        self._logs.left_out(too_many=told.too_many, slow_engine=told.slow_engine)
        if worker.channel is not None:
            worker.channel.send(frames.encode(frames.Logged(told.sequence)))

    def _of_workload(
        self, worker: Worker, frame: frames.Run | frames.Began | frames.Status | frames.Fired | frames.Missed
    ) -> None:
        match frame:
            case frames.Run():
                self._workloads.run_ended(frame)
                self._run_ended(worker, frame)
                self._left_out(worker, frame.workload, self._timetables.run_ended(frame))
            case frames.Began():
                if (row := self._workloads.get(frame.workload)) is not None:
                    by = self._timetables.asker(frame.workload, frame.order)
                    self._runs.began(row, worker.name, frame, self._workloads.restarts(row.id), by)
            case frames.Status():
                self._status(worker, frame)
            case frames.Fired():
                self._left_out(worker, frame.workload, self._timetables.fired(frame))
                self._workloads.timed(frame.workload, came=True)
            case frames.Missed():
                self._left_out(worker, frame.workload, self._timetables.missed(frame))

    def _left_out(self, worker: Worker, workload: str, left: Iterable[LeftOut]) -> None:
        if (row := self._workloads.get(workload)) is not None:
            for one in left:
                self._runs.left_out(row, worker.name, one)

    def _run_ended(self, worker: Worker, told: frames.Run) -> None:
        row, id = self._workloads.get(told.workload), 0
        if row is not None:
            by = self._timetables.asker(told.workload, told.order)
            id = self._runs.ended(row, worker.name, told, self._workloads.restarts(row.id), by)
            if told.runs == 1 and told.trigger != CONTINUOUS:  # of several, nobody knows how long each took
                self._run_times.add(row.tenant, row.job, told.started_ns, told.ended_ns)
        self._traffic.run_ended(worker, *parse(told.workload).group, told, text_id(id) if id else "")

    def _speaks_for(self, worker: Worker, workload: str, what: frames.Frame | str) -> bool:
        """Whether a connection was told to run a workload; what it says of another one is counted and not heard.

        An honest worker says nothing of what it was never told, so nothing that counts is lost here. One that would
        act for it (a call, and frames.ACTS) is no worker of ours, and its connection ends; what merely runs there is
        drift.
        """
        if workload in worker.entrusted:
            return True
        self.overreached += 1
        if not worker.overreached:
            kind = what if isinstance(what, str) else type(what).__name__.lower()
            log.error("worker_overreached", worker=worker.name, workload=errors.shorten(workload, 100), what=kind)
        worker.overreached = True
        if isinstance(what, (str, *frames.ACTS)) and worker.channel is not None:
            worker.channel.abort()
        return False

    async def answer(self, worker: Worker, link: channel.Channel, name: str, args: Any) -> Any:
        """Answer a call of a worker."""
        if name == "kv":
            workload, what, namespace, *given = args
            if not self._speaks_for(worker, workload, name):
                raise errors.Forbidden("This worker does not run that workload.")
            return await self._kv.answer(link, parse(workload).tenant, what, namespace, *given)
        if name == "letters":
            workload, dropped, posted = args
            if not self._speaks_for(worker, workload, name):
                raise errors.Forbidden("This worker does not run that workload.")
            source = self.source(workload, worker.name)
            return await self._letters.answer(workload, source.deployment, worker.name, dropped, posted)
        raise errors.NotFound(f"An engine does not know the call {errors.shorten(name, 60)} of a worker.")

    def _status(self, worker: Worker, told: frames.Status) -> None:
        id, version, state, reason = told.workload, told.version, told.state, told.reason
        if state in (WorkloadState.STOPPED, WorkloadState.COMPLETED):
            replica = worker.replicas.get(id)
            if replica is not None and id not in worker.sent:
                del worker.replicas[id]
                self._bus.detach(parse(id).group, replica, died=False)
        row = self._workloads.get(id)
        if row is None or row.version != version or row.worker != worker.name:
            return  # about a wish that has passed
        if row.state == WorkloadState.QUARANTINED:
            return  # it was told to stop
        if state == WorkloadState.STOPPED:
            if self._stopping():
                return  # the engine goes; the wish stays
        self._workloads.reported(row, version, state, reason, told.restarts)
        if state == WorkloadState.FAILED:
            tenant, job = parse(id).group
            data = {"job": job, "workload": id, "reason": reason, "restarts": told.restarts}
            self._traffic.message(tenant, source="job", type=Type.JOB_FAILED, job=job, worker=worker.name, data=data)
        self._wake()

    def source(self, workload: str, worker: str) -> Source:
        """Where what a workload writes or refuses comes from."""
        row = self._workloads.get(workload)
        return Source(workload, row.deployment if row is not None else "", worker)
