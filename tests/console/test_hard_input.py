"""What is too large, too strange, or wrong about the browser: it is shown, it stays quick, and nothing is lost."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import orjson
import psutil
import pytest

from tests.console.served import Served, Visitor, visiting
from tests.console.test_faults import deploy
from tests.engines import EXAMPLES

STRANGE = ("\u202e" + "\u05d0ب🚀e\u0301") * 33
TABS = 8  # a browser has six connections to a server
MANY = 100_000
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["kind"],
    "properties": {
        "kind": {"type": "string", "enum": ["plain", "timed"]},
        "code": {"type": "string", "pattern": "^[a-z]{3}$"},
        "target": {
            "oneOf": [
                {"title": "host", "type": "object", "properties": {"host": {"type": "string"}}, "required": ["host"]},
                {"title": "port", "type": "object", "properties": {"port": {"type": "integer"}}, "required": ["port"]},
            ]
        },
        **{f"field_{n}": {"type": "string"} for n in range(200)},
    },
    "if": {"properties": {"kind": {"const": "timed"}}, "required": ["kind"]},
    "then": {"properties": {"seconds": {"type": "integer", "minimum": 1}}, "required": ["seconds"]},
}


@pytest.fixture
def wide(served: Served) -> None:
    """A trigger with a form of 200 fields."""
    served.call("job_put", document=(EXAMPLES / "smoke_trigger_handler.yaml").read_text(encoding="utf-8"))
    served.call("job_deploy", name="smoke_trigger_handler")
    trigger = orjson.loads((EXAMPLES / "smoke_trigger.json").read_bytes())
    other = {"slug": "wide", "display_name": STRANGE, "parameter_schema": SCHEMA, "default_params": {}}
    served.call("trigger_publish", **{**trigger, "tenant_id": served.tenant, **other})


def test_eight_tabs_of_one_browser_are_live_and_hear_what_changes(browser: Any, served: Served) -> None:
    with visiting(browser, served) as visitor:
        visitor.sign_in()
        visitor.go("deployments")
        for _ in range(TABS - 1):  # a tab that another opens shares its process
            with visitor.page.expect_popup():
                visitor.page.evaluate("() => void open(location)")
        tabs = visitor.page.context.pages
        for tab in tabs:
            tab.get_by_role("status").get_by_text("live").wait_for()
        deploy(served, "heard")
        for tab in tabs:
            tab.get_by_role("link", name="heard").wait_for()
        assert len({tab.url for tab in tabs}) == 1 and len(tabs) == TABS


@pytest.mark.usefixtures("wide")
def test_a_form_of_200_fields_has_its_conditions_and_checks(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    visitor.go("triggers/wide")
    page.get_by_label("field_199").wait_for()
    assert page.title() == "Sluice"
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280, "the name is within the page"
    assert page.get_by_label("seconds").count() == 0
    page.get_by_label("kind").first.click()
    visitor.press("timed", "option")
    page.get_by_label("seconds").wait_for()
    visitor.fill("code", "NOT")
    visitor.fill("field_199", "kept")
    run = page.get_by_role("button", name=re.compile("^Run "))
    run.click()
    visitor.sees("is required")
    visitor.sees(re.compile("pattern"))
    visitor.fill("code", "abc")
    visitor.fill("seconds", "5")
    visitor.fill("host", "there")
    run.click()
    visitor.sees("succeeded")
    params = served.call("trigger_invocation_get", invocation_id=page.url.rpartition("/")[2])["params"]
    assert params == {"kind": "timed", "code": "abc", "seconds": 5, "target": {"host": "there"}, "field_199": "kept"}


def test_a_line_of_a_megabyte_is_cut_and_the_lines_beside_it_are_read(visitor: Visitor, served: Served) -> None:
    each = "input: {echo: {event: %s, interval: 1s}}\noutput: {print: STDOUT}\n"
    script = "actions: [{script: \"event.text = string.rep('y', 1000000)\"}]\n"
    for name, event, actions in (("long", "{}", script), ("short", "beside", "")):
        document = f"name: {name}\n{actions}{each % event}"
        served.call("job_put", document=document.replace("event: {}", "json: true, event: '{}'"))
        served.call("job_deploy", name=name)
    visitor.go("logs")
    visitor.sees(re.compile("yyyy"), within=".lines")
    visitor.sees("beside", within=".lines")
    assert visitor.page.locator(".line").count() < 200


def test_a_list_of_100_000_rows_keeps_a_few_in_the_document(visitor: Visitor) -> None:
    def answer(route: Any) -> None:
        asked = orjson.loads(route.request.post_data)
        first = int(asked.get("cursor") or 0)
        rows = [row | {"name": f"plan-{first + n}"} for n in range(asked["limit"])]
        told = {"items": rows, "next_cursor": str(first + len(rows)), "total": MANY}
        route.fulfill(status=200, content_type="application/json", body=orjson.dumps(told).decode())

    row = {"plan_id": "plan_x", "state": "open", "base_revision": 1, "by": "ada", "blockers": 0}
    row |= {"created_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T00:00:00Z"}
    visitor.page.route("**/api/operations/plan_list", answer)
    visitor.go("plans")
    for shown in range(100, 500, 100):  # from 200 rows on those in view are in the document alone
        visitor.press(f"Show more ({shown} of {MANY})")
    visitor.sees(f"Show more (500 of {MANY})")
    assert visitor.page.locator("tbody tr").count() < 100


def test_the_engine_sorts_a_list_that_is_not_here_as_a_whole(visitor: Visitor) -> None:
    def sort(request: Any) -> Any:
        """By which field a list is asked for; "" for what is another request."""
        mine = request.url.endswith("/api/operations/worker_list")
        return orjson.loads(request.post_data).get("sort") if mine else ""

    def answer(route: Any) -> None:
        rows = [row | {"name": f"worker-{n}"} for n in range(100)]
        told = {"items": rows, "next_cursor": "100", "total": MANY}
        route.fulfill(status=200, content_type="application/json", body=orjson.dumps(told).decode())

    row = {"state": "online", "group": "default", "kind": "local", "jobs": 1, "slots": 64, "labels": [], "restarts": 0}
    visitor.page.route("**/api/operations/worker_list", answer)
    visitor.go("workers")
    table = visitor.page.get_by_role("region", name="Workers", exact=True)
    for heading, wanted in (("Jobs", "jobs"), ("Jobs", "-jobs"), ("Jobs", None), ("Last heard", "last_heartbeat_at")):
        with visitor.page.expect_request(lambda request, wanted=wanted: sort(request) == wanted):
            table.locator("th", has_text=heading).get_by_role("button").click()
    assert table.locator("th[aria-sort=ascending]").inner_text().startswith("Last heard")


def test_what_needs_attention_is_decided_by_all_rows(visitor: Visitor) -> None:
    def answer(route: Any) -> None:
        further = orjson.loads(route.request.post_data).get("cursor")
        rows = [row | {"name": "the-last-one", "state": "offline"}]
        if not further:
            rows = [row | {"name": f"worker-{n}"} for n in range(100)]
        told = {"items": rows, "next_cursor": None if further else "100", "total": 101}
        route.fulfill(status=200, content_type="application/json", body=orjson.dumps(told).decode())

    row = {"state": "online", "groups": [], "capabilities": [], "external": False, "workloads": 0}
    visitor.page.route("**/api/operations/worker_list", answer)
    for path in ("", "issues"):
        visitor.go(path)
        visitor.sees("the-last-one", within="main")
        assert not visitor.page.get_by_text("Nothing needs you").count()


def test_nothing_is_called_well_that_was_not_heard(browser: Any, served: Served) -> None:
    said = orjson.dumps({"code": "forbidden", "detail": "Not for you.", "errors": []}).decode()
    with visiting(browser, served, expects=("status of 403",)) as visitor:
        visitor.page.route("**/api/operations/dead_letter_list", lambda route: route.fulfill(status=403, body=said))
        visitor.sign_in()
        visitor.go("")
        visitor.sees("Not for you.", within="main")
        assert not visitor.page.get_by_text("Nothing needs you").count()


def test_the_clock_of_the_browser_may_be_wrong(browser: Any, served: Served) -> None:
    with visiting(browser, served, keep=False) as visitor:
        visitor.page.add_init_script("const real = Date.now; Date.now = () => real() + 3 * 86_400_000;")
        visitor.sign_in()
        visitor.go("workers")
        visitor.sees("local-1")
        assert "3 d" not in visitor.page.locator("main").inner_text()


@pytest.mark.usefixtures("wide")
def test_storage_that_is_full_keeps_nobody_out(browser: Any, served: Served) -> None:
    with visiting(browser, served, keep=False) as visitor:
        full = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };"
        visitor.page.add_init_script(full)
        visitor.sign_in()
        visitor.go("")
        visitor.page.locator("button.who").click()
        visitor.press("Dark", "menuitem")
        visitor.page.locator("html[data-mantine-color-scheme=dark]").wait_for()
        visitor.go("triggers/wide")
        visitor.page.get_by_label("field_199").wait_for()
        assert visitor.page.evaluate("Object.keys(localStorage).length") == 0


def test_logs_go_on_after_their_worker_was_killed(visitor: Visitor, served: Served) -> None:
    served.call("job_put", document="name: tick\ninput: {echo: {event: tock, interval: 1s}}\noutput: {print: STDOUT}\n")
    served.call("job_deploy", name="tick")
    visitor.go("logs?of=tick")
    visitor.sees("tock", within=".lines")
    assert served._process is not None
    workers = [one for one in psutil.Process(served._process.pid).children() if "worker" in " ".join(one.cmdline())]
    for one in workers:
        os.kill(one.pid, signal.SIGKILL)
    lines = visitor.page.locator(".line").count()
    visitor.page.locator(".line").nth(lines + 2).wait_for()
    visitor.page.get_by_role("status").get_by_text("live").wait_for()
