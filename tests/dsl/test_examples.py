from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest

import core.dsl.inputs
import core.dsl.outputs  # noqa: F401 - both fill the registry
from core.documents import load
from core.dsl.compile import compile_job
from core.dsl.component import REGISTRY, Component
from core.worker.executor import Executor
from tests.dsl.rig import Worker

COMPONENTS = [component for component in REGISTRY if component.kind in ("input", "output")]
CLOUDS = {(kind, name) for kind in ("input", "output") for name in ("s3", "gcs", "azure-blob")}
NEEDS_MORE = {("input", "http-poll"), ("output", "http-post"), *CLOUDS}  # a site outside; compiled and not run


@pytest.mark.anyio
@pytest.mark.parametrize("component", COMPONENTS, ids=[f"{c.kind}-{c.name}" for c in COMPONENTS])
async def test_the_example_of_a_component_is_a_job_that_runs(
    component: type[Component], worker: Worker, tmp_path: Path
) -> None:
    text = component.example.replace("/tmp/sluice-example", str(tmp_path / "data"))
    (loaded,) = load(text)
    document = loaded.data
    worker.limits = type(worker.limits)(allow_exec=True)
    executor = Executor(compile_job(document, worker.env()), worker.env(), on_run=worker.reports.append)
    if (component.kind, component.name) in NEEDS_MORE:
        return
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(executor.run)
            if executor.mode == "scheduled":
                while not worker.reports:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            if executor.mode != "once":
                await asyncio.sleep(0)
                await executor.drain(1)
            elif component.name == "worker-channel":
                (await worker.env().channel("lines").get()).settle(None)
    assert all(report.ok for report in worker.reports)


@pytest.mark.parametrize("component", COMPONENTS, ids=[f"{c.kind}-{c.name}" for c in COMPONENTS])
def test_every_key_of_a_component_is_documented(component: type[Component]) -> None:
    assert component.__doc__
    assert component.example.strip()
    missing = [name for name, field in component.model_fields.items() if not field.description]
    assert not missing
