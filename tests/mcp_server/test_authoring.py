"""An agent writes a job with nothing but its tools, over a real `sluice-mcp`; a person does the same with commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import mcp
import orjson
import pytest
from mcp.client.stdio import StdioServerParameters

from mcp_server.cli import stage
from tests import cases, waiting
from tests.running import running

pytestmark = pytest.mark.anyio
BROKEN = """\
name: authored
input: {echo: {event: '{"level": "error", "n": 1}', jsn: true, trigger: {interval: 60}}}
actions:
  - filtr: {condition: 'level == "error"'}
output: {print: STDOUT}
"""
MENDED = BROKEN.replace("jsn", "json").replace("interval: 60", "interval: 60s").replace("filtr", "filter")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[stage.Stage]:
    async with running(tmp_path_factory.mktemp("authoring"), workers=1) as scene:
        yield scene


@pytest.fixture(scope="module")
async def agent(scene: stage.Stage) -> AsyncIterator[stage.McpClient]:
    async with scene.mcp("default", toolsets="jobs") as client:
        yield client


async def good(agent: stage.McpClient, tool: str, **arguments: Any) -> dict[str, Any]:
    with anyio.fail_after(60):
        answer = await agent.call(tool, **arguments)
    assert not answer.code, answer
    return answer.result


async def test_an_agent_authors_checks_traces_and_runs_a_job_with_its_tools_alone(agent: stage.McpClient) -> None:
    index = await good(agent, "dsl_reference")
    assert "filter" in index["action"]
    entry = await good(agent, "dsl_reference", kind="action", name="filter")
    assert any(line.startswith("condition") for line in entry["keys"]) or "condition" in orjson.dumps(entry).decode()
    checked = await good(agent, "job_validate", document=BROKEN)
    told = {fault["pointer"]: fault for fault in checked["errors"]}
    assert checked["valid"] is False
    assert set(told) == {"/input/echo/jsn", "/input/echo/trigger/interval", "/actions/0/filtr"}
    assert "did you mean 'filter'" in told["/actions/0/filtr"]["message"]
    assert told["/actions/0/filtr"]["where"] == "<document>:4:5"
    assert (await good(agent, "job_validate", document=MENDED))["valid"] is True
    traced = await good(agent, "job_trace", document=MENDED, events=[{"level": "error"}, {"level": "info"}])
    assert [(step["action"], step["dropped"]) for step in traced["steps"]] == [("filter", 1)]
    assert traced["events_out"] == [{"level": "error"}]
    put = await good(agent, "job_put", document=MENDED)
    assert (put["name"], put["version"], put["changed"]) == ("authored", 1, True)
    deployed = await good(agent, "job_deploy", name="authored")
    assert [workload["state"] for workload in deployed["workloads"]] == ["running"]
    shown = await waiting.until(lambda: good(agent, "job_get", name="authored"), lambda shown: shown["log"])
    assert shown["log"][0]["text"] == '{"level":"error","n":1}'
    assert (await good(agent, "job_undeploy", name="authored"))["workloads"] == []


@cases.table(
    ("tool", "arguments", "code", "pointer"),
    [
        ("dsl_reference", {"kind": "inputs"}, "invalid_params", "/kind"),
        ("dsl_reference", {"key": "auth"}, "invalid_params", "/key"),
        ("dsl_reference", {"query": "x", "name": "y"}, "invalid_params", "/query"),
        ("job_validate", {}, "invalid_params", ""),
        ("job_trace", {"document": MENDED, "events": "x"}, "invalid_params", "/events"),
        ("job_trace", {"document": BROKEN}, "invalid_document", "/input/echo/trigger/interval"),
        ("job_put", {"document": BROKEN}, "invalid_document", "/input/echo/trigger/interval"),
        ("job_put", {"document": MENDED, "base_revision": 3}, "invalid_params", "/base_revision"),
        ("job_deploy", {"name": "authored", "replicas": 0}, "invalid_params", "/replicas"),
        ("job_get", {"name": "authored", "version": 99}, "not_found", None),
    ],
)
async def test_every_step_answers_wrong_input_with_what_to_mend(
    agent: stage.McpClient, tool: str, arguments: dict[str, Any], code: str, pointer: str | None
) -> None:
    with anyio.fail_after(60):
        answer = await agent.call(tool, **arguments)
    assert answer.code == code
    if pointer is not None:
        assert pointer in answer.pointers


async def test_the_schemas_are_resources_of_the_server(scene: stage.Stage) -> None:
    server = StdioServerParameters(
        command=stage.program("sluice-mcp"), args=["--home", str(scene.home)], env=stage.environment()
    )
    with anyio.fail_after(60):
        async with mcp.Client(server) as client:
            listed = {str(resource.uri) for resource in (await client.list_resources()).resources}
            read = await client.read_resource("schema://trigger")
            with pytest.raises(mcp.MCPError):
                await client.read_resource("schema://nothing")
    assert {"schema://job", "schema://trigger", "schema://workflow", "schema://deployment"} <= listed
    schema = orjson.loads(read.contents[0].text)
    assert schema["properties"]["kind"] == {"const": "trigger", "description": "What this document is."}


async def run(scene: stage.Stage, *words: str) -> tuple[int, str, str]:
    with anyio.fail_after(60):
        done = await anyio.run_process(
            [stage.program("sluice"), *words, "--home", str(scene.home)], check=False, env=stage.environment()
        )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_a_person_does_the_same_with_commands(scene: stage.Stage, tmp_path: Path) -> None:
    broken, mended, events = tmp_path / "broken.yaml", tmp_path / "mended.yaml", tmp_path / "events.jsonl"
    broken.write_text(BROKEN.replace("authored", "by-hand"))
    mended.write_text(MENDED.replace("authored", "by-hand"))
    events.write_text('{"level": "error"}\n{"level": "info"}\n')
    code, out, _ = await run(scene, "dsl", "filter")
    assert code == 0
    assert "condition" in out
    code, out, _ = await run(scene, "job", "validate", "-f", str(broken))
    assert code == 1
    assert f"{broken}:4:5" in out.replace("\n", "")
    code, out, _ = await run(scene, "job", "trace", str(mended), "--events", str(events))
    assert code == 0
    assert "0 filter: 2 in, 1 out, 1 dropped" in out
    code, out, err = await run(scene, "job", "put", "--draft", "-f", str(broken))
    assert code == 0
    assert "did you mean 'filter'" in out
    assert (await run(scene, "job", "stage", "by-hand"))[0] == 1
    code, _, err = await run(scene, "job", "put", "--draft", "-f", str(mended))
    assert code == 4  # refused
    assert "--base-revision 1" in err
    assert (await run(scene, "job", "put", "--draft", "-f", str(mended), "--base-revision", "1"))[0] == 0
    assert (await run(scene, "job", "stage", "by-hand"))[0] == 0
    assert (await run(scene, "job", "deploy", "by-hand"))[0] == 0
    code, out, _ = await run(scene, "job", "clone", "by-hand", "copied")
    assert code == 0
    assert out.startswith("name: copied\n")
    code, out, _ = await run(scene, "job", "show", "by-hand")
    assert "'text'" not in out
    assert "Log" in out
    assert (await run(scene, "job", "undeploy", "by-hand"))[0] == 0
    assert (await run(scene, "job", "delete", "by-hand"))[0] == 0
    assert (await run(scene, "job", "delete", "copied", "--draft"))[0] == 0


async def test_a_job_that_fails_at_once_fails_the_command_unless_told_not_to_wait(
    scene: stage.Stage, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: fails\ninput: {file-store: {path: gone}}\noutput: {print: STDOUT}\n")
    assert (await run(scene, "job", "put", "-f", str(file)))[0] == 0
    code, _, err = await run(scene, "job", "deploy", "fails")
    assert code == 1
    assert "does not exist" in err
    assert (await run(scene, "job", "undeploy", "fails"))[0] == 0
    assert (await run(scene, "job", "deploy", "fails", "--no-wait"))[0] == 0
    assert (await run(scene, "job", "undeploy", "fails"))[0] == 0


@cases.table(
    ("words", "code", "fault"),
    [
        (("job", "trace", "/nowhere.yaml"), 1, "Cannot read /nowhere.yaml"),
        (("job", "trace", "-", "--events", "-"), 1, "Only one of document and events"),
        (("job", "trace", "--job", "x", "--message", "[]"), 1, "--message must be a JSON object"),
        (("job", "show", "x", "--compare", "new"), 1, "--compare new is not a whole number"),
        (("dsl", "a", "b"), 1, "takes one thing"),
        (("schema", "nothing"), 1, "no kind of document"),
        (("job", "clone", "x"), 2, ""),
    ],
)
async def test_wrong_words_are_told(scene: stage.Stage, words: tuple[str, ...], code: int, fault: str) -> None:
    found, _, err = await run(scene, *words)
    assert found == code
    assert fault in err
