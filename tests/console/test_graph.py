"""The live graph: what stands beside a step, as a table, by keys; and one of 500 steps, whose answers are made up."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.console.served import Served, Visitor, visiting

SOURCE = "workflow:quickstart-file-store-roundtrip@1"
LINES = 125  # of four steps each
COUNT_EDGES = """() => {
  const edges = () => document.querySelectorAll(".react-flow__edge-path").length;
  window.fewestEdges = edges();
  const changed = () => { window.fewestEdges = Math.min(window.fewestEdges, edges()); };
  new MutationObserver(changed).observe(document.body, {childList: true, subtree: true});
}"""
YOUNG = "status of 404"  # what Chromium says while nothing is known yet of what a workload did over time


@pytest.fixture
def visitor(browser: Any, served: Served) -> Iterator[Visitor]:
    with visiting(browser, served, expects=(YOUNG,)) as made:
        made.sign_in()
        yield made


def test_a_step_shows_its_figures_workers_and_logs_and_the_graph_walks_by_arrows(
    visitor: Visitor, served: Served
) -> None:
    page = visitor.page
    plan = served.call("deployment_plan", name="seen", source=SOURCE, values={"path": "seen"})
    served.call("deployment_apply", plan_id=plan["plan_id"])
    visitor.go("deployments/seen")
    page.locator(".edge-label strong").first.wait_for()
    page.evaluate(COUNT_EDGES)
    _wait_for_figures(page)
    assert page.evaluate("window.fewestEdges") == 1, "edges stay when the figures of their steps are told anew"
    page.locator(".node", has_text="generate").click()
    drawer = page.get_by_role("complementary", name="step generate")
    drawer.get_by_text("The last hour").wait_for()
    drawer.get_by_role("link", name="local-1").first.wait_for()
    page.keyboard.press("ArrowRight")
    page.get_by_role("complementary", name=re.compile("^step (?!generate)")).wait_for()
    page.keyboard.press("ArrowLeft")
    drawer.wait_for()
    visitor.press("Close step generate")
    drawer.wait_for(state="detached")
    page.get_by_label("As table").check()
    page.get_by_role("region", name="Steps").locator("td", has_text=re.compile(r"0\.\d/s")).first.wait_for()
    page.get_by_role("region", name="Steps").get_by_role("button", name="generate").click()
    drawer.get_by_role("link", name="Logs of generate").click()
    page.wait_for_url("**/logs?of=seen--generate")


def test_a_graph_of_500_steps_is_folded_opened_and_stays_usable(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    plan = served.call("deployment_plan", name="seen", source=SOURCE, values={"path": "seen"})
    served.call("deployment_apply", plan_id=plan["plan_id"])
    asked = _answer(page, served)
    visitor.go("deployments/seen")
    visitor.sees("500 steps, 500 hidden in 4 groups")
    page.locator(".node", has_text="part0").get_by_text("125 hidden").wait_for()
    visitor.press(re.compile("line7-part2"))  # the one that fails is named before the picture
    page.get_by_role("complementary", name="step line7-part2").wait_for()
    visitor.press("Show all steps")
    page.locator(".react-flow__node").nth(499).wait_for(state="attached")
    assert page.locator(".edge-label").count() == 0, "so far away there are names and colours alone"
    where = _places(page)
    seen = asked["at"]
    _wait_for_figures(page)
    assert asked["at"] > seen
    assert _places(page) == where, "figures lay nothing out anew"
    assert page.locator(".react-flow__node[style*='opacity: 0.25']").count() == 496, "all but its own line is dimmed"
    page.keyboard.press("Escape")
    visitor.press("Close step line7-part2")
    page.locator(".react-flow__node[style*='opacity: 0.25']").first.wait_for(state="detached")


def _wait_for_figures(page: Any) -> None:
    """Until the page has asked for figures three times, so that at least two of the answers are drawn."""
    for _ in range(3):
        page.wait_for_event("requestfinished", lambda request: request.url.endswith("job_metrics"))


def _places(page: Any) -> str:
    found = page.evaluate("[...document.querySelectorAll('.react-flow__node')].map(one => one.style.transform).join()")
    return str(found)


def _answer(page: Any, served: Served) -> dict[str, int]:
    """Answer for a deployment of 500 steps, of which one fails; everything else is answered by the engine. What it
    returns counts how often figures were asked for."""
    steps = [f"line{line}-part{part}" for line in range(LINES) for part in range(4)]
    nodes = [{"id": step, "use": f"blueprint:part{step[-1]}"} for step in steps]
    pairs = [(a, b) for a, b in itertools.pairwise(steps) if a.partition("-")[0] == b.partition("-")[0]]
    edges = [{"kind": "channel", "from": a, "to": b, "channel": f"to-{b}"} for a, b in pairs]
    since = "2026-11-28T00:00:00Z"
    asked = {"at": 0}

    def workload(step: str) -> dict[str, Any]:
        health, reason = ("failing", "made up") if step == "line7-part2" else ("healthy", "")
        job = {"job": f"seen--{step}", "replica": 0, "state": "running", "worker": "local-1", "group": "default"}
        more = {"deployment": "seen", "workload": f"seen--{step}#0", "restarts": 0, "version": "1", "since": since}
        return {**job, **more, "step": step, "health": health, "reason": reason}

    def metrics(step: str) -> dict[str, Any]:
        figures = {"events_in": 10 * asked["at"], "events_out": 10 * asked["at"], "errors": 0, "lag_seconds": 0.0}
        return {"job": f"seen--{step}", "replica": 0, "worker": "local-1", "state": "running", "metrics": figures}

    def rows(found: list[dict[str, Any]]) -> dict[str, Any]:
        return {"items": found, "next_cursor": None, "total": len(found)}

    def answer(route: Any) -> None:
        operation = route.request.url.rpartition("/")[2]
        if operation == "workflow_get":
            kept = served.call("workflow_get", slug="quickstart-file-store-roundtrip")
            made = {**kept, "graph": {"nodes": nodes, "edges": edges}}
        elif operation == "deployment_get":
            made = {**served.call("deployment_get", name="seen"), "workloads": []}
        elif operation == "workload_list":
            made = rows([workload(step) for step in steps])
        else:
            asked["at"] += 1
            made = rows([metrics(step) for step in steps])
        route.fulfill(status=200, content_type="application/json", body=orjson.dumps(made).decode())

    for operation in ("workflow_get", "deployment_get", "workload_list", "job_metrics"):
        page.route(f"**/api/operations/{operation}", answer)
    return asked
