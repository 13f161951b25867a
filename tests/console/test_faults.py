"""What goes wrong while somebody looks: engines that end, rights that are few, logs that go on."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import orjson

from tests.console.served import Served, Visitor, serving, visiting

SOURCE = "workflow:quickstart-file-store-roundtrip@1"


def deploy(served: Served, name: str, **values: Any) -> None:
    made = served.call("deployment_plan", name=name, source=SOURCE, values={"path": name, **values})
    served.call("deployment_apply", plan_id=made["plan_id"])


def test_a_killed_engine_is_told_and_nothing_that_was_typed_is_lost(browser: Any, tmp_path: Path) -> None:
    with serving(tmp_path / "room", workers=0) as served:
        gone = ("CONNECTION_REFUSED", "INCOMPLETE_CHUNKED", "CONNECTION_RESET", "EMPTY_RESPONSE", "CONTENT_LENGTH")
        with visiting(browser, served, expects=gone) as visitor:
            visitor.page.goto(served.link)
            visitor.sees("Needs attention")
            assert visitor.page.url == f"{served.url}/console/"
            visitor.go("catalog/workflow/quickstart-file-store-roundtrip/deploy")
            visitor.fill("File-store path", "typed-before")
            port = int(served.url.rpartition(":")[2])
            served.end(signal.SIGKILL)
            visitor.page.get_by_role("status").get_by_text("stale").wait_for()
            visitor.press("Plan")
            visitor.sees("Nothing is known to have been done.")
            served.start(port)
            visitor.page.get_by_role("status").get_by_text("live").wait_for()
            visitor.page.get_by_text("Nothing is known to have been done.").wait_for(state="detached")
            assert visitor.page.get_by_label("File-store path").input_value() == "typed-before"
            visitor.press("Plan")
            visitor.sees(re.compile("Plan for"))
            assert served.call("plan_list")["total"] == 1


def test_a_user_is_offered_what_a_user_may_do(browser: Any, served: Served) -> None:
    deploy(served, "seen")
    key = served.call("token_create", username="uma", role="user", tenants=[served.tenant])["token"]
    with visiting(browser, served, expects=("status of 401", "status of 403")) as visitor:
        visitor.go("")
        visitor.fill("API key", key)
        visitor.press("Sign in")
        visitor.sees("Needs attention")
        visitor.go("triggers")
        visitor.sees(re.compile("none is offered to users here"))
        assert visitor.page.get_by_text("sluice trigger publish").count() == 0
        visitor.go("deployments/seen")
        visitor.sees("healthy")
        assert visitor.page.get_by_role("button", name="Plan change").count() == 0
        visitor.go("catalog/workflow/quickstart-file-store-roundtrip/deploy")
        visitor.sees("Planning is for admins; you are signed in as a user.")


def test_logs_are_followed_and_searched(visitor: Visitor, served: Served) -> None:
    deploy(served, "noisy")
    visitor.go("logs?of=noisy")
    visitor.sees(re.compile("hello"), within=".lines")
    lines = visitor.page.locator(".line").count()
    visitor.page.locator(".line").nth(lines).wait_for()  # as they come
    visitor.fill("Text", "no such text anywhere")
    visitor.page.keyboard.press("Enter")
    visitor.sees("No line fits.")
    assert "text=no" in visitor.page.url


def test_what_is_exported_is_what_is_filtered_in_this_tenant(visitor: Visitor, served: Served) -> None:
    deploy(served, "told", guid_prefix="x")
    other = served.of(f"{served.tenant}-b")
    other.call("job_put", document="name: beat\ninput: {echo: {event: a}}\noutput: {print: STDOUT}\n")
    other.call("job_deploy", name="beat")
    visitor.page.goto(f"{other.console}messages?type=job-run-ended")
    visitor.sees("job-run-ended", within="table")
    with visitor.page.expect_download() as started:
        visitor.press("Export these")
    lines = [orjson.loads(line) for line in Path(started.value.path()).read_bytes().splitlines()]
    assert {(line["message_type"], line["job_name"]) for line in lines} == {("job-run-ended", "beat")}


def test_what_is_not_there_is_said(browser: Any, served: Served) -> None:
    with visiting(browser, served, expects=("status of 404",)) as visitor:
        visitor.sign_in()
        for path in ("deployments/none", "plans/plan_none", "triggers/none", "invocations/inv_none"):
            visitor.go(path)
            visitor.sees("not_found")
            assert visitor.page.get_by_role("button", name="Try again").count() == 1, path


def test_a_line_is_linked_found_and_copied_with_those_that_are_not_in_view(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    given = "{echo: {event: https://example.test/x, trigger: {interval: {duration: 1s}}}}"
    coloured = r'{print: {prefix: "\u001b[31mred\u001b[0m hello "}}'
    document = f"name: colours\ninput: {given}\noutput: {coloured}\n"
    served.call("job_put", document=document)
    served.call("job_deploy", name="colours")
    visitor.go("logs?of=colours")
    page.locator(".line .ansi-1", has_text="red").first.wait_for()
    page.get_by_role("link", name="https://example.test/x").first.wait_for()
    page.locator(".line").nth(2).wait_for()
    page.get_by_label("Follow").uncheck()
    page.locator(".line > a").nth(1).click()
    page.locator(".line.here").wait_for()
    assert "#at=" in page.url
    page.reload()
    page.locator(".line.here").wait_for()
    page.keyboard.press("Control+f")
    page.keyboard.type("HELLO")
    page.locator(".line mark").first.wait_for(state="attached")
    page.get_by_role("log", name="Lines").click()
    page.keyboard.press("Control+a")
    copied = page.evaluate(
        """() => {
            const data = new DataTransfer();
            const event = new ClipboardEvent("copy", {clipboardData: data, bubbles: true, cancelable: true});
            document.querySelector(".lines").dispatchEvent(event);
            return data.getData("text/plain");
        }"""
    )
    assert len(copied.splitlines()) >= 3 and "red hello" in copied and "\x1b" not in copied
