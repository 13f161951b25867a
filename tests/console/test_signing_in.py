"""Signing in and out, as people do it."""

from __future__ import annotations

from typing import Any

from tests.console.served import Served, visiting

REFUSED = "the server responded with a status of 401"  # what Chromium says of a question that is refused


def test_a_link_signs_in_once_and_leaves_the_address(browser: Any, engine: Served) -> None:
    link = engine.new_link()
    with visiting(browser, engine) as visitor:
        visitor.page.goto(link)
        visitor.sees("Needs attention")
        assert "code" not in visitor.page.url
        visitor.page.reload()
        visitor.sees("Needs attention")
    with visiting(browser, engine, expects=(REFUSED,)) as other:
        other.page.goto(link)
        other.sees("This link was used")
        other.sees("Sign in to Sluice")


def test_an_api_key_signs_in_and_a_revoked_one_signs_out(browser: Any, engine: Served) -> None:
    whose = {"name": "visit", "username": "vera", "role": "user", "tenants": ["default"], "scopes": ["read"]}
    made = engine.call("token_create", **whose)
    with visiting(browser, engine, expects=(REFUSED,)) as visitor:
        visitor.go("")
        visitor.fill("API key", "sluice_wrong")
        visitor.press("Sign in")
        visitor.sees("unauthenticated")
        visitor.fill("API key", made["token"])
        visitor.press("Sign in")
        visitor.sees("vera")
        assert visitor.page.get_by_role("link", name="Create deployment").count() == 0
        engine.call("token_revoke", id=made["id"])
        visitor.sees("Sign in to Sluice")
        visitor.sees("Your session has ended")


def test_who_signs_out_is_out(browser: Any, engine: Served) -> None:
    with visiting(browser, engine, expects=(REFUSED,)) as visitor:
        visitor.page.goto(engine.new_link())
        visitor.sees("Needs attention")
        visitor.page.locator("button.who").click()
        visitor.press("Sign out", "menuitem")
        visitor.sees("Sign in to Sluice")
        visitor.go("deployments")
        visitor.sees("Sign in to Sluice")
        assert visitor.page.get_by_role("navigation").count() == 0
        assert not visitor.page.context.cookies()


def test_who_has_several_tenants_lands_in_one_and_goes_to_another(browser: Any, engine: Served) -> None:
    key = engine.call("token_create", username="mel", role="user", tenants=["tenant-a", "tenant-b"])["token"]
    with visiting(browser, engine, expects=(REFUSED, "status of 422")) as visitor:
        visitor.go("")
        visitor.fill("API key", key)
        visitor.press("Sign in")
        visitor.sees("Needs attention")
        assert visitor.page.url == f"{engine.url}/console/t/tenant-a/"
        visitor.page.get_by_role("status").get_by_text("live").wait_for()
        visitor.page.get_by_label("Tenant").first.click()
        visitor.press("tenant-b", "option")
        visitor.page.wait_for_url("**/console/t/tenant-b/")
        visitor.sees("Needs attention")
