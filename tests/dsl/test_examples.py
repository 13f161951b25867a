from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from core.documents import load
from core.dsl.component import REGISTRY, Component, Limits
from core.dsl.language.compile import compile_job
from core.worker.executor import Executor
from tests import brokers, waiting
from tests.dsl import office, rig, web
from tests.dsl.rig import Worker
from tests.external import server
from tests.filepolicies import everywhere
from tests.kv import stores

COMPONENTS = [component for component in REGISTRY if component.kind in ("input", "output")]
CLOUDS = {(kind, name) for kind in ("input", "output") for name in ("s3", "gcs", "azure-blob")}
NEEDS_MORE = CLOUDS  # a site outside; compiled and not run
ANSWERS = {  # what the site says that an example calls
    "http-poll": b'{"items": [{"id": 1}], "next_cursor": null}',
    "elasticsearch": b'{"errors": false, "items": [{"index": {"status": 201}}]}',
    "http": b'{"owner": "ann"}',
    "infer": b"""{"choices": [{"message": {"content": "{\\"urgency\\": \\"high\\"}"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5}}""",
}
SITES = re.compile(r"https://[a-z.]+example\.com(:\d+)?|https://example\.com")


@pytest.fixture
def more() -> Iterator[ExitStack]:
    """What else an example needs, until its test has ended."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.anyio
@pytest.mark.parametrize("component", COMPONENTS, ids=[f"{c.kind}-{c.name}" for c in COMPONENTS])
async def test_the_example_of_a_component_is_a_job_that_runs(
    component: type[Component], worker: Worker, tmp_path: Path, more: ExitStack
) -> None:
    text = component.example
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", text)
    worker.variables.update(SPLUNK_TOKEN="t", ELASTIC_KEY="k")
    async with web.serve(web.answer(200, ANSWERS.get(component.name, b""))) as site, stores.local(tmp_path) as kept:
        worker.store = kept.store
        nats = ""
        if component.name == "jetstream":
            nats = more.enter_context(server.running("-js", "-sd", str(tmp_path / "streams"))).url
        if component.name == "kafka":
            (cluster,) = more.enter_context(brokers.mock())
            text = text.replace("broker.example.com:9092", cluster)
        worker.limits = Limits(
            allow_exec=True, egress_allow=("127.0.0.0/8",), nats=nats, files=everywhere(tmp_path / "data")
        )
        if (component.kind, component.name) not in NEEDS_MORE:
            text = SITES.sub(site.url(""), text)
        (loaded,) = load(text)
        executor = Executor(compile_job(loaded.data, worker.env()), worker.env(), on_run=worker.reports.append)
        if (component.kind, component.name) not in NEEDS_MORE:
            await run_example(component, executor, worker)
    assert all(report.ok for report in worker.reports)


async def run_example(component: type[Component], executor: Executor, worker: Worker) -> None:
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(executor.run)
            if executor.mode == "scheduled":
                await waiting.until(lambda: worker.reports)
            if executor.mode != "once":
                await rig.opened(executor)
                await executor.drain(1)
            elif component.name in ("worker-channel", "dispatch"):
                read = {"worker-channel": "lines", "dispatch": "error-lines"}[component.name]
                (await worker.env().channel(read).get()).settle(None)
                if component.name == "dispatch":  # the end of the document is for every output
                    (await worker.env().channel("other-lines").get()).settle(None)


ACTIONS = [component for component in REGISTRY if component.kind == "action"]
REFUSED = {"assert": 1}  # events of examples that show just that
FILES = {  # what examples look up, and read
    "hosts.csv": b"name,owner,place\ndb1,ann,fra\n",
    "manuals/one.pdf": office.pdf(["How to do it", "What it is good for"]),
    "letters/one.docx": office.docx(office.paragraph("Dear reader")),
}


@pytest.mark.anyio
@pytest.mark.parametrize("component", ACTIONS, ids=[c.name for c in ACTIONS])
async def test_the_example_of_an_action_runs_and_refuses_what_it_says(
    component: type[Component], worker: Worker, tmp_path: Path
) -> None:
    directory = tmp_path / "data" / worker.env().tenant
    for name, content in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    worker.limits = Limits(files=everywhere(tmp_path / "data"), egress_allow=("127.0.0.0/8",))
    async with web.serve(web.answer(200, ANSWERS.get(component.name, b""))) as site, stores.local(tmp_path) as kept:
        worker.store = kept.store
        (loaded,) = load(SITES.sub(site.url(""), component.example))
        executor = Executor(compile_job(loaded.data, worker.env()), worker.env(), on_run=worker.reports.append)
        with anyio.fail_after(5):
            await run_example(component, executor, worker)
    (report,) = worker.reports
    assert report.ok, report.reason
    assert report.events_in > 0
    assert report.errors == REFUSED.get(component.name, 0), worker.warnings
