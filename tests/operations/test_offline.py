"""A home without a running engine: what can be done there, and that nothing starts, runs or moves by it.

All operations of the registry are called, so that a new one is part of this without being named here.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest

from core import errors, ownership
from core.engine import Engine, open_offline
from core.fleet import child
from core.model.operation import Effect, Operation, Params
from core.operations import REGISTRY
from core.settings import Settings
from tests import cases
from tests.engines import ADMIN, engine_on
from tests.furnished import arguments_of, furnish

pytestmark = pytest.mark.anyio
OF_WHAT_RUNS = ("deployments", "workloads", "invocations", "dispatches", "callback_deliveries", "gitops_runs")
ORDER = list(Effect)  # reads, writes, and what destroys last
EVERY = sorted(REGISTRY, key=lambda op: (ORDER.index(op.effect), op.name))


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose engine had a worker, a deployment and a run, and has been stopped."""
    made = tmp_path_factory.mktemp("offline") / "home"
    async with engine_on(made, workers=1) as engine:
        with anyio.fail_after(120):
            await furnish(engine)
    return made


@pytest.fixture(scope="module")
async def offline(home: Path) -> AsyncIterator[Engine]:
    def started(*_: object) -> NoReturn:
        raise AssertionError("a worker was started")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "spawn", started)
        owned = ownership.acquire(home)
        assert owned is not None
        async with open_offline(Settings(home=home, workers=4), REGISTRY, owned) as engine:
            assert not (home / "engine.sock").exists(), "nobody can attach to it"
            yield engine


def state(home: Path) -> dict[str, list[Any]]:
    """What says what runs; how a deployment is kept is no part of it."""
    connection = sqlite3.connect(f"file:{home / 'sluice.db'}?mode=ro", uri=True)
    try:
        found = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in OF_WHAT_RUNS}
        found["deployments"] = connection.execute("SELECT tenant, name, revision, desired FROM deployments").fetchall()
        return found
    finally:
        connection.close()


async def test_nothing_starts_runs_or_moves(home: Path, offline: Engine) -> None:
    tasks = asyncio.all_tasks()
    with anyio.fail_after(120), cases.every() as case:
        for operation in EVERY:
            before = state(home)
            refused: str | None = None
            with case(operation.name):
                try:
                    await offline.call(operation.name, arguments_of(operation, real=True), ADMIN)
                except errors.NoEngine as error:
                    refused = error.hint
                except errors.SluiceError as error:
                    assert not isinstance(error, errors.Internal), error
                assert state(home) == before
                assert asyncio.all_tasks() <= tasks, "nothing goes on in the background"
                assert (refused is not None) is operation.needs_engine
                assert not refused or refused == f"Start one: sluice serve --home {home}"


def test_a_write_that_says_nothing_about_it_needs_an_engine() -> None:
    async def handler(*_: object) -> dict[str, Any]:
        return {}

    assert Operation("x", "", "", Params, handler, Effect.WRITE, "jobs", "").needs_engine
    assert not Operation("x", "", "", Params, handler, Effect.READ, "jobs", "").needs_engine


async def test_nothing_is_told_to_run_that_does_not(home: Path, offline: Engine) -> None:
    assert ownership.held(home)
    assert (await offline.call("deployment_get", {"name": "a_place"}, ADMIN))["state"] != "healthy"
