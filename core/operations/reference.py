"""What an author needs at hand: the reference of the job language, and the schemas of all documents."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core import errors
from core.catalog import schemas
from core.dsl.reference import answers
from core.engine import Engine
from core.model import results
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import operation

Kind = Literal["input", "action", "output", "trigger", "expansion", "condition", "document"]


class DslReference(Params):
    kind: Kind | None = None
    """What is looked for; alone: all of that kind."""
    name: str | None = Field(default=None, min_length=1, max_length=100)
    """One entry, e.g. http-poll."""
    key: str | None = Field(default=None, min_length=1, max_length=200)
    """With name: one key and what stands below it, e.g. auth or auth.basic."""
    query: str | None = Field(default=None, min_length=1, max_length=200)
    """Words to search for, in names, keys and descriptions."""


@operation(
    summary="Look up the job language: components, keys, examples.",
    http="GET /api/dsl",
    toolset="jobs",
    role=Role.VIEWER,
    homeless=True,
)
async def dsl_reference(engine: Engine, caller: Caller, params: DslReference) -> results.catalog.LanguageReference:
    """Look up how jobs are written. Without arguments: all names. query searches; kind and name show one entry.

    An entry has keys with type, default and meaning, and an example that runs.
    """
    if params.query is not None:
        if params.name is not None or params.kind is not None or params.key is not None:
            raise errors.InvalidParams(
                "query stands alone.", errors=[errors.Problem("/query", "not together with kind, name or key")]
            )
        return answers.search(params.query)
    if params.name is None:
        if params.key is not None:
            raise errors.InvalidParams("key needs name.", errors=[errors.Problem("/key", "only with name")])
        return answers.of_kind(params.kind) if params.kind is not None else answers.index()
    found = answers.find(params.kind, params.name)
    if len(found) > 1:
        items: list[results.catalog.LanguageEntry] = [
            {"kind": entry.kind, "name": entry.name, "summary": entry.summary} for entry in found
        ]
        return {"items": items, "next": "Several kinds have this name: add kind."}
    return answers.show(found[0], params.key or "")


class SchemaGet(Params):
    kind: str = Field(max_length=40, description=f"The kind of document: {', '.join(schemas.KINDS)}.")


@operation(
    summary="The JSON Schema of one kind of document.",
    http="GET /api/schemas/{kind}",
    toolset="jobs",
    tool=False,
    role=Role.VIEWER,
    homeless=True,
)
async def schema_get(engine: Engine, caller: Caller, params: SchemaGet) -> results.JsonObject:
    """The JSON Schema (2020-12) by which an editor completes and checks documents of that kind."""
    if params.kind not in schemas.KINDS:
        raise errors.NotFound(
            f"There is no kind of document called {errors.shorten(params.kind, 40)}.",
            hint=f"Kinds: {', '.join(schemas.KINDS)}.",
        )
    return schemas.schema(params.kind)
