"""Triggers in the browser: their form, a run and its end, once more with other parameters; and hostile content."""

from __future__ import annotations

import re

import orjson
import pytest

from tests.console.served import Served, Visitor
from tests.engines import EXAMPLES

RTL = "‮" + "ab🚀" * 60
SCRIPT = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(autouse=True)
def published(served: Served) -> None:
    handler = (EXAMPLES / "smoke_trigger_handler.yaml").read_text(encoding="utf-8")
    served.call("job_put", document=handler)
    served.call("job_deploy", name="smoke_trigger_handler")
    trigger = orjson.loads((EXAMPLES / "smoke_trigger.json").read_bytes())
    served.call("trigger_publish", **{**trigger, "tenant_id": served.tenant})
    hostile = {"slug": "hostile", "display_name": RTL[:100], "description": SCRIPT}
    schema = {"type": "object", "properties": {"env": {"type": "string", "title": SCRIPT, "description": SCRIPT}}}
    served.call("trigger_publish", **{**trigger, "tenant_id": served.tenant, **hostile, "parameter_schema": schema})


def test_a_trigger_is_run_from_its_form_followed_and_run_again(visitor: Visitor, served: Served) -> None:
    page = visitor.page
    visitor.go("")
    visitor.press("Triggers", "link")
    visitor.press("Smoke trigger", "link")
    visitor.press("Run Smoke trigger")
    visitor.sees("is required")
    visitor.fill("env", "staging")
    visitor.press("Run Smoke trigger")
    visitor.sees("succeeded")
    visitor.sees("Smoke check passed")
    first = page.url.rpartition("/")[2]
    assert served.call("trigger_invocation_get", invocation_id=first)["params"] == {"depth": 1, "env": "staging"}

    visitor.press("Run again", "link")
    visitor.sees("These are the parameters of")
    assert page.get_by_label("env").first.input_value() == "staging"
    visitor.turn("JSON")
    page.get_by_label("Parameters as JSON").fill('{"env": "prod", "depth": 7}')
    visitor.turn("Form")
    assert page.get_by_label("depth").first.input_value() == "7", "both are views of one value"
    visitor.press("Run Smoke trigger")
    page.wait_for_url(lambda url: "/invocations/" in url and first not in url)
    visitor.sees("succeeded")
    again = page.url.rpartition("/")[2]
    assert served.call("trigger_invocation_get", invocation_id=again)["params"] == {"depth": 7, "env": "prod"}


def test_what_is_data_is_shown_and_never_done(visitor: Visitor) -> None:
    visitor.go("triggers/hostile")
    visitor.sees("<script>document.title='owned'</script>")
    visitor.fill(SCRIPT, SCRIPT)
    visitor.press("Run " + RTL[:100])
    visitor.sees("succeeded")
    visitor.sees("owned")
    visitor.go("triggers")
    visitor.sees("Smoke trigger")
    assert visitor.page.title() == "Sluice"


def test_why_a_run_failed_is_said_where_it_is_looked_for(visitor: Visitor, served: Served) -> None:
    served.call("trigger_publish", slug="astray", target_job_name="nowhere")
    visitor.go("triggers/astray")
    visitor.sees("No job nowhere is deployed: a run fails at once.")
    visitor.press("Run astray")
    visitor.sees(f"No deployed job nowhere listens to messages in tenant {served.tenant}.", within=".note")
    visitor.sees(re.compile("Deploy it with job_deploy"), within=".note")
    visitor.press("Overview", "link")
    visitor.sees(re.compile("in the last hour"), within=".timeline")
    visitor.press("1 run", "link")
    visitor.sees("Runs", within="h1")  # the page before has a table of runs too
    assert visitor.sees("astray", within="table").is_visible()


def test_runs_of_messages_are_told_of_their_job(visitor: Visitor, served: Served) -> None:
    served.call("trigger_invoke", slug="smoke_trigger", params={"env": "prod"})
    visitor.go("jobs/smoke_trigger_handler")
    visitor.page.locator("main").get_by_role("link", name="Runs").click()
    told = visitor.page.get_by_text(re.compile(r"messages started \d+ runs? of it"))
    told.wait_for(timeout=40_000)  # the engine writes its sums every 10 seconds
    assert "messages started 0" not in told.inner_text()
