"""Everything that is wrong with a document, in one pass: shape, wiring, parameters, each with its place and a fix."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from core import errors
from core.catalog import blueprints, fitting, graph
from core.documents import Document
from core.jobs import staging
from core.model.catalog import Blueprint, Graph, Perspective
from core.model.plan import Finding
from core.workflows import authoring, graph_faults, mending, trial
from core.workflows.modules import Modules

if TYPE_CHECKING:
    from core.model.results import workflows

MOST_REMARKS = 200  # faults that an answer names; `total` counts them all
MOST_FITTED = 20  # open steps that are told what fits them
TRIALS = 20  # jobs that are tried out before the event loop has a turn
_PLACE = re.compile(r":(\d+):(\d+)$")


@dataclass(frozen=True, slots=True)
class Remark:
    """One fault or warning: what is wrong, what to do, and where in the text."""

    code: str
    message: str
    hint: str
    pointer: str
    where: str

    def to_dict(self) -> workflows.Remark:
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "pointer": self.pointer,
            "where": self.where,
        }

    def problem(self) -> errors.Problem:
        return errors.Problem(self.pointer, f"{self.message} {self.hint}".strip(), self.where)


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found; `model` is the document itself when nothing is wrong."""

    document: Document
    model: Any
    faults: tuple[Remark, ...]
    warnings: tuple[Remark, ...]

    @property
    def valid(self) -> bool:
        return not self.faults

    @property
    def message(self) -> str:
        """The outcome in one sentence."""
        what = f"{self.document.kind} {errors.shorten(str(self.document.data.get('slug')), 64)}"
        if self.valid:
            return f"The {what} is valid."
        return f"The {what} has {len(self.faults)} {'fault' if len(self.faults) == 1 else 'faults'}."

    def to_dict(self) -> workflows.Report:
        """The report in the keys that every answer has."""
        return {
            "valid": self.valid,
            "message": self.message,
            "hint": "" if self.valid else "Each fault says where it is and what to do.",
            "errors": [fault.to_dict() for fault in self.faults[:MOST_REMARKS]],
            "errors_left_out": max(0, len(self.faults) - MOST_REMARKS),
            "warnings": [warning.to_dict() for warning in self.warnings[:MOST_REMARKS]],
        }

    def require(self) -> Any:
        """The valid model. Raises InvalidDocument with every fault."""
        if not self.valid:
            raise errors.InvalidDocument(
                self.message,
                hint="Each fault says what to do; workflow_validate checks again.",
                errors=[fault.problem() for fault in self.faults[:MOST_REMARKS]],
            )
        return self.model


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is known of a document before its jobs are tried out."""

    document: Document
    mended: mending.Mended
    modules: Modules
    faults: list[Finding]
    warnings: list[Finding]

    def trials(self) -> Iterator[list[Finding]]:
        """Try the jobs out, one at a time; the job language is not for several threads."""
        model = self.mended.model
        if isinstance(model, Blueprint):
            yield from trial.blueprint(model)
        elif isinstance(model, Graph):
            yield from trial.steps(model, self.modules)

    def report(self, tried: Iterable[Finding] = ()) -> Report:
        """All of it, in the order of the text."""
        faults = list(self.faults)
        # A parameter that does not fit its schema is told once, at /steps/N/with/NAME.
        wrong = {"/".join(fault.pointer.split("/")[:4]) for fault in faults}
        faults += (fault for fault in tried if fault.pointer not in wrong and not self.mended.follows(fault.pointer))
        remarks = [_remark(self.document, self.mended, fault) for fault in dict.fromkeys(faults)]
        remarks.sort(key=lambda one: _order(one.where))
        warnings = tuple(_remark(self.document, self.mended, warning) for warning in self.warnings)
        return Report(self.document, None if remarks else self.mended.model, tuple(remarks), warnings)


def check(document: Document, modules: Modules) -> Report:
    """Check a document of any kind that a tenant may own, against the modules that it may name."""
    found = inspect(document, modules)
    return found.report(fault for faults in found.trials() for fault in faults)


async def check_in_turns(document: Document, modules: Modules) -> Report:
    """Like `check`, beside the event loop: a large document takes seconds."""
    found = await asyncio.to_thread(inspect, document, modules)
    tried: list[Finding] = []
    for number, faults in enumerate(found.trials()):
        tried += faults
        if number % TRIALS == TRIALS - 1:
            await asyncio.sleep(0)
    return await asyncio.to_thread(found.report, tried)


def library_job(document: Document) -> list[errors.Problem]:
    """The faults of the job in a library job, which has all it needs: values to be changed are in its `context`."""
    try:
        staging.stage(orjson.dumps(document.data["job"]).decode())
    except errors.InvalidDocument as error:
        found = error.errors or [errors.Problem("", error.message)]
        places = [f"/job{problem.pointer}" for problem in found]
        return [
            errors.Problem(place, problem.message, document.where(place))
            for place, problem in zip(places, found, strict=True)
        ]
    return []


def inspect(document: Document, modules: Modules) -> Inspection:
    """Everything but the jobs: shape, wiring, parameters against their schemas. From any thread."""
    mended = mending.mend(document.data, authoring.KINDS[document.kind])
    faults, warnings = list(mended.faults), []
    model = mended.model
    if f"{document.kind}:{document.data['slug']}" in modules.reserved:
        message = f"{document.data['slug']} is the name of a {document.kind} that comes with Sluice."
        faults.append(Finding("reserved_slug", message, "Choose another slug.", "/slug"))
    if model is not None:
        found = blueprints.check_blueprint(model) if isinstance(model, Blueprint) else _graph(model, modules)
        faults += [fault for fault in found if not mended.follows(fault.pointer)]
        warnings = list(trial.warnings(model) if isinstance(model, Blueprint) else graph_faults.warnings(model))
    return Inspection(document, mended, modules, faults, warnings)


def _graph(model: Graph, modules: Modules) -> list[Finding]:
    wired = graph.wire(model, modules.find, module=True, names=modules.names)
    found = wired.findings
    if isinstance(model, Perspective):  # what it leaves open is open on purpose
        slots = {f"/steps/{index}" for index, step in enumerate(model.steps) if step.slot is not None}
        found = [one for one in found if one.code != "unbound_slot" or one.pointer not in slots]
    return [*_with_fits(found, model, modules), *graph_faults.faults(model, wired, modules)]


def _with_fits(found: list[Finding], model: Graph, modules: Modules) -> list[Finding]:
    """The faults, of which those of open steps name modules that fit; as many as somebody would bind by hand."""
    steps = {f"/steps/{index}": step for index, step in enumerate(model.steps) if step.use is None}
    unbound = [one.pointer for one in found if one.code == "unbound_slot" and one.pointer in steps][:MOST_FITTED]
    hints = {pointer: fitting.hint(steps[pointer], modules.newest) for pointer in unbound}
    return [replace(one, hint=hints.get(one.pointer, one.hint)) if one.code == "unbound_slot" else one for one in found]


def _remark(document: Document, mended: mending.Mended, one: Finding) -> Remark:
    pointer = mended.written(one.pointer)
    return Remark(one.code, one.message, one.hint, pointer, document.where(pointer))


def _order(where: str) -> tuple[int, int]:
    found = _PLACE.search(where)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def unread(problem: errors.Problem) -> workflows.Remark:
    """A fault of a document that cannot be read."""
    told: workflows.Remark = {"message": problem.message, "pointer": problem.pointer}
    if problem.where:
        told["where"] = problem.where
    if problem.pattern:
        told["pattern"] = problem.pattern
    return told
