"""The published JSON Schemas of everything that people write: read off the models, so that they cannot disagree."""

from __future__ import annotations

import copy
import functools
from typing import Any

from pydantic import BaseModel

from core import settingsfile
from core.dsl.reference import schemas as jobs
from core.model.catalog import MODELS
from core.model.deployment_document import DeploymentDocument
from core.model.gitops import ContextDocument, Manifest
from core.model.trigger import Definition

SETTINGS = "settings"  # no document of a tenant: sluice.toml in the home
_OTHERS: dict[str, type[BaseModel]] = {
    **MODELS,
    "trigger": Definition,
    "deployment": DeploymentDocument,
    "context": ContextDocument,
    "manifest": Manifest,
}
KINDS = ("job", *sorted([*_OTHERS, SETTINGS]))
_ENDS = ("port", "channel")  # what the input or output of a blueprint's job may be besides a component


@functools.cache
def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one kind of document; the value is shared: do not change it."""
    if kind == "job":
        return jobs.job_schema()
    if kind == SETTINGS:
        return {"$schema": jobs.DIALECT, **settingsfile.schema(), "title": "Sluice settings"}
    made = _OTHERS[kind].model_json_schema(by_alias=True)
    if kind != "manifest":  # says what it is by its schema_version
        made["properties"]["kind"] = {"const": kind, "description": "What this document is."}
    if kind not in ("manifest", "trigger"):  # a trigger's definition is also sent bare
        made["required"] = ["kind", *made.get("required", [])]
    if kind == "blueprint":
        _offer(made["properties"]["jobs"]["items"], made, in_blueprint=True)
    if kind == "library-job":
        _offer(made["properties"]["job"], made, in_blueprint=False)
    return {"$schema": jobs.DIALECT, **made, "title": f"Sluice {kind}"}


def _offer(place: dict[str, Any], root: dict[str, Any], *, in_blueprint: bool) -> None:
    """Let editors complete a job inside another document; it is checked when it is staged, with its parameters."""
    job = copy.deepcopy(jobs.job_schema())
    root.setdefault("$defs", {}).update(job.pop("$defs"))
    del job["$schema"]
    if in_blueprint:
        for end in ("input", "output"):
            for name in _ENDS:
                choice = {"type": "string", "description": f"The {name} that a step of a workflow binds."}
                job["properties"][end]["anyOf"][0]["properties"][name] = choice
    root["$defs"]["job"] = job
    described = place.pop("description", None)
    place.clear()
    place["anyOf"] = [{"$ref": "#/$defs/job"}, {"type": "object"}]
    if described:
        place["description"] = described
