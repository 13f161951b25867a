"""MCP Apps in a real browser: a host that speaks the protocol embeds each page in a sandbox, as hosts do.

Needs Chromium (tests/browsers.py).
"""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from mcp_server import apps, attach, results
from tests import browsers
from tests.mcp_server import fake

pytestmark = pytest.mark.usefixtures("console_files")
TRIGGER = {
    "slug": "smoke",
    "display_name": "Smoke",
    "target_job_name": "smoke_handler",
    "publication": {"mcp": True},
    "default_params": {"env": "dev"},
    "parameter_schema": {
        "type": "object",
        "properties": {
            "env": {"type": "string", "enum": ["dev", "prod"], "description": "Where."},
            "count": {"type": "integer", "minimum": 1},
            "note": {"type": "string"},
            "force": {"type": "boolean"},
            "more": {"type": "object"},
        },
        "required": ["env", "count"],
        "additionalProperties": False,
    },
}
HOST = """<!doctype html>
<iframe id="app" sandbox="allow-scripts" style="width:1000px;height:800px" srcdoc="PAGE"></iframe>
<script>
const app = document.getElementById("app");
window.heard = [];
window.answers = {};
const send = (message) => app.contentWindow.postMessage({ jsonrpc: "2.0", ...message }, "*");
window.tell = (method, params) => send({ method, params });
window.addEventListener("message", ({ data, source }) => {
  if (source !== app.contentWindow) return;
  window.heard.push(data);
  if (data.method === "ui/initialize") {
    send({ id: data.id, result: { protocolVersion: "2026-01-26", hostInfo: { name: "host", version: "1" },
                                  hostCapabilities: {}, hostContext: {} } });
  } else if (data.method === "tools/call") {
    const answer = window.answers[data.params.name];
    send(answer ? { id: data.id, result: answer } : { id: data.id, error: { code: -32602, message: "no such tool" } });
  }
});
</script>"""


async def _answers(home: Path) -> dict[str, Any]:
    """What the tools that have a page really answer."""
    source = "workflow:quickstart-file-store-roundtrip@1"
    async with attach.open_session(Settings(home=home, workers=0)) as session:

        async def call(tool: str, /, **arguments: Any) -> dict[str, Any]:
            return results.success(await session.call(tool, arguments, fake.CALLER))

        await call("trigger_publish", **TRIGGER)
        plan = await call("deployment_plan", name="demo", source=source, values={"path": "store"})
        catalog = await call("catalog_get", slug="quickstart-file-store-roundtrip", type="workflow", detail="detailed")
        return {"plan": plan, "catalog": catalog, "trigger": await call("trigger_get", slug="smoke")}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("apps") / "home"
    home.mkdir(mode=0o700)
    return asyncio.run(_answers(home))


@dataclass
class Host:
    """A page of a browser, with what it complains of and asks for; the tests embed one app after the other in it."""

    page: Any
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def host(answers: dict[str, Any]) -> Iterator[Host]:  # the answers first: Playwright takes the event loop
    with browsers.launched() as browser:
        made = Host(browser.new_page())
        made.page.set_default_timeout(5000)
        made.page.on("console", lambda message: made.faults.append(message.text) if message.type == "error" else None)
        made.page.on("pageerror", lambda error: made.faults.append(str(error)))
        made.page.on("request", lambda request: made.requests.append(request.url))
        yield made


class App:
    """A page within a host."""

    def __init__(self, host: Host, uri: str) -> None:
        self.host = host.page
        self.host.goto("about:blank")
        self.faults, self.requests = host.faults, host.requests
        self.faults.clear()
        self.requests.clear()
        self.host.set_content(HOST.replace("PAGE", html.escape(apps.html(uri))))
        self.host.wait_for_function("heard.some((one) => one.method === 'ui/notifications/initialized')")
        self.frame = self.host.frames[1]

    def answer(self, tool: str, result: dict[str, Any]) -> None:
        self.host.evaluate("([tool, result]) => { answers[tool] = result; }", [tool, result])

    def result(self, result: dict[str, Any]) -> None:
        self.host.evaluate("(result) => tell('ui/notifications/tool-result', result)", result)

    def says(self, selector: str, text: str) -> None:
        """Wait until the element says this (the policy of the page lets no test evaluate code in it)."""
        self.frame.locator(selector, has_text=text).wait_for()

    def calls(self, tool: str) -> list[dict[str, Any]]:
        heard = self.host.evaluate("heard.filter((one) => one.method === 'tools/call').map((one) => one.params)")
        return [call["arguments"] for call in heard if call["name"] == tool]


@pytest.mark.parametrize(("uri", "kib"), [(apps.PLAN, 64), (apps.TRIGGER, 512)])
def test_a_page_is_one_document_that_admits_nothing_from_elsewhere(uri: str, kib: int) -> None:
    document = apps.html(uri)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', document)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy[1] and "http" not in policy[1]
    assert document.count("</script") == 1 and "<!--" not in document, "what would end it is not within it"
    assert not re.search(r"\beval\(|new Function|\bimport\(", document)
    assert len(document.encode()) < kib * 1024


