"""Triggers as admins keep them: published from a form, revised with a comparison, stopped and offered again."""

from __future__ import annotations

import re
from typing import Any

from tests.console.served import Served, Visitor, visiting
from tests.engines import EXAMPLES

HANDLER = "smoke_trigger_handler"


def test_a_trigger_is_published_revised_stopped_and_offered_again(browser: Any, served: Served) -> None:
    served.call("job_put", document=(EXAMPLES / f"{HANDLER}.yaml").read_text(encoding="utf-8"))
    with visiting(browser, served, expects=("status of 422",)) as visitor:
        visitor.sign_in()
        visitor.go("")
        walk(visitor, served)
    assert len(served.call("trigger_invocation_list")["items"]) == 3


def walk(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    visitor.press("Triggers", "link")
    visitor.press("Publish a trigger", "link")
    visitor.fill("Slug", "Not A Slug")
    visitor.fill("Target job", HANDLER)
    visitor.sees(f"No job {HANDLER} is deployed: a run fails at once.")
    visitor.fill("Message tag", "smoke.invoke")
    visitor.fill("Response slot", "smoke.reply")
    visitor.press("Publish this trigger")
    visitor.sees(re.compile("do not fit its schema"))
    assert page.locator("[id$=-error]", has_text="must be a slug").count() == 1, "at its field"
    visitor.fill("Slug", "checked")
    page.get_by_text(re.compile("do not fit its schema")).wait_for(state="detached")
    visitor.turn("JSON")
    text = page.get_by_label("The trigger as JSON").input_value()
    assert '"slug": "checked"' in text, "both are views of one value"
    visitor.turn("Form")
    schema = '{"type": "object", "properties": {"env": {"type": "string"}}, "required": ["env"]}'
    for broken, why in ((schema[:-1], "is no JSON object"), ("[]", "it is no object")):
        visitor.fill("Parameters (JSON Schema)", broken)
        visitor.press("Publish this trigger")
        page.get_by_role("alert").get_by_text(re.compile(why)).wait_for()
        visitor.turn("JSON")
        assert page.get_by_label("Parameters (JSON Schema)").input_value() == broken, "it stays as it was typed"
    assert served.call("trigger_list")["items"] == []
    visitor.fill("Parameters (JSON Schema)", schema)
    page.get_by_role("alert").wait_for(state="detached")
    visitor.press("Publish this trigger")
    visitor.sees("checked is published")
    visitor.press(f"Deploy {HANDLER}")
    visitor.press("Go to the trigger", "link")
    page.locator("header.head .state", has_text="running").wait_for()
    page.get_by_role("heading", name="checked", exact=True).wait_for()  # it has no name
    page.get_by_role("button", name="Run checked").wait_for()

    visitor.press("Revise", "link")
    visitor.sees("Nothing yet.")
    visitor.fill("Display name", "Checked")
    visitor.sees(re.compile("display_name:.*Checked"), within=".section")
    with page.expect_response("**/api/operations/trigger_get"):  # the form hears of the revision that it made
        visitor.press("Publish revision 2")
    visitor.sees("Revision 2")
    visitor.press("Go to the trigger", "link")
    visitor.press("Compare 1 with the present")
    visitor.sees(re.compile("display_name:.*Checked"), within=".section")

    visitor.press("Deactivate")
    visitor.press("Deactivate it")
    visitor.sees(re.compile("0 runs under way go on"))
    page.keyboard.press("Escape")
    visitor.sees(re.compile("nobody can run it"))
    assert served.call("trigger_get", slug="checked")["active"] is False
    visitor.press("Activate")
    visitor.press("Activate it")
    page.locator("header.head .state", has_text="running").wait_for()
    assert served.call("trigger_get", slug="checked")["revision"] == 3

    visitor.fill("env", "x")
    visitor.press("Triggers", "link")
    visitor.press("Checked", "link")
    page.wait_for_function("document.querySelector('[id=root_env]')?.value === 'x'")
    visitor.press("Run Checked")
    visitor.sees("succeeded")
    visitor.sees(re.compile("It came through"))
    visitor.sees(re.compile("What its jobs wrote"))
    first = page.url.rpartition("/")[2]
    visitor.press("Run again", "link")
    visitor.fill("env", "y")
    visitor.sees("Changed by you:")
    visitor.press("Run Checked")
    page.wait_for_url(lambda url: "/invocations/" in url and first not in url)
    visitor.press(first, "link")
    page.wait_for_url(f"**/invocations/{first}")

    visitor.go("invocations")
    page.locator("tbody tr").nth(1).wait_for()
    rows = page.locator("tbody tr").count()
    served.call("trigger_invoke", slug="checked", params={"env": "z"})
    page.get_by_role("button", name="1 new").wait_for()
    assert page.locator("tbody tr").count() == rows, "what is read stays where it is"
    visitor.press("1 new")
    page.locator("tbody tr").nth(rows).wait_for()
