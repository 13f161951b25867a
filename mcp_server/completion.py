"""Completion: the names that an argument of a prompt, or a variable of a resource template, can have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.catalog import schemas
from core.model.principal import Caller
from mcp_server import manual, prompts, resources
from mcp_server.session import EngineSession, pages

MOST = 100
"""How many values an answer has at most; the protocol's limit."""
_PAGE = 200
_PAGES = 5  # how many names are looked through

# Where the names of a thing come from: an operation that lists them, the key of the name, further arguments.
_Listing = tuple[str, str, Mapping[str, str]]
_DEPLOYMENTS: _Listing = ("deployment_list", "name", {})
_WORKFLOWS: _Listing = ("catalog_search", "slug", {"type": "workflow"})
_TRIGGERS: _Listing = ("trigger_list", "slug", {})
_JOBS: _Listing = ("job_list", "name", {})
_GROUPS: _Listing = ("worker_group_list", "name", {})
_INVOCATIONS: _Listing = ("trigger_invocation_list", "invocation_id", {})
_OWN: _Listing = ("workflow_list", "slug", {"type": "workflow"})

_LISTINGS: Mapping[tuple[str, str], _Listing] = {
    ("rollout", "workflow"): _WORKFLOWS,
    ("rollout", "deployment"): _DEPLOYMENTS,
    ("rollout", "worker_group"): _GROUPS,
    ("triage", "deployment"): _DEPLOYMENTS,
    ("author-job", "name"): _JOBS,
    ("publish-trigger", "slug"): _TRIGGERS,
    ("publish-trigger", "job"): _JOBS,
    ("deployment", "name"): _DEPLOYMENTS,
    ("workflow", "slug"): _OWN,
    ("invocation", "invocation_id"): _INVOCATIONS,
    ("catalog", "slug"): ("catalog_search", "slug", {}),
}
_WORDS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("catalog", "type"): ("blueprint", "job", "perspective", "workflow"),
    ("schema", "kind"): tuple(schemas.KINDS),
    ("docs", "page"): tuple(manual.pages()),
}
_PREDEFINED = {template["uriTemplate"]: template["name"] for template in resources.TEMPLATES}


async def complete(
    session: EngineSession,
    ref: Mapping[str, Any],
    argument: str,
    value: str,
    context: Mapping[str, str],
    caller: Caller,
) -> dict[str, Any]:
    """The names that begin with `value`, in the wire form of CompleteResult; none for what has no names.

    `ref` is the prompt (`name`) or the template (`uri`); `context` the arguments that are already filled in.
    Raises LookupError for a prompt or a template that there is not.
    """
    place = _place(ref)
    words = _WORDS.get((place, argument))
    names = list(words) if words is not None else []
    listing = _LISTINGS.get((place, argument))
    more = False
    if listing is not None:
        operation, key, arguments = listing
        if place == "catalog" and context.get("type") in _WORDS["catalog", "type"]:
            arguments = {"type": context["type"]}
        names, more = await _names(session, operation, key, arguments, caller)
    found = sorted({name for name in names if name.startswith(value)})
    return {
        "resultType": "complete",
        "completion": {"values": found[:MOST], "total": len(found), "hasMore": more or len(found) > MOST},
    }


def _place(ref: Mapping[str, Any]) -> str:
    if ref.get("type") == "ref/prompt":
        name = str(ref.get("name"))
        if name in prompts.BY_NAME:
            return name
        raise LookupError(f"There is no prompt {name[:60]}.")
    uri = str(ref.get("uri"))
    if uri in _PREDEFINED:
        return str(_PREDEFINED[uri])
    raise LookupError(f"There is no resource template {uri[:100]}.")


async def _names(
    session: EngineSession, operation: str, key: str, arguments: Mapping[str, str], caller: Caller
) -> tuple[list[str], bool]:
    names: list[str] = []
    looked, more = 0, False
    async for page in pages(lambda given: session.call(operation, given, caller), {**arguments, "limit": _PAGE}):
        names += [str(row[key]) for row in page["items"]]
        looked, more = looked + 1, page["next_cursor"] is not None
        if looked == _PAGES:
            break
    return names, more