def test_a_plan_is_drawn_with_its_graph_and_can_be_applied(host: Host, answers: dict[str, Any]) -> None:
    app = App(host, apps.PLAN)
    app.answer("catalog_get", answers["catalog"])
    app.answer("deployment_apply", {"content": [{"type": "text", "text": "state: running"}], "isError": False})
    app.result(answers["plan"])
    app.frame.wait_for_selector("svg g[data-node=generate]")
    nodes = app.frame.eval_on_selector_all(
        "svg g[data-node]", "all => all.map((one) => [one.dataset.node, one.getAttribute('class')])"
    )
    assert sorted(nodes) == [["generate", "create"], ["print", "create"]]
    assert app.frame.locator("svg path.create").count() == 1
    boxes = [app.frame.locator(f"svg g[data-node={name}] rect").bounding_box() for name in ("generate", "print")]
    assert boxes[0]["x"] + boxes[0]["width"] < boxes[1]["x"], "data flows from left to right"
    assert app.frame.locator("tbody tr").count() == len(answers["plan"]["structuredContent"]["changes"])
    app.frame.click("#apply")
    app.says("#status", "state: running")
    assert app.calls("deployment_apply") == [{"plan_id": answers["plan"]["structuredContent"]["plan_id"]}]
    assert app.frame.locator("#apply").is_disabled()
    assert app.faults == [] and app.requests == []


def test_a_plan_of_a_read_only_session_has_no_button_and_unchanged_steps_are_drawn(
    host: Host, answers: dict[str, Any]
) -> None:
    plan = {**answers["plan"]["structuredContent"], "plan_id": None, "saved": False}
    plan["changes"] = [{**plan["changes"][0], "action": "update", "diff": "-replicas: 1\n+replicas: 2"}]
    app = App(host, apps.PLAN)
    app.answer("catalog_get", answers["catalog"])
    app.result({**answers["plan"], "structuredContent": plan})
    app.frame.wait_for_selector("svg g[data-node=print].unchanged")
    assert app.frame.locator("svg g[data-node=generate].update").count() == 1
    assert app.frame.locator("pre").inner_text() == "-replicas: 1\n+replicas: 2"
    assert app.frame.locator("#apply").count() == 0
    assert "read-only" in app.frame.inner_text("main")


def test_what_others_wrote_is_text_and_nothing_leaves_the_page(host: Host, answers: dict[str, Any]) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    plan = dict(answers["plan"]["structuredContent"])
    plan["changes"] = [{**change, "reason": evil, "where": evil} for change in plan["changes"]]
    plan["warnings"] = [{"code": "x", "message": evil, "hint": evil}]
    app = App(host, apps.PLAN)
    app.result({**answers["plan"], "structuredContent": plan})
    app.frame.wait_for_selector("tbody tr")
    assert app.frame.locator("img").count() == 0
    assert evil in app.frame.inner_text("main")
    assert app.requests == []
    refused = app.frame.evaluate("fetch('https://example.com/').then(() => 'sent', (error) => String(error))")
    assert "Failed to fetch" in refused
    assert any("Content Security Policy" in fault for fault in app.faults)


def test_an_error_is_shown_as_its_text(host: Host) -> None:
    app = App(host, apps.PLAN)
    app.result({"content": [{"type": "text", "text": "There is no workflow x."}], "isError": True})
    app.frame.wait_for_selector("pre")
    assert app.frame.inner_text("pre") == "There is no workflow x."


def test_the_form_of_a_trigger_runs_it_once_and_shows_faults_where_they_are(
    host: Host, answers: dict[str, Any]
) -> None:
    app = App(host, apps.TRIGGER)
    fault = {
        "code": "invalid_params",
        "message": "No.",
        "errors": [{"pointer": "/count", "message": "is too many"}],
    }
    wrong = {"content": [{"type": "text", "text": "No."}], "structuredContent": {"error": fault}, "isError": True}
    app.answer("trigger_invoke_smoke", wrong)
    app.result(answers["trigger"])
    env, count, more = (app.frame.get_by_label(name) for name in ("env", "count", "more"))
    run = app.frame.get_by_role("button", name="Run now")
    assert env.locator("option:checked").inner_text() == "dev"  # the default
    run.click()
    app.says(".field .fault", "is required")
    count.fill("1")
    more.fill('{"a": [1]}')
    run.click()
    app.says(".field .fault", "is too many")
    app.answer("trigger_invoke_smoke", {"content": [{"type": "text", "text": "state: succeeded"}], "isError": False})
    count.fill("2")
    app.frame.get_by_label("force").check()
    for times in (2, 3):
        app.frame.get_by_label("note").press("Enter")
        app.host.wait_for_function(f"heard.filter((one) => one.method === 'tools/call').length === {times}")
        app.says("#status", "state: succeeded")
    first, second, third = app.calls("trigger_invoke_smoke")
    keys = [call.pop("_idempotency_key") for call in (first, second, third)]
    assert first == {"env": "dev", "count": 1, "more": {"a": [1]}}
    assert second == third == {"env": "dev", "count": 2, "force": True, "more": {"a": [1]}}
    assert keys[0] != keys[1] and keys[1] == keys[2], "the same parameters are the same run"
    more.fill("{")
    run.click()
    app.says(".field .fault", "is not JSON")
    assert len(app.calls("trigger_invoke_smoke")) == 3
    assert app.faults == [] and app.requests == [], json.dumps(app.faults)
