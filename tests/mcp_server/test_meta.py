"""What a client says in `_meta` makes no request a fault of ours: it is refused as its own, or it does not matter."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx
import mcp_types as types
import pytest

from tests import figures
from tests.identity.peer import ERAS, Peer
from tests.mcp_server import fake
from tests.mcp_server.test_http import serving

pytestmark = pytest.mark.anyio
ODD: list[Any] = [None, True, False, 0, -1, 1.5, 2**53 + 1, 10**400, "", "x" * 5000, "\ud800", [], ["a"], {}, {"a": 1}]
PLACES = (
    "progressToken",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/subscriptionId",
    "io.modelcontextprotocol/related-task",
    "traceparent",
    "tracestate",
    "baggage",
    "unheard/of",
)
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("tools/call", {"name": "nobodys_tool", "arguments": {}}),
    ("tools/call", {"name": "explain", "arguments": {}}),
    ("tools/call", {"name": "trigger_invoke_nobodys", "arguments": {"a": "b"}}),
    ("tools/list", {}),
    ("resources/read", {"uri": "invocation://none"}),
    ("prompts/get", {"name": "none"}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "none"}, "argument": {"name": "a", "value": ""}}),
]


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_tool_is_unknown_with_and_without_a_progress_token(era: str) -> None:
    async with serving(fake.FakeSession()) as url, httpx.AsyncClient(base_url=url.removesuffix("/mcp")) as client:
        peer = Peer(client, era)
        await peer.greet()
        told = []
        for token in ({}, {"progressToken": 1}, {"progressToken": "a"}):
            request = peer.request("tools/call", {"name": "nobodys", "arguments": {}})
            request["json"]["params"].setdefault("_meta", {}).update(token)
            told.append((await _error(client, request))["error"])
    assert told[0]["code"] == types.INVALID_PARAMS and told[0]["message"].startswith("Unknown tool: nobodys")
    assert told == [told[0]] * 3


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["pairs", "every"])
@pytest.mark.parametrize("era", ERAS)
async def test_no_form_of_meta_is_a_fault_of_ours(
    era: str, every: bool, caplog: pytest.LogCaptureFixture, record_property: figures.Recorder
) -> None:
    """Each value in each place, of one call after the other; or each of them of every call."""
    places = list(itertools.product((*PLACES, "_meta"), ODD))
    asked = (
        [(call, *one) for one in places for call in CALLS]
        if every
        else [(CALLS[number % len(CALLS)], *one) for number, one in enumerate(places)]
    )
    figures.record(record_property, requests=len(asked))
    made = fake.FakeSession()
    async with (
        serving(made, seconds=60) as url,
        httpx.AsyncClient(base_url=url.removesuffix("/mcp")) as client,
    ):
        peer = Peer(client, era)
        await peer.greet()
        wrong = []
        for (method, params), place, value in asked:
            request = peer.request(method, dict(params))
            if place == "_meta":
                request["json"]["params"]["_meta"] = value
            else:
                request["json"]["params"].setdefault("_meta", {})[place] = value
            answer = await _error(client, request)
            if answer.get("error", {}).get("code") == types.INTERNAL_ERROR:
                wrong.append((method, place, str(value)[:40], answer["error"]))
        assert (await peer.ask("tools/list", {}))[0] == 200, "and it goes on"
    assert wrong == []
    assert "Traceback" not in caplog.text


async def _error(client: httpx.AsyncClient, request: dict[str, Any]) -> dict[str, Any]:
    """The JSON-RPC answer to a request whose JSON may be none."""
    body = json.dumps(request["json"]).encode()
    answer = await client.post("/mcp", content=body, headers={**request["headers"], "content-type": "application/json"})
    text = answer.text
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        text = [line[5:] for line in text.splitlines() if line.startswith("data:")][-1]
    return dict(json.loads(text)) if text else {}
