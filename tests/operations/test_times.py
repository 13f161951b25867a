"""Times in answers: a number that readers of JSON round has the same time beside it as text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from core import clock
from core.engine import Engine
from core.model.operation import Effect
from core.operations import REGISTRY
from tests import cases
from tests.engines import ADMIN, engine_on
from tests.furnished import arguments_of, furnish

pytestmark = pytest.mark.anyio
EXACT = 2**53  # a larger integer may be another one to a reader whose numbers are floats (RFC 8259, 6)
OF_JOBS = frozenset({"params", "result", "result_of_job", "message_data", "job_event", "body"})
"""What jobs and callers wrote, as they wrote it."""
CREDENTIALS = frozenset({"token_verify", "token_exchange"})  # what needs one that is valid
OF_A_LOGIN = {"login_begin", "mcp_grant_get"}
"""They answer where a provider, or the address for MCP hosts, is set: identity/test_signing_in.py."""
READS = sorted(one.name for one in REGISTRY if one.effect is Effect.READ and one.name not in CREDENTIALS | OF_A_LOGIN)
TEXTS = {"nanoseconds_since_epoch": "at"}


def without_text(answer: Any, path: str = "") -> Iterator[str]:
    """The places of numbers beyond EXACT that have no text beside them."""
    if isinstance(answer, dict):
        for key, value in answer.items():
            if key in OF_JOBS:
                continue
            if isinstance(value, int) and abs(value) > EXACT:
                twin = TEXTS.get(key, key.removesuffix("_ns"))
                if answer.get(twin) != clock.iso(value):
                    yield f"{path}.{key} = {value}"
            yield from without_text(value, f"{path}.{key}")
    elif isinstance(answer, list):
        for number, value in enumerate(answer):
            yield from without_text(value, f"{path}[{number}]")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path_factory.mktemp("times") / "home", workers=1) as made:
        with anyio.fail_after(60):
            await furnish(made)
        yield made


@cases.table("name", READS)
async def test_a_number_that_readers_round_has_its_text_beside_it(engine: Engine, name: str) -> None:
    answer = await engine.call(name, arguments_of(REGISTRY[name], real=True), ADMIN)
    assert list(without_text(answer)) == []


def test_the_comparison_can_fail() -> None:
    assert list(without_text({"rows": [{"at_ns": 2**60}]})) == [f".rows[0].at_ns = {2**60}"]
