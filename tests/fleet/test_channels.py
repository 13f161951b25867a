from __future__ import annotations

from pathlib import Path

import pytest

from core.fleet.channels import declared
from tests import waiting
from tests.engines import deploy, engine_on


def reads(name: object, **keys: object) -> dict[str, object]:
    return {"input": {"worker-channel": {"channel": name, **keys} if keys else name}}


def test_a_channel_is_told_with_its_driver_and_the_number_of_jobs_that_read_it() -> None:
    told = declared(
        [
            ("t", "a", reads("c", driver="clone")),
            ("t", "a", reads("c", driver="clone")),  # a replica
            ("t", "b", reads("c")),
            ("t", "d", reads("e")),
            ("u", "a", reads("c")),
            ("t", "w", {"input": {"echo": {"event": "x"}}, "output": {"worker-channel": "c"}}),
        ]
    )
    assert [(one.channel, one.driver, one.readers) for one in told] == [
        ("t/c", "clone", 2),
        ("t/e", "standard", 1),
        ("u/c", "standard", 1),
    ]


def test_documents_without_a_channel_are_no_readers() -> None:
    assert declared([("t", "a", {}), ("t", "b", {"input": "echo"}), ("t", "c", reads(7))]) == []


@pytest.mark.anyio
async def test_deployed_readers_of_a_clone_channel_each_get_every_event(tmp_path: Path) -> None:
    reader = """
name: {name}
input: {{worker-channel: {{channel: c, driver: clone}}}}
output: {{file: {target}}}
"""
    targets = [tmp_path / name for name in ("a", "b")]
    async with engine_on(tmp_path / "home", workers=2) as engine:
        for target in targets:
            await deploy(engine, reader.format(name=target.name, target=target))
        await deploy(engine, 'name: w\ninput: {echo: {event: "1\\n2\\n3"}}\noutput: {worker-channel: c}\n')
        await waiting.until(lambda: all(len(waiting.lines(target)) == 3 for target in targets))
    assert targets[0].read_text() == targets[1].read_text()
