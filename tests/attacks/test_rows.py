"""Hostile input: access (A), egress (S), schemas and JSON (J), templates (T), YAML (Y); a test for each row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.attacks import access, egress, idempotency, inputs, rig
from tests.attacks.rows import ROWS, Scene

pytestmark = pytest.mark.anyio
WANTED = [
    *(f"A{n:02}" for n in range(1, 31)),
    *(f"J{n:02}" for n in range(1, 7)),
    *(f"S{n:02}" for n in range(1, 18)),
    *(f"T{n:02}" for n in range(1, 5)),
    *(f"Y{n:02}" for n in range(1, 4)),
]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[rig.Target]:
    async with rig.target(tmp_path_factory.mktemp("attacked") / "home", mcp=True) as made:
        yield made


@pytest.mark.parametrize("id", WANTED)
async def test_row(id: str, server: rig.Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with anyio.fail_after(60):
        await ROWS[id](Scene(server, monkeypatch, tmp_path))
    assert (await server.call("GET", "/health")).status_code == 200, "the server lives"


def test_the_table_is_whole() -> None:
    assert sorted(ROWS) == WANTED and all((access, egress, idempotency, inputs))
