"""Operating in the browser: a worker is drained and works again, a schedule is run, paused, resumed and backfilled."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.console.served import Served, Visitor, serving

MINUTELY = """
name: minutely
input:
  echo: {event: tick, trigger: {cron: {expression: "0 * * * * *", time-zone: Europe/Berlin}}}
output: {print: STDOUT}
"""
STEADY = "name: steady\ninput: {echo: {event: a, trigger: {interval: {duration: 1s}}}}\noutput: {print: STDOUT}\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("operating"), workers=2) as made:
        for document in (MINUTELY, STEADY):
            made.call("job_put", document=document)
        for name in ("minutely", "steady"):
            made.call("job_deploy", name=name)
        yield made


def test_a_worker_is_drained_and_works_again(visitor: Visitor, served: Served) -> None:
    (row,) = served.call("workload_list", job="steady")["items"]
    served.call("context_set", worker=row["worker"], values={"place": "here"})
    visitor.go("")
    visitor.press("Workers", "link")
    visitor.press(row["worker"], "link")
    visitor.sees("steady", within="table")
    visitor.sees("place", within="table")
    visitor.press("Drain this worker")
    visitor.sees(re.compile("Room beside it"), within="[role=dialog]")
    visitor.sees(re.compile(r"steady#0"), within="[role=dialog]")
    assert served.call("worker_get", name=row["worker"])["drained"] is False, "nothing happens before it is asked for"
    visitor.press(f"Drain {row['worker']}")
    visitor.sees(re.compile("moved, 0 stayed"))
    visitor.page.keyboard.press("Escape")
    visitor.press("Resume this worker")
    visitor.page.get_by_role("button", name="Drain this worker").wait_for()
    (moved,) = served.call("workload_list", job="steady")["items"]
    assert moved["worker"] != row["worker"]


def test_workloads_are_filtered_sorted_and_lead_to_their_logs(visitor: Visitor, served: Served) -> None:
    visitor.go("workloads?job=steady")
    visitor.sees("steady", within="table")
    assert visitor.page.locator("tbody tr").count() == 1
    visitor.go("workloads")
    visitor.press("Job")
    rows = visitor.page.locator("tbody tr td:nth-child(2)")
    rows.nth(1).wait_for()
    assert rows.all_inner_texts() == ["minutely", "steady"]
    visitor.press("Job")
    assert rows.all_inner_texts() == ["steady", "minutely"]
    visitor.press("Choose columns")
    visitor.page.get_by_label("Restarts").uncheck()
    visitor.page.keyboard.press("Escape")
    visitor.page.reload()
    visitor.sees("steady", within="table")
    assert visitor.page.get_by_role("columnheader", name="Restarts").count() == 0, "this browser keeps it"
    visitor.page.locator("tbody tr", has_text="steady").get_by_role("link", name="Logs").click()
    visitor.sees(re.compile("a"), within=".lines")


def test_a_schedule_is_run_paused_resumed_and_run_for_times_that_are_past(visitor: Visitor, served: Served) -> None:
    visitor.go("")
    visitor.press("Schedules", "link")
    visitor.press("minutely", "link")
    visitor.sees(re.compile("Europe/Berlin"))
    visitor.press("Run now")
    visitor.sees("manual", within="table")
    visitor.press("Pause")
    visitor.fill("Why", "the night shift")
    visitor.press("Pause it")
    visitor.sees(re.compile("Paused by .*the night shift", re.DOTALL))
    assert served.call("schedule_get", name="minutely")["state"] == "paused"
    visitor.press("Resume")
    visitor.press("Resume it")
    visitor.page.get_by_role("button", name="Pause").wait_for()

    visitor.press("Backfill")
    visitor.fill("Since", "10m")
    visitor.fill("Until", "5m")
    visitor.press("Show the times")
    visitor.sees("It would run for 5 times:")
    assert not [one for one in served.call("run_list", job="minutely")["items"] if one["cause"] == "backfill"]
    visitor.press("Run 5 times")
    visitor.sees("backfill", within="table")

    visitor.go("schedules?view=calendar")
    visitor.sees(re.compile("today"))
    visitor.press("minutely", "link")
    visitor.sees("Next firings")
