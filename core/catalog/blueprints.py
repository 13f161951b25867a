"""What is wrong with a blueprint that its model cannot see: ports, job names, the schema of its parameters."""

from __future__ import annotations

from collections import Counter

import jsonschema_rs

from core.catalog.names import duplicates
from core.errors import shorten
from core.model.catalog import Blueprint
from core.model.plan import Finding


def check_blueprint(blueprint: Blueprint) -> list[Finding]:
    """The faults of a blueprint that its model cannot see: ports, job names, the schema of its parameters."""
    found = [
        Finding("duplicate_job", f"Two jobs are called {name}.", "Rename one.", f"/jobs/{index}/name")
        for index, name in duplicates([str(job.get("name", "")) for job in blueprint.jobs])
    ]
    used: dict[str, Counter[str]] = {"input": Counter(), "output": Counter()}
    for index, job in enumerate(blueprint.jobs):
        for side, ports in (("input", blueprint.ports.in_), ("output", blueprint.ports.out)):
            end = job.get(side)
            if isinstance(end, dict) and "port" in end:
                port = str(end["port"])
                used[side][port] += 1
                if port not in ports:
                    known = ", ".join(ports) or "none"
                    found.append(
                        Finding(
                            "unknown_port",
                            f"The job names the port {shorten(port, 60)}, which the blueprint does not declare.",
                            f"Declared: {known}.",
                            f"/jobs/{index}/{side}/port",
                        )
                    )
    found += [
        Finding(
            "unknown_port",
            f"The in port {port} is read by {used['input'][port]} jobs; it must be exactly one.",
            f"Give one job `input: {{port: {port}}}`.",
            f"/ports/in/{index}",
        )
        for index, port in enumerate(blueprint.ports.in_)
        if used["input"][port] != 1
    ]
    found += [
        Finding(
            "unknown_port",
            f"No job writes to the out port {port}.",
            f"Give a job `output: {{port: {port}}}`.",
            f"/ports/out/{index}",
        )
        for index, port in enumerate(blueprint.ports.out)
        if not used["output"][port]
    ]
    found += _inner_channels(blueprint)
    try:
        jsonschema_rs.validator_for(blueprint.parameters, offline=True)
    except ValueError as error:
        found.append(
            Finding(
                "invalid_schema",
                f"The parameters are not a JSON Schema: {shorten(str(error), 200)}",
                "See https://json-schema.org/understanding-json-schema; remote references are not followed.",
                "/parameters",
            )
        )
    return found


def _inner_channels(blueprint: Blueprint) -> list[Finding]:
    """Channels between the jobs of a blueprint that have one end only."""
    ends: dict[str, dict[str, str]] = {}
    for index, job in enumerate(blueprint.jobs):
        for side in ("input", "output"):
            end = job.get(side)
            if isinstance(end, dict) and "channel" in end:
                ends.setdefault(str(end["channel"]), {}).setdefault(side, f"/jobs/{index}/{side}/channel")
    return [
        Finding(
            "no_producer" if side == "input" else "no_consumer",
            f"The channel {shorten(name, 60)} between the jobs of the blueprint is incomplete: nothing {what} it.",
            f"Give another job `{other}: {{channel: {shorten(name, 60)}}}`.",
            pointer,
        )
        for name, found in ends.items()
        for side, pointer in found.items()
        for other, what in ((("output", "writes to") if side == "input" else ("input", "reads from")),)
        if other not in found
    ]
