"""The console by its keys: to pages, to things, to the filter of a page; and none of them where somebody types."""

from __future__ import annotations

import re
from typing import Any

from tests.console.served import Served, Visitor


def search(page: Any, text: str) -> None:
    """Ctrl+K, and the text, once there is where it goes."""
    page.keyboard.press("Control+k")
    page.locator("input[role=combobox][aria-label='Things, pages and actions']:focus").wait_for()
    page.keyboard.type(text)


def test_keys_lead_to_pages_and_things_and_can_be_turned_off(visitor: Visitor, served: Served) -> None:
    source, values = "workflow:quickstart-file-store-roundtrip@1", {"path": "keys"}
    plan = served.call("deployment_plan", name="by-keys", source=source, values=values)
    served.call("deployment_apply", plan_id=plan["plan_id"])
    page = visitor.page
    keys = page.keyboard
    visitor.go("")
    visitor.sees("Needs attention")
    for key in "gd":
        keys.press(key)
    page.wait_for_url("**/deployments")
    page.get_by_role("heading", name="Deployments").wait_for()  # the address is there before its page
    visitor.sees("by-keys", within="table")
    keys.press("/")
    keys.type("gw?")  # letters, since somebody types
    assert page.get_by_label("Name contains").input_value() == "gw?"
    keys.press("Escape")
    page.get_by_label("Name contains").blur()

    search(page, "by-k")
    page.locator("[role=option][aria-selected=true]", has_text=re.compile("^by-keysDeployment$")).wait_for()
    keys.press("Enter")
    page.wait_for_url("**/deployments/by-keys")

    keys.press("?")
    visitor.sees("Filter this page", within="[role=dialog]")
    page.get_by_label(re.compile("Single letters count")).uncheck()
    keys.press("Escape")
    page.locator("[role=dialog]").wait_for(state="hidden")
    for key in "gd":
        keys.press(key)
    search(page, "Tell times in UTC")  # this key counts always
    page.locator("[role=option]", has_text="Tell times in UTC").wait_for()
    keys.press("Enter")
    assert page.url.endswith("/deployments/by-keys")
    page.locator("time[title$=UTC]").first.wait_for()
    page.reload()
    page.locator("time[title$=UTC]").first.wait_for()


def test_going_to_another_thing_shows_nothing_of_the_one_before(visitor: Visitor, served: Served) -> None:
    document = "name: {0}\ninput: {{echo: {{event: of-{0}}}}}\noutput: {{print: STDOUT}}\n"
    for name in ("first-job", "second-job"):
        served.call("job_put", document=document.format(name))
    page = visitor.page
    visitor.go("jobs/first-job")
    visitor.sees("of-first-job", within="main")
    held: list[Any] = []
    slow = True

    def hold(route: Any) -> None:
        if slow:
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/operations/job_get", hold)
    search(page, "second-job")
    page.locator("[role=option][aria-selected=true]", has_text=re.compile("^second-job")).wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/second-job")
    page.get_by_text("of-first-job").wait_for(state="detached")  # while its answer is on its way
    assert held
    slow = False
    for one in held:
        one.continue_()
    visitor.sees("of-second-job", within="main")
