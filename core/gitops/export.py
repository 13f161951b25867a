"""What is there, written as files that say the same. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from core.documents import dump
from core.gitops.desired import ORDER, context_place
from core.gitops.files import File
from core.model.deployment_document import DeploymentDocument
from core.model.gitops import Kind

FOLDERS = {kind: f"{kind.value}s" for kind in Kind}
_ODD = re.compile(r"[^A-Za-z0-9_.-]+")


def files(things: Mapping[tuple[Kind, str], Mapping[str, Any]], environment: str) -> list[File]:
    """A file for each thing that concerns the environment; context values of one place share one.

    `things` has the plain data of each: documents, jobs, {"value": …} of contexts, definitions, wishes.
    """
    texts: dict[Kind, dict[str, str]] = {kind: {} for kind in ORDER}
    contexts: dict[tuple[str, str], dict[str, Any]] = {}
    for (kind, name), data in sorted(things.items(), key=lambda one: (ORDER.index(one[0][0]), one[0][1])):
        match kind:
            case Kind.CONTEXT:
                level, target, key = context_place(name)
                if level != "environment" or target == environment:
                    contexts.setdefault((level, target), {})[key] = data["value"]
            case Kind.DEPLOYMENT:
                if data["environment"] == environment:
                    texts[kind][name] = dump.to_yaml(_deployment(name, data))
            case _:
                texts[kind][name] = dump.to_yaml({"kind": kind.value, **_without_version(kind, data)})
    for (level, target), values in contexts.items():
        place = {level: target} if target else {}
        texts[Kind.CONTEXT][f"{level}-{target}" if target else level] = dump.to_yaml(
            {"kind": "context", **place, "values": values}
        )
    return [file for kind in ORDER for file in _named(kind, texts[kind])]


def _without_version(kind: Kind, data: Mapping[str, Any]) -> dict[str, Any]:
    """A workflow is numbered by publishing; the others carry their version."""
    return {key: value for key, value in data.items() if not (key == "version" and kind is Kind.WORKFLOW)}


def _deployment(name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    written = {"name": name, **{key: value for key, value in data.items() if value or key == "source"}}
    if written.get("worker_group") == DeploymentDocument.model_fields["worker_group"].default:
        del written["worker_group"]
    return {"kind": "deployment", **written}


def _named(kind: Kind, texts: Mapping[str, str]) -> Iterable[File]:
    """File names that every file system takes, no two of them alike."""
    taken: set[str] = set()
    for name, text in texts.items():
        plain = _ODD.sub("_", name).lstrip(".") or "_"
        unique, number = plain, 1
        while unique.lower() in taken:
            number += 1
            unique = f"{plain}_{number}"
        taken.add(unique.lower())
        yield File(kind, f"{FOLDERS[kind]}/{unique}.yaml", text)


def manifest(found: Iterable[File], tenant: str, environment: str) -> str:
    """The manifest of these files."""
    present = {file.kind for file in found}
    scope = {"tenant_id": tenant, **({"environment": environment} if environment else {})}
    includes = [{"kind": kind.value, "paths": [f"{FOLDERS[kind]}/*.yaml"]} for kind in ORDER if kind in present]
    return dump.to_yaml({"schema_version": "v1", "scope": scope, "includes": includes})
