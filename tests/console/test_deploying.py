"""From the catalog to a pipeline that runs, in the browser alone; then a change of it, and what a plan refuses."""

from __future__ import annotations

import re

import orjson
import pytest

from tests.console.served import Served, Visitor


def test_a_pipeline_is_deployed_watched_and_changed(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    visitor.go("")
    visitor.press("Catalog", "link")
    visitor.fill("Search the catalog", "roundtrip")
    visitor.press("Quickstart: File Store Roundtrip", "link")
    page.locator(".graph .node", has_text="generate").wait_for()
    visitor.press("Plan and register", "link")

    visitor.press("Plan")
    visitor.sees("is required")  # the path, which has no default
    visitor.fill("Name", "No Such Name")
    visitor.fill("File-store path", "files")
    visitor.press("Plan")
    page.locator("input[aria-invalid=true]").wait_for()  # at the field
    assert page.get_by_label("Name").first.get_attribute("aria-invalid") == "true"
    visitor.faults.clear()  # the browser's own word for the refusal
    visitor.fill("Name", "walk")
    visitor.fill("File-store path", "files")
    visitor.press("Plan")
    visitor.sees(re.compile("Plan for"))
    page.locator(".graph .node.create", has_text="generate").wait_for()
    page.get_by_label("Seconds that it has to stay healthy").fill("1")
    visitor.press("Apply walk")
    visitor.sees(re.compile("Revision 1"))
    visitor.sees(re.compile("came up and stayed healthy for 1 s"))
    visitor.press(re.compile("Watch"), "link")

    page.locator(".graph .node", has_text=re.compile("healthy.*2/2 up", re.DOTALL)).first.wait_for()
    page.locator(".edge-label strong", has_text=re.compile(r"0\.\d/s")).first.wait_for()  # one event in five seconds
    visitor.page.get_by_role("navigation", name="Parts of").get_by_role("link", name="Workloads").click()
    page.locator("tbody tr").nth(3).wait_for()

    visitor.press("Plan change")
    assert page.get_by_label("File-store path").input_value() == "files", "a change begins with what there is"
    assert page.get_by_role("navigation", name="Pages").locator("a.active").inner_text() == "Deployments"
    visitor.fill("GUID prefix", "second")
    visitor.press("Plan")
    page.locator(".before", has_text="demo").first.wait_for()
    page.locator(".after", has_text="second").first.wait_for()
    plan = page.url.rpartition("/")[2]
    moved = served.call(
        "deployment_plan",
        name="walk",
        source="workflow:quickstart-file-store-roundtrip@1",
        values={"path": "files", "guid_prefix": "third"},
    )
    served.call("deployment_apply", plan_id=moved["plan_id"])
    visitor.sees(re.compile("has moved since this plan was made"))  # the page has heard of it
    assert page.get_by_role("button", name="Apply walk").count() == 0
    visitor.press("Plan again", "link")
    page.locator("form input[disabled][value=walk]").wait_for()
    assert page.get_by_label("GUID prefix").input_value() == "second", "what the plan was made for"
    assert served.call("deployment_get", name="walk")["values"]["guid_prefix"] == "third", plan


def test_a_blocked_plan_leads_back_and_a_removed_deployment_says_so(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    plan = {
        "source": "workflow:quickstart-file-store-roundtrip@1",
        "values": {"path": "files", "guid_prefix": "x\u202ey"},
    }
    served.call("deployment_apply", plan_id=served.call("deployment_plan", name="leaves", **plan)["plan_id"])
    blocked = served.call(
        "deployment_plan", name="other", **plan | {"values": {"path": "/no/such", "guid_prefix": "kept"}}
    )
    assert blocked["blockers"]
    visitor.go(f"plans/{blocked['plan_id']}")
    visitor.press("Change these values", "link")
    page.locator("form input[value=other]").wait_for()
    assert page.get_by_label("GUID prefix").input_value() == "kept"
    visitor.fill("File-store path", "files")
    visitor.press("Plan")
    page.get_by_role("button", name="Apply other").wait_for()
    page.go_back()
    page.locator("form input[value=other]").wait_for()
    assert page.get_by_label("File-store path").input_value() == "files", "back at what was typed"

    visitor.go("deployments/leaves?tab=values")
    visitor.sees('"x\\u202ey"')
    visitor.press("Plan its removal")
    page.get_by_role("button", name="Remove leaves").wait_for()
    assert page.get_by_label("roll back on failure").count() == 0
    visitor.fill("Name of the deployment", "leaves")
    visitor.press("Remove leaves")
    visitor.sees(re.compile("nothing of it runs"))
    visitor.press(re.compile("Look at"), "link")
    visitor.sees(re.compile("It was removed"))
    assert page.get_by_role("button", name="Plan its removal").count() == 0
    visitor.press("Plan the way back to revision 1")
    visitor.sees("Way back to revision")


def test_lists_keep_their_filters_in_the_address(visitor: Visitor) -> None:
    visitor.go("deployments")
    visitor.fill("Name contains", "no-such")
    visitor.sees("No deployment fits these filters.")  # by typing alone
    assert "query=no-such" in visitor.page.url
    visitor.page.reload()
    visitor.sees("No deployment fits these filters.")


@pytest.mark.parametrize("many", [2_000, pytest.param(20_000, marks=pytest.mark.soak)])
def test_a_list_of_many_rows_keeps_few_of_them_in_the_document(visitor: Visitor, many: int) -> None:
    page = visitor.page
    row = {"state": "running", "worker": "w", "group": "default", "restarts": 0, "version": "1", "reason": ""}
    rows = [{**row, "workload": f"job{n}#0", "job": f"job{n}", "replica": 0} for n in range(many)]
    more = {"health": "healthy", "since": "2026-11-28T00:00:00Z", "deployment": None, "step": None}
    body = orjson.dumps({"items": [{**one, **more} for one in rows], "next_cursor": None, "total": len(rows)}).decode()
    answer = {"status": 200, "content_type": "application/json", "body": body}
    page.route("**/api/operations/workload_list", lambda route: route.fulfill(**answer))
    visitor.go("workloads")
    visitor.sees("job0", within="table")
    assert page.locator("tbody tr").count() < 100
    page.get_by_role("region", name="Workloads").evaluate("box => box.scrollTo(0, box.scrollHeight)")
    visitor.sees(f"job{many - 1}", within="table")
    visitor.press("Job")
    visitor.press("Job")
    page.get_by_role("region", name="Workloads").evaluate("box => box.scrollTo(0, 0)")
    visitor.sees(f"job{many - 1}", within="table")
    assert page.locator("tbody tr").count() < 100
