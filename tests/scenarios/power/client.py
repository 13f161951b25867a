"""A process whose writes are recorded: an older database, the engine that migrates it, runs, variables and applies.

Each answer that it gets is written down in `answers`, and each thing that begins, so that cuts can be aimed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlite_utils

from core import ownership
from core.engine import Engine, open_engine
from core.model.principal import EVERY_TENANT, Caller, Principal, Role
from core.operations import REGISTRY
from core.settings import Settings
from core.store import connection, migrations

CALLER = Caller(Principal("ada", Role.ADMIN, (EVERY_TENANT,)), "tenant-a")
IN_FLIGHT = 8
OLD_RUNS = 20
CHECKPOINT_PAGES = 150  # instead of SQLite's 1000, so that a short recording has many checkpoints
LISTEN = """
kind: blueprint
slug: listen
version: {version}
title: Wait for messages
parameters: {{properties: {{tag: {{type: string, default: x}}}}}}
jobs:
  - {{name: job, input: {{internal-messages: {{filter-tag: "{{{{tag}}}}"}}}}, output: {{print: STDOUT}}}}
"""
Tell = Callable[..., None]


def settings(home: Path) -> Settings:
    return Settings(home=home, workers=1, drain_seconds=1.0)


def owned(home: Path) -> ownership.Ownership:
    found = ownership.acquire(ownership.prepare(home))
    assert found is not None
    return found


async def prepare(engine: Engine, examples: Path) -> None:
    handler = (examples / "smoke_trigger_handler.yaml").read_text()
    await engine.call("trigger_publish", json.loads((examples / "smoke_trigger.json").read_text()), CALLER)
    await engine.call("job_put", {"document": handler}, CALLER)
    await engine.call("job_deploy", {"name": "smoke_trigger_handler"}, CALLER)


async def run(engine: Engine, number: int, tell: Tell) -> None:
    call = {"slug": "smoke_trigger", "params": {"env": f"{number}"}, "wait_timeout_seconds": 30}
    record = await engine.call("trigger_invoke", call, CALLER)
    tell("run", record["invocation_id"], record["state"])


async def publish(engine: Engine, version: str) -> str:
    """A module to deploy; returns its name."""
    await engine.call("workflow_save_draft", {"document": LISTEN.format(version=version)}, CALLER)
    await engine.call("workflow_publish", {"slug": "listen", "type": "blueprint"}, CALLER)
    return f"blueprint:listen@{version}"


async def apply(engine: Engine, name: str, source: str, number: int, tell: Tell) -> None:
    """Plan and apply one more revision of a deployment; every other one is not waited for."""
    wanted = {"name": name, "source": source, "values": {"tag": f"t{number}"}}
    made = await engine.call("deployment_plan", {**wanted, "replicas": {"listen": 1 + number % 3}}, CALLER)
    tell("plan", made["plan_id"], "open")
    tell("applying", name, number)
    done = {"plan_id": made["plan_id"], "wait_seconds": 30 * (number % 2)}
    result = await engine.call("deployment_apply", done, CALLER)
    tell("apply", name, result["revision"], made["plan_id"])


async def past(home: Path, examples: Path, tell: Tell) -> dict[str, list[dict[str, Any]]]:
    """All rows of a database in which something has been done, by table."""
    async with open_engine(settings(home), REGISTRY, owned(home)) as engine:
        await prepare(engine, examples)
        for number in range(OLD_RUNS):
            await run(engine, number, tell)
            await engine.call("kv_set", {"namespace": "old", "key": f"{number}", "value": "v" * number}, CALLER)
        await engine.call("variable_set", {"name": "OLD", "value": "0"}, CALLER)
        tell("variable", "OLD", 0)
        await apply(engine, "old", await publish(engine, "1.0.0"), 1, tell)
        return await engine.database.read(
            lambda db: {
                table.name: list(table.rows)
                for table in db.tables
                if not table.name.startswith("_") and table.name != "home"  # the home of then is this one
            }
        )


def older(path: Path, rows: dict[str, list[dict[str, Any]]], before: str) -> None:
    """A database as it was before a step of the schema, with what it could hold of the rows."""
    path.touch(0o600)
    opened = connection.connect(path)
    db = sqlite_utils.Database(opened)
    migrations.STEPS.apply(db, stop_before=before)
    with db.atomic():
        for name in set(rows) & set(db.table_names()):
            known = {column.name for column in db.table(name).columns}
            db.table(name).insert_all(
                ({key: value for key, value in row.items() if key in known} for row in rows[name]), replace=True
            )
    opened.close()


async def main(home: Path, examples: Path, runs: int, applies: int, before: str) -> None:
    told: list[tuple[Any, ...]] = []
    rows = await past(home.parent / "past", examples, lambda *words: told.append(words))
    ownership.prepare(home)
    answers = os.open(home / "answers", os.O_WRONLY | os.O_CREAT, 0o600)

    def tell(*words: Any) -> None:
        os.write(answers, f"{' '.join(map(str, words))}\n".encode())

    older(home / "sluice.db", rows, before)
    for words in told:  # they were told by the engine of then
        tell(*words)
    tell("opening")
    async with open_engine(settings(home), REGISTRY, owned(home)) as engine:
        tell("opened")
        engine.database._writer.conn.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        todo = list(range(runs))

        async def work(who: int) -> None:
            while todo:
                number = todo.pop()
                await run(engine, number, tell)
                await engine.call("variable_set", {"name": f"V{who}", "value": f"{number}"}, CALLER)
                tell("variable", f"V{who}", number)

        async def roll() -> None:
            source = await publish(engine, "2.0.0")
            for number in range(applies):
                await apply(engine, "demo", source, number, tell)

        await asyncio.gather(roll(), *(work(who) for who in range(IN_FLIGHT)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
