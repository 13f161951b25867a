"""The console by its keys: to pages, to things, to the filter of a page; and none of them where somebody types."""

from __future__ import annotations

import re

from tests.console.served import Served, Visitor


def test_keys_lead_to_pages_and_things_and_can_be_turned_off(visitor: Visitor, served: Served) -> None:
    source, values = "workflow:quickstart-file-store-roundtrip@1", {"path": "keys"}
    plan = served.call("deployment_plan", name="by-keys", source=source, values=values)
    served.call("deployment_apply", plan_id=plan["plan_id"])
    page = visitor.page
    keys = page.keyboard
    for key in "gd":
        keys.press(key)
    page.wait_for_url("**/deployments")
    visitor.sees("by-keys", within="table")
    keys.press("/")
    keys.type("gw?")  # letters, since somebody types
    assert page.get_by_label("Name contains").input_value() == "gw?"
    keys.press("Escape")
    page.get_by_label("Name contains").blur()

    keys.press("Control+k")
    page.get_by_role("combobox", name="Things, pages and actions").wait_for()
    keys.type("by-k")
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
    keys.press("Control+k")  # counts always
    keys.type("Tell times in UTC")
    page.locator("[role=option]", has_text="Tell times in UTC").wait_for()
    keys.press("Enter")
    assert page.url.endswith("/deployments/by-keys")
    page.locator("time[title$=UTC]").first.wait_for()
    page.reload()
    page.locator("time[title$=UTC]").first.wait_for()
