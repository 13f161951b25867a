"""An engine on which nothing is: one button leads to a plan, one more to a pipeline that is watched."""

from __future__ import annotations

import re
from typing import Any

from tests.console.served import Served, visiting


def test_the_round_trip_is_deployed_by_two_buttons_and_watched(browser: Any, served: Served) -> None:
    with visiting(browser, served) as visitor:
        visitor.sign_in()
        visitor.go("")
        visitor.press("Deploy the round trip")
        visitor.sees(re.compile("Plan for"))
        visitor.press("Apply hello")
        visitor.page.locator("[aria-live=polite]", has_text="The apply of hello has ended").wait_for()
        visitor.press(re.compile("Watch"), "link")
        visitor.page.locator(".graph .node", has_text=re.compile("healthy", re.DOTALL)).first.wait_for()
        visitor.press("Overview", "link")
        visitor.sees("The last hour")
        assert visitor.page.get_by_role("button", name="Deploy the round trip").count() == 0
