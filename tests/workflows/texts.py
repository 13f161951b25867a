"""Documents for the tests of the room, and the shortest way to a report on one."""

from __future__ import annotations

from collections.abc import Iterable

from core import documents
from core.catalog import builtin, items
from core.model.catalog import Blueprint, Workflow
from core.workflows import authoring, check, modules

PASS = """
kind: blueprint
slug: pass
ports: {in: [in], out: [out]}
jobs: [{name: pass, input: {port: in}, output: {port: out}}]
"""
COUNTED = """
kind: blueprint
slug: counted
parameters:
  type: object
  additionalProperties: false
  required: [times]
  properties: {times: {type: integer, minimum: 1}, mode: {enum: [fast, slow]}}
jobs: [{name: j, input: {echo: {event: "{{times}}"}}, output: {print: STDOUT}}]
"""
TWO_PORTS = """
kind: blueprint
slug: parted
ports: {in: [in], out: [good, bad]}
jobs:
  - {name: a, input: {port: in}, output: {port: good}}
  - {name: b, input: {echo: {event: e}}, output: {port: bad}}
"""
SPOOL = """
kind: workflow
slug: spool
version: 1
ports: {in: [events], out: [done]}
wizard: [{field: dir, type: path, required: true}]
channels: {mid: {transport: file-store, with: {path: "{{wizard.dir}}"}}}
steps:
  - {id: first, use: "blueprint:pass@1.0.0", in: port:events, out: channel:mid}
  - {id: last, use: "blueprint:pass@1.0.0", in: channel:mid, out: port:done}
"""


def known(more: Iterable[items.Entry] = ()) -> modules.Modules:
    """What comes with Sluice, and a few modules of the tenant's own."""
    own = [(PASS, Blueprint), (COUNTED, Blueprint), (TWO_PORTS, Blueprint), (SPOOL, Workflow)]
    entries = [items.entry(documents.check(documents.load(text)[0], model)) for text, model in own]
    return modules.of([*builtin.load(), *entries, *more])


KNOWN = known()


def report(text: str, of: modules.Modules = KNOWN) -> check.Report:
    return check.check(authoring.read(text, "w.yaml"), of)


def found(text: str, of: modules.Modules = KNOWN) -> list[tuple[str, str]]:
    """(code, pointer) of every fault."""
    return [(fault.code, fault.pointer) for fault in report(text, of).faults]
