"""GitOps as a pipeline does it: the command line against a `sluice serve`, the guide as it is written, and kill -9."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import orjson
import pytest

from core.gitops import files
from mcp_server.cli import stage
from tests import waiting

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "gitops.md"
KEYS = 12
WORKFLOW = """\
kind: workflow
slug: beat
steps:
  - {id: beat, use: "blueprint:echo-source@1.0.0", with: {event: '{"n": "{{k1}}"}', interval: 1s}, out: channel:c}
  - {id: print, use: "blueprint:file-printer@1.0.0", in: channel:c}
"""


@contextlib.asynccontextmanager
async def serving(home: Path) -> AsyncIterator[stage.Stage]:
    scene = stage.Stage(home)
    try:
        await scene.start(workers=1)
        yield scene
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()


def lines_of_the_guide() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


async def test_the_guide_works_as_it_stands_from_dev_to_prod_and_back(tmp_path: Path) -> None:
    copied = shutil.copytree(ROOT / "examples" / "gitops", tmp_path / "files")
    environment = stage.environment() | {
        "SLUICE_HOME": str(tmp_path / "home"),
        "COLUMNS": "200",
    }
    said = {}
    with anyio.fail_after(180):
        async with serving(tmp_path / "home") as scene:
            for line in lines_of_the_guide():
                program, *words = shlex.split(line)
                command = [stage.program(program), *words]
                done = await anyio.run_process(command, check=False, cwd=copied, env=environment)
                assert done.returncode in (0, 2 if " diff " in line or "--dry-run" in line else 0), (line, done)
                said[line] = done
            status = await scene.must("GET", "/api/gitops/status")
            runs = await scene.must("GET", "/api/gitops/runs")
    outputs = {line: done.stdout.decode() for line, done in said.items()}
    assert "dev.yaml is valid: 1 workflow, 1 context, 1 deployment." in outputs["sluice gitops validate dev.yaml"]
    assert (said["sluice gitops diff dev.yaml"].returncode, said["sluice gitops diff prod.yaml"].returncode) == (2, 0)
    assert "environment prod: 3 unchanged" in outputs["sluice gitops diff prod.yaml"]
    by_name = {one["environment"]: one for one in status["environments"]}
    assert {name: one["commit_sha"] for name, one in by_name.items()} == {"": None, "dev": "2" * 40, "prod": "1" * 40}
    assert all(one["in_sync"] for one in by_name.values())
    assert [d["source"] for name in ("dev", "prod") for d in by_name[name]["deployments"]] == [
        "workflow:heartbeat@2",
        "workflow:heartbeat@1",
    ]
    assert [run["action"] for run in runs["items"]] == ["rollback", "promote", "apply", "apply", "apply", "apply"]
    assert runs["items"][0]["approval"] == {"approved_by": "Ada", "change": "CHG-42", "commit": "1" * 40}


def repository(root: Path) -> Path:
    """A repository that takes some steps to apply."""
    texts = {
        "workflows/beat.yaml": WORKFLOW,
        "contexts/dev.yaml": "kind: context\nenvironment: dev\nvalues:\n"
        + "".join(f"  k{n}: v{n}\n" for n in range(KEYS)),
        "triggers/go.yaml": "kind: trigger\nslug: go\ntarget_job_name: lonely\n",
        "jobs/lonely.yaml": "name: lonely\ninput: {echo: {event: x, trigger: {interval: {duration: 1h}}}}\n"
        "output: {print: STDOUT}\n",
        "deployments/one.yaml": "kind: deployment\nname: one-dev\nsource: workflow:beat\n",
        "deployments/two.yaml": "kind: deployment\nname: two-dev\nsource: workflow:beat\n",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    kinds = ("workflow", "context", "job", "trigger", "deployment")
    manifest = {
        "schema_version": "v1",
        "scope": {"tenant_id": "default", "environment": "dev"},
        "includes": [{"kind": kind, "paths": [f"{kind}s/*.yaml"]} for kind in kinds],
    }
    path = root / "sluice.yaml"
    path.write_bytes(orjson.dumps(manifest))
    return path


SOAKED = [pytest.param(events, marks=pytest.mark.soak) for events in (1, KEYS + 4)]


@pytest.mark.parametrize("events", [6, KEYS + 2, *SOAKED])
async def test_an_apply_that_was_killed_in_the_middle_is_finished_by_the_next_one(tmp_path: Path, events: int) -> None:
    manifest = repository(tmp_path / "repository")
    home = tmp_path / "home"
    with anyio.fail_after(120):
        async with serving(home) as scene:
            body = _body(manifest)
            run = await scene.must("POST", "/api/gitops/apply", **body, wait_seconds=0)

            async def far_enough() -> bool:
                shown = (await scene.must("GET", f"/api/gitops/runs/{run['run_id']}"))["items"][0]
                return len(shown["events"]) >= events or shown["state"] != "running"

            await waiting.until(far_enough)
            os.killpg(scene.pid, signal.SIGKILL)
        async with serving(home) as scene:
            (killed,) = (await scene.must("GET", f"/api/gitops/runs/{run['run_id']}"))["items"]
            assert killed["state"] in ("interrupted", "succeeded")
            again = await scene.cli("gitops", "apply", str(manifest))
            assert again.result["state"] == "succeeded", again
            found = await scene.cli("gitops", "diff", str(manifest))
            assert found.result["changes"] == []
            (dev,) = (await scene.must("GET", "/api/gitops/status"))["environments"]
            assert (dev["in_sync"], len(dev["deployments"])) == (True, 2)
            # Whose everything is was not lost either: without files, all of it goes.
            manifest.write_bytes(orjson.dumps({**orjson.loads(manifest.read_bytes()), "includes": []}))
            emptied = await scene.cli("gitops", "apply", str(manifest))
            assert (emptied.result["state"], emptied.result["summary"]["prune"]) == ("succeeded", KEYS + 5)
            assert (await scene.must("GET", "/api/deployments"))["items"] == []
            assert (await scene.must("GET", "/api/contexts"))["items"] == []


def _body(manifest: Path) -> dict[str, object]:
    bundle = files.read(manifest)
    return {"manifest": bundle.manifest.model_dump(mode="json"), "files": [file.to_dict() for file in bundle.files]}


async def test_the_exit_code_tells_nothing_changes_and_errors_apart(tmp_path: Path) -> None:
    manifest = repository(tmp_path / "repository")

    async def code(*words: str) -> tuple[int, str]:
        done = await anyio.run_process(
            [stage.program("sluice"), *words, "--home", str(tmp_path / "home")],
            check=False,
            stdin=subprocess.DEVNULL,
            env=stage.environment(),
        )
        return done.returncode, done.stderr.decode() + done.stdout.decode()

    with anyio.fail_after(120):
        async with serving(tmp_path / "home") as scene:
            large = "kind: context\nenvironment: dev\nvalues:\n" + "".join(
                f"  KEY{n}: '{'x' * 60_000}'\n" for n in range(15)
            )
            body = {**_body(manifest), "files": []}
            body["files"] = [{"kind": "context", "path": f"{k}.yaml", "text": large.replace("KEY", k)} for k in "abc"]
            assert (await scene.must("POST", "/api/gitops/validate", **body))["counts"] == {"context": 45}
            assert (await code("gitops", "validate", str(manifest)))[0] == 0
            assert (await code("gitops", "diff", str(manifest)))[0] == 2
            assert (await code("gitops", "diff", "--manifest", str(manifest), "--no-exit-code"))[0] == 0
            assert (await code("gitops", "apply", str(manifest)))[0] == 0
            assert (await code("gitops", "diff", str(manifest), "--exit-code"))[0] == 0
            workflow = manifest.parent / "workflows" / "beat.yaml"
            workflow.write_text(WORKFLOW.replace("echo-source", "echo-sorce"))
            (manifest.parent / "jobs" / "bad.yaml").symlink_to("/etc/passwd")
            right = manifest.read_text()
            manifest.write_text(right.replace("{", '{"prune": true, ', 1))
            for command in ("validate", "diff", "apply"):
                status, said = await code("gitops", command, str(manifest))
                assert status == 1
                assert f"{workflow}:4:" in said
                assert "cannot read jobs/bad.yaml: it leads outside" in said
                assert f"{manifest}:1:" in said
                assert "prune" in said
            manifest.write_text(right)
            (manifest.parent / "jobs" / "bad.yaml").unlink()
            workflow.write_text(WORKFLOW)
            status, said = await code("gitops", "import", str(tmp_path / "written"), "--environment", "dev")
            assert (status, "Wrote 7 files" in said) == (0, True), said
            assert (await code("gitops", "diff", str(tmp_path / "written" / "sluice.yaml")))[0] == 0
            status, said = await code("gitops", "import", str(tmp_path / "written"))
            assert (status, "already_exists" in said) == (4, True)
            assert (await code("gitops", "promote", "--from", "dev"))[0] == 2
