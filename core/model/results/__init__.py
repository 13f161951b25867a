"""What operations answer with, as types: mypy checks who builds an answer, and OpenAPI tells clients of the same.

A verb names its result as what it returns; the registry reads it there. A key that may be missing is NotRequired, a
state is its StrEnum, and a string below a field says what its name does not. One thing is one type wherever it is
shown, and its name is the one of its component in OpenAPI. Annotations are evaluated here: no `from __future__`.

    schemas     the JSON Schema of a type, made when somebody asks for it
    basics      pages, times, free JSON, faults, calls that come next
    findings    what plans and deployments are told of: single changes, warnings and blockers

The others are called as what they are about. All of them are imported when somebody asks for a schema, and not before:
hundreds of types would cost every start. Who builds an answer imports them for mypy alone; a verb writes
`results.workloads.Workload`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.model.results import (
        basics,
        catalog,
        contexts,
        deployments,
        engine,
        explaining,
        findings,
        gitops,
        identity,
        jobs,
        kv,
        letters,
        messages,
        plans,
        runs,
        triggers,
        workers,
        workflows,
        workloads,
    )
    from core.model.results.basics import JsonObject, Listing, Page

__all__ = [
    "JsonObject",
    "Listing",
    "Page",
    "basics",
    "catalog",
    "contexts",
    "deployments",
    "engine",
    "explaining",
    "findings",
    "gitops",
    "identity",
    "jobs",
    "kv",
    "letters",
    "messages",
    "plans",
    "runs",
    "triggers",
    "workers",
    "workflows",
    "workloads",
]


_BASIC = ("JsonObject", "Listing", "Page")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(name)
    module = importlib.import_module(f"{__name__}.{'basics' if name in _BASIC else name}")
    return getattr(module, name) if name in _BASIC else module
