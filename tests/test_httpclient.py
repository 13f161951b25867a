"""HTTP clients are made in one place, and none of them carries cookies or what the environment says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import httpclient
from core.guard import egress
from tests import sources
from tests.dsl import web

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[1]
MAKERS = {"AsyncClient", "Client", "get", "post", "put", "patch", "delete", "head", "options", "request", "stream"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _makers(path: Path, tree: ast.Module) -> Iterator[str]:
    """Every call in a module that makes a client of httpx, or sends a request with one of its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "httpx":
            if node.attr in MAKERS and node.attr != "AsyncClient":
                yield f"{path.relative_to(ROOT)}:{node.lineno} httpx.{node.attr}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "AsyncClient":
            yield f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node.func)}()"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("httpx"):
            yield f"{path.relative_to(ROOT)}:{node.lineno} from httpx"


def test_clients_are_made_in_one_place() -> None:
    words = ("httpx", "AsyncClient")
    trees = {path: tree for word in words for path, tree in sources.trees(*sources.PRODUCT, word=word)}
    found = [made for path, tree in trees.items() for made in _makers(path, tree)]
    assert [made.partition(":")[0] for made in found] == ["core/httpclient.py"], found


async def test_a_cookie_of_a_receiver_is_not_sent_again() -> None:
    async with web.serve(web.answer(200, b"", set_cookie="track=1; Path=/")) as site:
        async with httpclient.open_client() as plain:
            await plain.get(site.url())
            await plain.get(site.url())
            assert list(plain.cookies.jar) == []
        client = egress.Egress(("127.0.0.1/32",))
        await client.request("POST", site.url())
        await client.request("POST", site.url())
        await client.aclose()
    assert len(site.requests) == 4
    assert [request for request in site.requests if "cookie" in request.headers] == []


async def test_what_the_environment_says_counts_for_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login operator password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with web.serve(web.answer(200)) as site, web.serve(web.answer(200)) as trap:
        for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, trap.url())
        async with httpclient.open_client() as plain:
            assert (await plain.get(site.url())).status_code == 200
    assert (trap.connections, site.requests[0].headers.get("authorization")) == (0, None)


async def test_no_redirect_is_followed() -> None:
    async with web.serve(web.answer(302, location="http://127.0.0.1:9/")) as site, httpclient.open_client() as plain:
        assert (await plain.get(site.url())).status_code == 302
