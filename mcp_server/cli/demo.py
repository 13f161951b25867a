"""`sluice demo`: the whole product on this machine, in real processes, on a throw-away home.

Every line says what was done and what was seen. Anything else than what was expected ends it with exit code 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
from cyclopts import Parameter
from rich import console, markup

from core import clock, httpclient
from mcp_server.cli import connect, progress, stage
from mcp_server.cli.stage import Answer, Stage, Surprise, until

INTERRUPTED = 143
TENANT = "tenant-a"  # the one that the smoke trigger belongs to
NAME = "file-store-roundtrip-demo"
WORKFLOW = "quickstart-file-store-roundtrip"
KEY = "demo-1"  # by which one invocation is asked for through each door


async def demo(
    *, keep: Annotated[bool, Parameter(negative=())] = False, common: connect.Common = connect.DEFAULTS
) -> int:
    """See the whole product work on this machine, in under a minute.

    Parameters
    ----------
    keep
        Leave the engine and its home running afterwards, and say how to stop it.
    """
    story = Story(quiet=common.json)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        async with stage.set_up(keep=keep) as scene, story.progress():
            await _start(story, scene)
            async with stage.beside(_invoke(scene)) as invoked:  # events of the pipeline take a second to come through
                await _deploy(story, scene)
                story.doing("invoking a trigger")
                _triggers(story, await invoked)
            await _drift(story, scene)
            await _change(story, scene)
            link = scene.url + (await scene.must("POST", "/api/console/links"))["path"] if keep else ""
            if not keep:
                story.doing("stopping the engine")
                code = await scene.stop()
                story.see(code == 0, "stopped the engine with SIGTERM", f"it drained and exited with {code}")
    except asyncio.CancelledError:
        connect.note("Stopped; nothing is left running.")
        return INTERRUPTED
    story.end(scene, keep, link)
    return 0


class Story:
    """The lines that the demo prints: what was done, what was seen."""

    def __init__(self, *, quiet: bool) -> None:
        self._out = console.Console(highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._began = clock.monotonic()
        self._lines: list[dict[str, str]] = []
        self._part = ""
        self.doing: Callable[[str], None] = lambda step: None
        """Name what is being done, until the next line is printed; shown at a terminal alone."""

    @contextlib.asynccontextmanager
    async def progress(self) -> AsyncIterator[None]:
        """Show what is being done while the body runs."""
        with progress.line(self._out, quiet=self._quiet) as self.doing:
            yield

    def part(self, title: str) -> None:
        """Begin a part."""
        self._part = title
        if not self._quiet:
            self._out.print(f"\n[bold]{title}[/]  [dim]{clock.monotonic() - self._began:.1f} s[/]")

    def see(self, expected: object, did: str, saw: str) -> None:
        """Tell one step. Raises Surprise when what was seen is not what was expected."""
        if not expected:
            raise Surprise(f"{self._part}: {did}; saw {saw}")
        self._lines.append({"part": self._part, "did": did, "saw": saw})
        if not self._quiet:
            self._out.print(f"  [green]✓[/] {markup.escape(did)} [dim]→[/] {markup.escape(saw)}")

    def quote(self, text: str) -> None:
        """Show a text of the engine."""
        if not self._quiet:
            for line in text.rstrip().splitlines():
                self._out.print(f"    [cyan]{markup.escape(line)}[/]")

    def end(self, scene: Stage, keep: bool, link: str) -> None:
        """Say what to do next."""
        seconds = clock.monotonic() - self._began
        if self._quiet:
            done = {"ok": True, "seconds": round(seconds, 1), "steps": self._lines, "url": scene.url if keep else None}
            if keep:
                done["console"] = link
            self._out.print(orjson.dumps(done, option=orjson.OPT_INDENT_2).decode(), markup=False)
            return
        program = stage.program("sluice-mcp")
        self._out.print(f"\n[bold]All as expected[/], {len(self._lines)} steps in {seconds:.0f} s. Now with Claude:")
        home = f" --home {scene.home}" if keep else ""
        if not keep:
            self._out.print(f"  {stage.program('sluice')} serve", markup=False)
        self._out.print(f"  claude mcp add sluice -- {program} --allow-write{home}", markup=False)
        self._out.print('  ask: "What is deployed, and is anything drifting?"', markup=False)
        self._out.print(
            f'  ask: "Plan {WORKFLOW} with the path files, show me the plan, do not apply it."', markup=False
        )
        if not keep:
            self._out.print("[bold]In a browser[/], with all of this to look at: sluice demo --keep")
        else:
            self._out.print("[bold]In a browser[/], once and within ten minutes:")
            self._out.print(f"  {link}", markup=False)
            self._out.print(f"  look at the deployment {NAME}: its graph shows what flows", markup=False)
            self._out.print(
                f"Still running at {scene.url}; to end it: kill {scene.pid}; rm -r {scene.home.parent}", markup=False
            )


async def _start(story: Story, scene: Stage) -> None:
    story.part("1. An engine and two workers")
    story.doing("starting sluice serve")
    await asyncio.gather(scene.start(workers=2), asyncio.to_thread(scene.load_client))
    story.see(True, f"started 'sluice serve' (process {scene.pid})", f"it listens on {scene.url}")
    mode = oct(scene.home.stat().st_mode & 0o777)
    story.see(mode == "0o700", f"looked at the home directory {scene.home}", f"mode {mode}, only for you")

    async def online() -> list[dict[str, Any]]:
        workers = (await scene.must("GET", "/api/workers"))["items"]
        return workers if len(workers) == 2 and all(one["state"] == "online" for one in workers) else []

    story.doing("waiting for the workers")
    workers = await until(online, 15, "two online workers")
    names = ", ".join(f"{one['name']} (process {one['pid']}, group {one['group']})" for one in workers)
    story.see(True, "asked for the workers", f"online: {names}")
    async with httpclient.open_client(timeout=5) as stranger:
        refused = (await stranger.get(scene.url + "/api/workers")).status_code
    story.see(refused == 401, "called the API without a token", f"refused with {refused}")


async def _deploy(story: Story, scene: Stage) -> None:
    story.part("2. Catalog, plan, apply")
    story.doing("searching the catalog and planning")
    search, made = await asyncio.gather(
        scene.cli("catalog", "search", "quickstart", "--type", "workflow"), _plan(scene, "demo")
    )
    found = search.result["items"]
    story.see(
        any(item["slug"] == WORKFLOW for item in found),
        "searched the catalog for 'quickstart'",
        ", ".join(f"{item['slug']}@{item['version']}" for item in found),
    )
    story.see(made["saved"] and not made["blockers"], f"planned {WORKFLOW} as {NAME}", _summary(made))
    story.quote(made["text"])
    adapters = [change["id"] for change in made["changes"] if change["kind"] == "transport"]
    story.see(adapters, "looked for what the durable hop needs", f"adapter jobs: {', '.join(adapters)}")
    story.doing("applying the plan")
    applied = (await scene.cli("apply", made["plan_id"])).result
    story.see(applied["state"] == "running", f"applied {made['plan_id']}", f"deployment is {applied['state']}")
    story.doing("waiting for the first event")
    # A file that is still being written has another name.
    looked = functools.partial(scene.seen, NAME)
    files = await until(lambda: sorted(_files(scene).rglob("demo-*")), 15, "files with the GUID prefix demo-", looked)
    story.see(
        True,
        f"looked under {_files(scene)}",
        f"{len(files)} files, the first {files[0].relative_to(_files(scene))}",
    )
    line = await until(lambda: _printed(scene), 15, "a printed event", looked, pause=0.1)
    story.see('"hello"' in line, "read the log of the print job", f"it printed {line}")


def _files(scene: Stage) -> Path:
    """What the path `files` of a document means: a directory in the data directory of the tenant."""
    return scene.data() / "files"


async def _plan(scene: Stage, prefix: str) -> dict[str, Any]:
    values = ["--set", "path=files", "--set", f"guid_prefix={prefix}"]
    answer = await scene.cli("plan", NAME, "--from", f"workflow:{WORKFLOW}", "--group", "default", *values)
    if answer.code:
        raise Surprise(f"The plan was refused: {answer.code} {answer.pointers}")
    return answer.result


def _summary(made: dict[str, Any]) -> str:
    return ", ".join(
        f"{number} to {what}" for what, number in made["summary"].items() if what != "unchanged" and number
    )


async def _printed(scene: Stage) -> str:
    """A line that the print job of the deployment has printed."""
    for workload in (await scene.must("GET", f"/api/deployments/{NAME}"))["workloads"]:
        if workload["step"] == "print":
            job = await scene.must("GET", f"/api/jobs/{workload['job']}")
            for line in job["log"]:
                if "hello" in (text := stage.line_text(line)):
                    return text
    return ""


@dataclass(frozen=True, slots=True)
class Invoked:
    """What a trigger was seen to do."""

    job: dict[str, Any]
    workload: dict[str, Any]
    revision: int
    tool: str
    tools: tuple[list[str], list[str]]
    """The tools of an MCP client before the trigger was published, and after."""
    protocol: str
    keyed: dict[str, Answer]
    """What each door answered to a call with one and the same key."""
    fresh: dict[str, Answer]
    wrong: dict[str, Answer]
    total: int


async def _invoke(scene: Stage) -> Invoked:
    """Deploy a handler, publish a trigger, and invoke it through three doors at the same time."""
    handler = stage.example("smoke_trigger_handler.yaml").read_text(encoding="utf-8")
    definition = orjson.loads(stage.example("smoke_trigger.json").read_bytes())
    async with scene.mcp(TENANT) as client:
        put = await scene.must("POST", "/api/jobs", TENANT, document=handler)
        deployed = await scene.must("POST", f"/api/jobs/{put['name']}/deploy", TENANT)
        before = await client.tools()
        published = await scene.must("POST", "/api/triggers/publish", TENANT, **definition)
        tool = published["tool_name"]

        async def offered() -> list[str]:
            now = await client.tools()
            return now if tool in now else []

        after = await until(offered, 5, f"the tool {tool}")
        path = "/api/triggers/smoke_trigger/invoke"
        words = ("trigger", "invoke", "smoke_trigger")
        keyed, fresh, wrong = await asyncio.gather(
            _together(
                {
                    "HTTP": scene.http("POST", path, TENANT, params={"env": "staging"}, idempotency_key=KEY),
                    "the CLI": scene.cli(*words, "--set", "env=staging", "--idempotency-key", KEY, tenant=TENANT),
                    "MCP (stdio)": client.call(tool, env="staging", _idempotency_key=KEY),
                }
            ),
            _together(
                {
                    "the CLI": scene.cli(*words, "--set", "env=staging", tenant=TENANT),
                    "MCP (stdio)": client.call(tool, env="staging"),
                }
            ),
            _together(
                {
                    "HTTP": scene.http("POST", path, TENANT, params={"env": 7}),
                    "the CLI": scene.cli(*words, "--set", "env=7", tenant=TENANT),
                    "MCP (stdio)": client.call(tool, env=7),
                }
            ),
        )
        total = (await scene.must("GET", "/api/trigger-invocations", TENANT))["total"]
        revision, workload = published["revision"], deployed["workloads"][0]
        return Invoked(put, workload, revision, tool, (before, after), client.protocol, keyed, fresh, wrong, total)


async def _together(calls: dict[str, Awaitable[Answer]]) -> dict[str, Answer]:
    """Make calls at the same time; their answers, by the same names."""
    return dict(zip(calls, await asyncio.gather(*calls.values()), strict=True))


def _triggers(story: Story, seen: Invoked) -> None:
    story.part("3. A trigger, through three doors")
    story.see(
        seen.workload["state"] == "running",
        f"stored and deployed the job {seen.job['name']}",
        f"version {seen.job['version']} is {seen.workload['state']} on {seen.workload['worker']}",
    )
    before, after = seen.tools
    story.see(seen.tool not in before, "published smoke_trigger over HTTP", f"revision {seen.revision}")
    listed = f"listed the tools of sluice-mcp (protocol {seen.protocol})"
    story.see(seen.tool in after, listed, f"{seen.tool} is one of them")
    for door, answer in seen.keyed.items():
        said = answer.result.get("result", {}).get("trigger_response", {}).get("result")
        story.see(
            answer.result.get("state") == "succeeded" and said == {"ok": True, "message": "Smoke check passed"},
            f"invoked it over {door} with the key {KEY}",
            f"{answer.result.get('state', answer.code)}, result {said}",
        )
    ids = {answer.result["invocation_id"] for answer in seen.keyed.values()}
    story.see(len(ids) == 1, "compared the three records", f"one and the same invocation: {', '.join(ids)}")
    every = {answer.result["invocation_id"] for answer in seen.fresh.values()} | ids
    story.see(len(every) == 3, "invoked it twice without a key", "two invocations more")
    wrong = seen.wrong["HTTP"]
    story.see(
        len({(answer.code, answer.pointers) for answer in seen.wrong.values()}) == 1 and wrong.code,
        "invoked it with env=7, which has to be a text, over all three",
        f"the same error everywhere: {wrong.code} at {', '.join(wrong.pointers)}",
    )
    story.see(seen.total == 3, "counted the invocations", f"{seen.total}: what was refused left no record")


async def _drift(story: Story, scene: Stage) -> None:
    story.part("4. A worker dies")
    seen = await scene.must("GET", f"/api/deployments/{NAME}")
    name = seen["workloads"][0]["worker"]
    victim = next(one for one in (await scene.must("GET", "/api/workers"))["items"] if one["name"] == name)
    held = sum(one["worker"] == name for one in seen["workloads"])
    story.doing("waiting for the drift to show")
    os.kill(victim["pid"], signal.SIGKILL)

    async def drifting() -> dict[str, Any] | None:
        now = await scene.must("GET", f"/api/deployments/{NAME}")
        return now if now["drift"] else None

    looked = functools.partial(scene.seen, NAME)
    now = await until(drifting, 10, "the drift to show", looked)
    first = now["drift"][0]
    story.see(
        now["state"] == "degraded",
        f"killed worker {name} (process {victim['pid']}) with {held} workloads",
        f"deployment {now['state']}, {len(now['drift'])} drifts, the first: {first['kind']} {first['id']}, "
        f"expected {first['expected']}, observed {first['observed']}",
    )
    story.doing("reconciling")
    fixed = await scene.must("POST", f"/api/deployments/{NAME}/reconcile")

    async def healed() -> dict[str, Any] | None:
        now = await scene.must("GET", f"/api/deployments/{NAME}")
        return now if now["state"] == "running" and not now["drift"] else None

    await until(healed, 15, "the deployment to heal", looked)
    workers = (await scene.must("GET", "/api/workers"))["items"]
    successor = next(one["pid"] for one in workers if one["name"] == name)
    steps = (
        f"reconcile took {len(fixed['steps'])} steps" if fixed["steps"] else "the supervisor was faster than reconcile"
    )
    story.see(
        all(one["state"] == "online" for one in workers),
        "reconciled",
        f"{steps}; {name} is process {successor} now, no drift is left",
    )


async def _change(story: Story, scene: Stage) -> None:
    story.part("5. A change, and a plan that is too old")
    story.doing("planning twice")
    old, new = await asyncio.gather(_plan(scene, "first"), _plan(scene, "second"))
    story.see(new["summary"]["update"] == 1, "planned it with another guid_prefix", _summary(new))
    changed = next(change for change in new["changes"] if change["action"] == "update")
    story.quote(changed["diff"])
    story.doing("applying the second plan")
    applied = (await scene.cli("apply", new["plan_id"])).result
    story.see(applied["state"] == "running", f"applied {new['plan_id']}", f"revision {applied['revision']}")
    story.doing("running its generator")
    run, refused = await asyncio.gather(
        scene.must("POST", f"/api/schedules/{NAME}--generate/run", wait_seconds=20), scene.cli("apply", old["plan_id"])
    )
    story.see(bool(run["ended"] and run["ended"]["ok"]), "ran its generator now, ahead of the clock", run["cause"])
    looked = functools.partial(scene.seen, NAME)
    fresh = await until(lambda: list(_files(scene).rglob("second-*")), 20, "a file with the new prefix", looked)
    story.see(True, "looked for a file with the new prefix", fresh[0].name)
    story.see(
        refused.code == "stale_plan",
        f"tried to apply the older plan {old['plan_id']}",
        f"refused with {refused.code}: {refused.message}",
    )
