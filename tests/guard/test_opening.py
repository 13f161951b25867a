"""docs/opening.md: each refusal has the words that the page shows, and each setting, flag and variable is one."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from core import documents
from core.settings import WIDENS, Settings
from tests.engines import ADMIN, engine_on
from tests.fences import DOCS

pytestmark = pytest.mark.anyio
PAGE = (DOCS / "opening.md").read_text(encoding="utf-8")
OPENS = [row for row in PAGE.splitlines() if re.search(r"\| `SLUICE_[^`]+` \|$", row)]
REFUSALS = dict(re.findall(r"^\| `(\w+)` \| `(.+)` \|$", PAGE, re.MULTILINE))

JOBS = {
    "egress_allow": '{input: {http-poll: {url: "http://127.0.0.1:1/", trigger: {interval: 1s}}}}',
    "allow_exec": '{input: {exec: {command: "true"}}}',
    "listen_allow": '{input: {http-server: {address: "0.0.0.0:18080"}}}',
    "closed_ports": '{input: {http-server: {address: "127.0.0.1:3000"}}}',
    "cloud_credentials": "{input: {echo: {event: x}}, output: {s3: {bucket-name: b, object-name: {name: x}}}}",
}
STREAM = """\
kind: workflow
slug: streaming
channels: {numbers: {transport: jetstream}}
steps:
  - {id: make, use: "blueprint:echo-source@1.0.0", out: channel:numbers}
  - {id: show, use: "blueprint:file-printer@1.0.0", in: channel:numbers}
"""


def job(name: str, parts: str) -> str:
    (document,) = documents.load(parts)
    return orjson.dumps({"name": name, "output": {"print": "STDOUT"}, **document.data}).decode()


async def test_each_refusal_says_what_the_page_says(tmp_path: Path) -> None:
    heard = {}
    async with engine_on(tmp_path / "home", file_access="tenant") as engine:
        for name, parts in JOBS.items():
            await engine.call("job_put", {"document": job(name, parts)}, ADMIN)
            deployed = await engine.call("job_deploy", {"name": name, "wait_seconds": 20}, ADMIN)
            heard[name] = " ".join(workload["reason"] for workload in deployed["workloads"])
        document = job("reads", "{input: {files: {paths: [/srv/in/*.jsonl]}}}")
        found = await engine.call("job_validate", {"document": document}, ADMIN)
        heard["file_roots"] = " ".join(one["message"] for one in found["errors"])
        await engine.call("workflow_save_draft", {"document": STREAM}, ADMIN)
        await engine.call("workflow_publish", {"slug": "streaming"}, ADMIN)
        planned = await engine.call("deployment_plan", {"name": "s", "source": "workflow:streaming"}, ADMIN)
        heard["nats"] = " ".join(blocker["message"] for blocker in planned["blockers"])
    assert heard.keys() == REFUSALS.keys()
    assert [name for name, said in heard.items() if REFUSALS[name] not in said] == [], heard


def test_what_opens_is_a_setting_that_widens_trust_with_its_variable_and_flag() -> None:
    widening = {name for name, field in Settings.model_fields.items() if WIDENS in field.metadata}
    flags = (DOCS / "cli.md").read_text(encoding="utf-8")
    for row in OPENS:
        _, _, setting, flag, variable, _ = (cell.strip(" `") for cell in row.split("|"))
        assert setting in widening
        assert variable.startswith(f"SLUICE_{setting.upper()}=")
        assert flag == "–" or f"| `{flag.split()[0]}` |" in flags
    assert REFUSALS.keys() < {row.split("|")[2].strip(" `") for row in OPENS}
