"""A process whose writes are recorded: it runs triggers, sets variables, and writes down each answer that it gets."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from core import ownership
from core.engine import open_engine
from core.model.principal import EVERY_TENANT, Caller, Principal, Role
from core.operations import REGISTRY
from core.settings import Settings

CALLER = Caller(Principal("ada", Role.ADMIN, (EVERY_TENANT,)), "tenant-a")


async def main(home: Path, examples: Path, runs: int, in_flight: int) -> None:
    owned = ownership.acquire(ownership.prepare(home))
    assert owned is not None
    answers = os.open(home / "answers", os.O_WRONLY | os.O_CREAT, 0o600)
    settings = Settings(home=home, workers=1, drain_seconds=1.0)
    async with open_engine(settings, REGISTRY, owned) as engine:
        handler = (examples / "smoke_trigger_handler.yaml").read_text()
        await engine.call("trigger_publish", json.loads((examples / "smoke_trigger.json").read_text()), CALLER)
        await engine.call("job_put", {"document": handler}, CALLER)
        await engine.call("job_deploy", {"name": "smoke_trigger_handler"}, CALLER)
        todo = list(range(runs))

        async def work(who: int) -> None:
            while todo:
                number = todo.pop()
                call = {"slug": "smoke_trigger", "params": {"env": f"{number}"}, "wait_timeout_seconds": 30}
                record = await engine.call("trigger_invoke", call, CALLER)
                os.write(answers, f"run {record['invocation_id']} {record['state']}\n".encode())
                await engine.call("variable_set", {"name": f"V{who}", "value": f"{number}"}, CALLER)
                os.write(answers, f"variable V{who} {number}\n".encode())

        await asyncio.gather(*(work(who) for who in range(in_flight)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
