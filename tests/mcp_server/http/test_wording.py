"""Calls and hints as routes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from core import errors
from core.operations import REGISTRY
from mcp_server.http.wording import Wording, route
from tests.hints import hints
from tests.mcp_server.http import service as made

pytestmark = pytest.mark.anyio
WORDS = Wording(REGISTRY)


@pytest.mark.parametrize(
    ("operation", "arguments", "said"),
    [
        ("deployment_get", {"name": "a b/c"}, "GET /api/deployments/a%20b%2Fc"),
        ("deployment_plan", {"name": "x", "to_revision": 3}, "POST /api/deployments/x/plan"),
        ("explain", {"kind": "job", "id": "tail"}, "GET /api/explain/job/tail"),
        ("catalog_search", {"source": "portal", "tags": ["a", "b"], "limit": 5}, None),
        ("trigger_list", {"invokable_only": True, "tag": None}, "GET /api/triggers?invokable_only=true"),
        ("job_get", {}, "GET /api/jobs/{name}"),
        ("credential_check", {"ids": []}, "credential_check"),
    ],
)
def test_a_call_is_shown_as_a_route(operation: str, arguments: dict[str, Any], said: str | None) -> None:
    wanted = said or "GET /api/catalog?source=portal&tags=a&tags=b&limit=5"
    assert route(REGISTRY[operation], arguments) == wanted


def test_no_hint_leaves_the_name_of_an_operation_to_a_program() -> None:
    named = re.compile(r"\b(" + "|".join(one.name for one in REGISTRY if "_" in one.name and one.http) + r")\b")
    assert [text for text in map(WORDS.hint, hints()) if named.search(text)] == []


def test_every_route_that_a_hint_leads_to_exists() -> None:
    known = {path for one in REGISTRY for path in (one.http, *one.http_also)}
    shapes = [re.compile(re.sub(r"\\\{\w+\\\}", r"[^/]+", re.escape(path))) for path in known if path]
    said = [found for text in map(WORDS.hint, hints()) for found in re.findall(r"[A-Z]+ /api/[^\s?,;)']+", text)]
    assert len(said) > 40
    for one in said:
        assert any(shape.fullmatch(one.rstrip(".")) for shape in shapes), one


def test_a_step_has_its_route_and_stays_a_call() -> None:
    step = {"call": "deployment_plan", "arguments": {"name": "x"}, "why": "then deployment_apply"}
    answer = WORDS.answer({"state": "stale", "next": [step]})
    why = "then POST /api/plans/{plan_id}/apply"
    assert answer == {"state": "stale", "next": [{**step, "why": why, "route": "POST /api/deployments/x/plan"}]}


def test_what_is_no_direction_stays_as_it_is() -> None:
    answer = {"next": "Add name.", "items": [{"hint": "job_list"}], "result": {"hint": "job_list"}}
    assert WORDS.answer(answer) == answer


async def test_a_fault_is_told_with_routes_and_to_a_session_as_the_engine_says_it() -> None:
    service = made.Service()
    service.faults["gone"] = errors.NotFound("There is no thing gone.", hint="thing_list shows them.")
    async with made.client(service) as client:
        answer = await client.get("/api/things/gone")
        raw = await client.post("/api/operations/thing_get", json={"slug": "gone"})
    assert answer.json()["hint"] == "GET /api/things shows them."
    assert raw.json()["hint"] == "thing_list shows them."
