"""Graphs over HTTP: well-formed SVG that no browser runs anything from, and the usual refusals."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from core import errors
from core.model.operation import Registry
from core.model.principal import Caller
from core.operations import REGISTRY
from tests.mcp_server.http import service as made

pytestmark = pytest.mark.anyio


class Pictures(made.Service):
    """A service with the two operations whose answers are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = Registry()
        self.operations._operations |= {operation.name: operation for operation in made.REGISTRY}
        self.operations._operations |= {name: REGISTRY[name] for name in ("catalog_get", "workflow_get")}
        self.asked: list[tuple[str, dict[str, Any], str]] = []

    async def call(self, operation: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
        if operation == "token_verify":
            return await super().call(operation, arguments, caller)
        REGISTRY[operation].validate(arguments)
        self.asked.append((operation, arguments, caller.tenant))
        if arguments["slug"] == "none":
            raise errors.NotFound("There is no such thing.")
        graph = {
            "nodes": [{"id": "<script>"}, {"id": "b"}],
            "edges": [{"kind": "message", "from": "<script>", "to": "b", "tag": "t"}],
        }
        return {"type": "workflow", "slug": arguments["slug"], "version": None, "graph": graph}


async def test_a_picture_is_safe_and_well_formed() -> None:
    service = Pictures()
    async with made.client(service) as client:
        answer = await client.get("/api/catalog/workflow/x/graph.svg?version=2")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    root = ElementTree.fromstring(answer.text)
    assert not [node for node in root.iter() if node.tag.endswith("script")]
    assert service.asked == [
        ("catalog_get", {"type": "workflow", "slug": "x", "version": 2, "detail": "detailed"}, "default")
    ]


async def test_a_draft_has_a_picture_too() -> None:
    service = Pictures()
    async with made.client(service) as client:
        answer = await client.get("/api/workflows/x/graph.svg?version=draft")
    assert answer.status_code == 200
    assert service.asked == [("workflow_get", {"slug": "x", "version": "draft"}, "default")]


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/api/catalog/workflow/none/graph.svg", "ada", 404),
        ("/api/catalog/wrkflow/x/graph.svg", "ada", 422),
        ("/api/catalog/workflow/x/graph.svg?colour=red", "ada", 422),
        ("/api/catalog/workflow/x/graph.svg", None, 401),
        (f"/api/workflows/{'x' * 65}/graph.svg", "ada", 422),
    ],
)
async def test_a_picture_is_refused_like_everything_else(path: str, token: str | None, status: int) -> None:
    async with made.client(Pictures(), token=token) as client:
        answer = await client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")
