"""The viewer of the HTTP API: calls are tried from it, as who is signed in to the console or with a key."""

from __future__ import annotations

import re
from typing import Any

from tests.console import axe
from tests.console.served import Served, Visitor, visiting

READ_MS = 180_000  # Swagger UI takes seconds over a description of this size, and minutes on a very busy machine


def opened(visitor: Visitor, anchor: str = "") -> None:
    visitor.page.goto(f"{visitor.served.url}/api/docs{anchor}")
    visitor.page.locator(".opblock").first.wait_for(timeout=READ_MS)


def test_a_call_is_tried_as_who_is_signed_in(browser: Any, engine: Served) -> None:
    with visiting(browser, engine) as visitor:
        visitor.sign_in()
        opened(visitor, "#/administration/whoami")
        visitor.sees("Calls go as")
        visitor.press("Execute")
        visitor.sees(re.compile('"role": "admin"'), within=".live-responses-table")
        visitor.sees("x-sluice-tenant: default", within=".curl-command")
        assert not (faults := axe.faults(visitor.page)), faults


def test_without_a_session_a_key_is_asked_for_and_used(browser: Any, engine: Served) -> None:
    narrow = {"width": 390, "height": 800}
    with visiting(browser, engine, expects=("status of 401",), color_scheme="dark", viewport=narrow) as visitor:
        opened(visitor, "#/administration/whoami")
        visitor.sees("Nobody is signed in")
        visitor.press("Execute")
        visitor.sees("unauthenticated")
        visitor.press("Authorize")
        visitor.page.locator(".modal-ux input").fill(engine.token)
        visitor.page.locator(".modal-ux button.authorize").click()
        visitor.page.locator(".modal-ux button.btn-done").click()
        visitor.press("Execute")
        assert visitor.sees('"role": "admin"').is_visible()
        assert not (faults := axe.faults(visitor.page)), faults
        assert engine.token not in visitor.page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
